"""bcc: compile programs, or make them from the instructions that an earlier run compiled.

Compiling takes most of the time that loading takes, and gives the same for the same text, constants and bcc.
So the instructions are kept (program_cache.py), with names of maps in place of their descriptors. From the next
run on bcc compiles the declarations alone, which makes the maps, and the kernel verifies the instructions as
ever.
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
_HELPER, _KFUNC = 0, 2  # kinds of call, in the place of the source's register; BPF_PSEUDO_KFUNC_CALL
_WIDE_LOAD = 0x18  # BPF_LD | BPF_IMM | BPF_DW, two instructions long
_NUMBER, _MAP = 0, 1  # kinds of wide load, in the same place; BPF_PSEUDO_MAP_FD
_LICENSE = b"GPL"  # the one that bcc gives (bpf/README.md)

# A function of bpf/: its head at the margin, its body between braces at the margin.
_FUNCTION = re.compile(r"^(?!#|struct |enum |BPF_)\w[^;{}]*\([^;{}]*\)\n\{\n(?:.*\n)*?\}$", re.MULTILINE)


def import_bcc() -> Any:
    """The module bcc. Raises SlimtraceError (KERNEL) where it is missing."""
    # bcc reads this when it compiles: our header shim instead of a kernel header tree (bpf/README.md)
    os.environ["BCC_KERNEL_SOURCE"] = str(data.folder("bpf"))
    try:
        import bcc
    except ImportError as missing:
        raise SlimtraceError(f"cannot load bcc: {missing}", _MISSING_BCC, Exit.KERNEL) from missing
    return bcc


def compile_text(bcc: Any, text: str, flags: Sequence[str], kfunc: int | None) -> Any:
    """The text as bcc.BPF, with the calls of the kfunc of that number in the BTF marked as such. Raises
    Exception where the compiler refuses."""
    bpf = bcc.BPF(text=text.encode(), cflags=[*flags, "-Wno-everything"])
    if kfunc is not None:
        mark_kfunc_calls(bcc, bpf, kfunc)
    return bpf


def mark_kfunc_calls(bcc: Any, bpf: Any, number: int) -> None:
    """Make each call of the helper `number` a call of the kfunc with this number in the kernel's BTF
    (bpf/kernel.h, CAST): in the memory where bcc itself puts the descriptors of maps into the instructions."""
    call, marked = (_INSTRUCTION.pack(_CALL, kind << 4, 0, number) for kind in (_HELPER, _KFUNC))
    for start, size in _functions(bcc, bpf).values():
        for at in range(start, start + size, _INSTRUCTION.size):
            if ctypes.string_at(at, _INSTRUCTION.size) == call:
                ctypes.memmove(at, marked, _INSTRUCTION.size)


def extract_programs(bcc: Any, bpf: Any) -> Compiled:
    """The programs of `bpf` as `from_cache` can make them again. Raises ValueError where something in them
    holds for this process alone."""
    maps = map_descriptors(bcc, bpf)
    index = {descriptor: number for number, descriptor in enumerate(maps.values())}
    functions = _functions(bcc, bpf).items()
    code = {name: relocate_maps(ctypes.string_at(*where), index) for name, where in functions}
    return Compiled(tuple(maps), code)


def from_cache(bcc: Any, compiled: Compiled, text: str, flags: Sequence[str]) -> Any:
    """What `compile_text` gives, made from programs that were compiled from the same text with the same flags.
    Raises Exception where they do not fit."""
    bpf = bcc.BPF(text=declarations(text).encode(), cflags=[*flags, "-Wno-everything"])
    try:
        maps = map_descriptors(bcc, bpf)
        descriptors = {number: maps[name] for number, name in enumerate(compiled.maps)}
        code = {name.encode(): relocate_maps(code, descriptors) for name, code in compiled.programs.items()}
        version = bcc.lib.bpf_module_kern_version(bpf.module)
        bcc_prog_load = bcc.lib.bcc_prog_load
        bcc_prog_load.argtypes = [
            ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
            ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
        ]  # fmt: skip

        def load_func(name: bytes, kind: int, *_: object) -> Any:
            if name not in bpf.funcs:
                own = code[name]
                program = bcc_prog_load(kind, name, own, len(own), _LICENSE, version, 0, None, 0)
                if program < 0:
                    raise OSError(ctypes.get_errno(), f"cannot load {name.decode()}")
                bpf.funcs[name] = bcc.BPF.Function(bpf, name, program)
            return bpf.funcs[name]

        # bcc itself calls this for every program that it is to attach.
        bpf.load_func = load_func
    except BaseException:
        bpf.cleanup()
        raise
    return bpf


def declarations(text: str) -> str:
    """C in the style of bpf/ without its functions: types and maps."""
    return _FUNCTION.sub("", text)


def relocate_maps(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """The instructions with the number of each map replaced by what `numbers` has for it. Raises ValueError
    where `numbers` lacks a map, or something else is loaded that holds in one process alone."""
    written = bytearray(code)
    for at, number in _map_loads(code):
        if number not in numbers:
            raise ValueError(f"no map has the number {number}")
        struct.pack_into("<i", written, at + 4, numbers[number])
    return bytes(written)


def _map_loads(code: bytes) -> Iterator[tuple[int, int]]:
    """Each load of a map: where it is in the code, and the map's number."""
    at = 0
    while at < len(code):
        try:
            operation, registers, _, number = _INSTRUCTION.unpack_from(code, at)
        except struct.error as short:
            raise ValueError("half an instruction") from short
        if operation == _WIDE_LOAD:
            if registers >> 4 not in (_NUMBER, _MAP):
                raise ValueError(f"a load of the kind {registers >> 4}")
            if registers >> 4 == _MAP:
                yield at, number
            at += _INSTRUCTION.size
        at += _INSTRUCTION.size


def _functions(bcc: Any, bpf: Any) -> dict[str, tuple[int, int]]:
    """The address of each function's instructions, and how many bytes they are."""
    names = [bcc.lib.bpf_function_name(bpf.module, at) for at in range(bcc.lib.bpf_num_functions(bpf.module))]
    return {
        name.decode(): (
            bcc.lib.bpf_function_start(bpf.module, name),
            bcc.lib.bpf_function_size(bpf.module, name),
        )
        for name in names
    }


def map_descriptors(bcc: Any, bpf: Any) -> dict[str, int]:
    """The file descriptors of the maps by name, in the order of their declarations."""
    lib, module = bcc.lib, ctypes.c_void_p(bpf.module)
    lib.bpf_table_name.restype = ctypes.c_char_p  # bcc itself does not ask for it
    names = [lib.bpf_table_name(module, ctypes.c_size_t(at)) for at in range(lib.bpf_num_tables(module))]
    return {name.decode(): lib.bpf_table_fd(bpf.module, name) for name in names}
