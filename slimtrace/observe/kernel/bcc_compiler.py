"""bcc: compile programs, or make them of what was compiled before.

Compiling takes most of the time that loading takes, and gives the same for the same text, constants and bcc.
So the instructions are kept (kept.py), with names of maps in place of their descriptors. From the next run on
bcc compiles the declarations alone, which makes the maps, and the kernel verifies the instructions as ever.
"""

import ctypes
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slimtrace import data
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.observe.kernel.program_cache import Compiled

_MISSING_BCC = (
    "install the distribution's package: apt-get install python3-bpfcc (the PyPI project bcc is another)"
)

# struct bpf_insn of linux/bpf.h: code, registers (the source's in the upper half), offset, number
_INSTRUCTION = struct.Struct("<BBhi")
_CALL = 0x85  # BPF_JMP | BPF_CALL
_OF_A_HELPER, _OF_A_FUNCTION = 0, 2  # as the source's register; BPF_PSEUDO_KFUNC_CALL
_WIDE_LOAD = 0x18  # BPF_LD | BPF_IMM | BPF_DW, two instructions long
_OF_A_NUMBER, _OF_A_MAP = 0, 1  # BPF_PSEUDO_MAP_FD
_LICENSE = b"GPL"  # as bcc does (bpf/README.md)

# A function of bpf/: its head at the margin, its body between braces at the margin.
_FUNCTION = re.compile(r"^(?!#|struct |enum |BPF_)\w[^;{}]*\([^;{}]*\)\n\{\n(?:.*\n)*?\}$", re.MULTILINE)


def import_bcc() -> Any:
    """The module. Raises SlimtraceError (KERNEL) where it is missing."""
    # bcc reads this when it compiles: our header shim instead of a kernel header tree (bpf/README.md)
    os.environ["BCC_KERNEL_SOURCE"] = str(data.folder("bpf"))
    try:
        import bcc
    except ImportError as missing:
        raise SlimtraceError(f"cannot load bcc: {missing}", _MISSING_BCC, Exit.KERNEL) from missing
    return bcc


def compile_text(bcc: Any, text: str, flags: Sequence[str], function: int | None) -> Any:
    """The text as bcc.BPF, with calls of the kernel's function of that number marked. Raises Exception where
    the compiler refuses."""
    bpf = bcc.BPF(text=text.encode(), cflags=[*flags, "-Wno-everything"])
    if function is not None:
        mark_function_calls(bcc, bpf, function)
    return bpf


def mark_function_calls(bcc: Any, bpf: Any, number: int) -> None:
    """Make of each call of the helper `number` one of the kernel's function with this number in its BTF
    (bpf/kernel.h, AS): in the memory where bcc itself puts the descriptors of maps into the instructions."""
    call, marked = (_INSTRUCTION.pack(_CALL, kind << 4, 0, number) for kind in (_OF_A_HELPER, _OF_A_FUNCTION))
    for start, size in _functions(bcc, bpf).values():
        for at in range(start, start + size, _INSTRUCTION.size):
            if ctypes.string_at(at, _INSTRUCTION.size) == call:
                ctypes.memmove(at, marked, _INSTRUCTION.size)


def taken_from(bcc: Any, bpf: Any) -> Compiled:
    """What `recall` can make the same programs of. Raises ValueError where something in them holds for this
    process alone."""
    maps = maps_of(bcc, bpf)
    index = {descriptor: number for number, descriptor in enumerate(maps.values())}
    functions = _functions(bcc, bpf).items()
    code = {name: with_maps(ctypes.string_at(*where), index) for name, where in functions}
    return Compiled(tuple(maps), code)


def recall(bcc: Any, compiled: Compiled, text: str, flags: Sequence[str]) -> Any:
    """As `compile_text`, of what was compiled of the same text with the same flags. Raises Exception where it
    does not fit."""
    bpf = bcc.BPF(text=declarations(text).encode(), cflags=[*flags, "-Wno-everything"])
    try:
        maps = maps_of(bcc, bpf)
        descriptors = {number: maps[name] for number, name in enumerate(compiled.maps)}
        code = {name.encode(): with_maps(code, descriptors) for name, code in compiled.programs.items()}
        version = bcc.lib.bpf_module_kern_version(bpf.module)
        prepare = bcc.lib.bcc_prog_load
        prepare.argtypes = [
            ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
            ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
        ]  # fmt: skip

        def load_func(name: bytes, kind: int, *_: object) -> Any:
            if name not in bpf.funcs:
                own = code[name]
                program = prepare(kind, name, own, len(own), _LICENSE, version, 0, None, 0)
                if program < 0:
                    raise OSError(ctypes.get_errno(), f"cannot load {name.decode()}")
                bpf.funcs[name] = bcc.BPF.Function(bpf, name, program)
            return bpf.funcs[name]

        # bcc itself asks this one for every program that it is to attach.
        bpf.load_func = load_func
    except BaseException:
        bpf.cleanup()
        raise
    return bpf


def declarations(text: str) -> str:
    """C in the style of bpf/ without its functions: types and maps."""
    return _FUNCTION.sub("", text)


def with_maps(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """The instructions with other numbers where a map is meant. Raises ValueError where one has none, or
    something else is loaded that only a process can know."""
    written = bytearray(code)
    for at, number in _loads_of_maps(code):
        if number not in numbers:
            raise ValueError(f"no map has the number {number}")
        struct.pack_into("<i", written, at + 4, numbers[number])
    return bytes(written)


def _loads_of_maps(code: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(code):
        try:
            operation, registers, _, number = _INSTRUCTION.unpack_from(code, at)
        except struct.error as short:
            raise ValueError("half an instruction") from short
        if operation == _WIDE_LOAD:
            if registers >> 4 not in (_OF_A_NUMBER, _OF_A_MAP):
                raise ValueError(f"a load of the kind {registers >> 4}")
            if registers >> 4 == _OF_A_MAP:
                yield at, number
            at += _INSTRUCTION.size
        at += _INSTRUCTION.size


def _functions(bcc: Any, bpf: Any) -> dict[str, tuple[int, int]]:
    """Where the instructions of each are, and how many bytes."""
    names = [bcc.lib.bpf_function_name(bpf.module, at) for at in range(bcc.lib.bpf_num_functions(bpf.module))]
    return {
        name.decode(): (
            bcc.lib.bpf_function_start(bpf.module, name),
            bcc.lib.bpf_function_size(bpf.module, name),
        )
        for name in names
    }


def maps_of(bcc: Any, bpf: Any) -> dict[str, int]:
    """The descriptors by name."""
    lib, module = bcc.lib, ctypes.c_void_p(bpf.module)
    lib.bpf_table_name.restype = ctypes.c_char_p  # bcc itself does not ask for it
    names = [lib.bpf_table_name(module, ctypes.c_size_t(at)) for at in range(lib.bpf_num_tables(module))]
    return {name.decode(): lib.bpf_table_fd(bpf.module, name) for name in names}
