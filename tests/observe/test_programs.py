"""What is done to the compiled programs before they are loaded."""

import ctypes
import struct
from types import SimpleNamespace

from slimtrace.observe import programs

CAST = 65477


def instruction(code: int, registers: int, number: int) -> bytes:
    """struct bpf_insn without an offset (linux/bpf.h)."""
    return struct.pack("<BBHi", code, registers, 0, number)


def test_calls_of_a_kernel_function_are_marked() -> None:
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
    programs.mark_function_calls(SimpleNamespace(lib=lib), SimpleNamespace(module=0), CAST)
    assert {name: found.raw for name, found in memory.items()} == {
        b"first": marked + helper + own + marked,
        b"second": constant + marked,
        b"third": helper,
    }
