"""What is done to compiled programs before they are loaded, and what is stored of them."""

import ctypes
import re
import struct
from types import SimpleNamespace

import pytest

from slimtrace.observe.kernel import bcc_compiler
from slimtrace.observe.kernel.programs import BY_KPROBE, BY_TRACEPOINT, IoUring, KernelReads, Variant, source

CAST = 65477


def instruction(code: int, registers: int, number: int) -> bytes:
    """struct bpf_insn without an offset (linux/bpf.h)."""
    return struct.pack("<BBHi", code, registers, 0, number)


def test_calls_of_a_kfunc_are_marked() -> None:
    """Only those: not a helper's, one of this program's own functions, or a constant of the same value."""
    helper, own, constant = instruction(0x85, 0, 14), instruction(0x85, 0x10, CAST), instruction(0xB7, 1, CAST)
    cast, marked = instruction(0x85, 0, CAST), instruction(0x85, 0x20, CAST)
    code = {b"first": cast + helper + own + cast, b"second": constant + cast, b"third": helper}
    memory = {name: ctypes.create_string_buffer(text, len(text)) for name, text in code.items()}
    lib = SimpleNamespace(
        bpf_num_functions=lambda _: len(code),
        bpf_function_name=lambda _, index: list(code)[index],
        bpf_function_start=lambda _, name: ctypes.addressof(memory[name]),
        bpf_function_size=lambda _, name: len(code[name]),
    )
    bcc_compiler.mark_kfunc_calls(SimpleNamespace(lib=lib), SimpleNamespace(module=0), CAST)
    assert {name: found.raw for name, found in memory.items()} == {
        b"first": marked + helper + own + marked,
        b"second": constant + marked,
        b"third": helper,
    }


# Two instructions long, the map's number in the first (BPF_PSEUDO_MAP_FD).
OF_MAP, REST = 0x11, instruction(0, 0, 0)
ADD = instruction(0x07, 1, 17)


def loads(*numbers: int) -> bytes:
    return ADD.join(instruction(0x18, OF_MAP, number) + REST for number in numbers)


def test_maps_are_relocated_and_back_again() -> None:
    # The second half of a wide constant may look like a load of a map.
    constant = instruction(0x18, 0x01, 7) + instruction(0x18, OF_MAP, 7)
    code = loads(7, 9, 7) + constant + loads(9)
    index = {7: 0, 9: 1}
    found = bcc_compiler.relocate_maps(code, index)
    assert found == loads(0, 1, 0) + constant + loads(1)
    assert bcc_compiler.relocate_maps(found, {0: 7, 1: 9}) == code


@pytest.mark.parametrize(
    "code",
    [
        loads(8),  # of no map that we know
        instruction(0x18, 0x31, 7) + REST,  # BPF_PSEUDO_BTF_ID
        ADD + b"\x07",
    ],
)
def test_what_would_not_hold_in_another_process_is_refused(code: bytes) -> None:
    with pytest.raises(ValueError):
        bcc_compiler.relocate_maps(code, {7: 0})


def test_declarations_are_the_text_without_its_functions() -> None:
    text = """\
#define PEEK(at) ({ \\
	at; \\
})
struct row {
	u64 (*of)(u64);
};
BPF_HASH(watched_cgroups, u64, u8, 4096); /* one() */
typedef u64 kernel_ptr;
static __always_inline u32 *two(u32 pid,
				struct row *row)
{
	if (pid) {
		return 0;
	}
	return NULL;
}
#if PLAIN_LOADS
int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return 0;
}
#endif
enum step { ONE };
"""
    declared = text[: text.index("static")] + "\n#if PLAIN_LOADS\n\n#endif\nenum step { ONE };\n"
    assert bcc_compiler.declarations(text) == declared


def test_the_declarations_of_our_programs_have_every_map_and_no_function() -> None:
    for variant in (
        Variant(KernelReads.HELPERS, IoUring.UNSEEN, ""),
        Variant(KernelReads.CASTS, IoUring.NAMED, BY_KPROBE),
        Variant(KernelReads.CASTS, IoUring.NAMED, BY_TRACEPOINT),
    ):
        text = source(variant)
        found = bcc_compiler.declarations(text)
        assert re.findall(r"^BPF_.*", found, re.MULTILINE) == re.findall(r"^BPF_.*", text, re.MULTILINE) != []
        assert "\n{\n" in text
        assert "\n{\n" not in found
