"""What an ELF file asks of the dynamic linker, read without executing anything."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, TypeVar

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

MAGIC = b"\x7fELF"
MAX_NEEDED = 4096  # more is a forged header, not a program
MAX_SECTIONS = 4096  # the table of dynamic symbols is among the first ten
SYMBOL_BYTES = 1 << 24  # of a symbol or string table: the largest libraries have some MiB
MAX_SYMBOL = 128  # bytes of the longest symbol name that is looked for

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Elf:
    """The dynamic needs of one ELF file (elf(5), ld.so(8)).

    `machine` and `bits` must match between a library and what needs it. `interpreter` is PT_INTERP;
    `needed`, `soname`, `rpath`, `runpath` are the dynamic section's, search paths still with their
    ``$ORIGIN`` and already split at the colons.
    """

    machine: str
    bits: int
    interpreter: str = ""
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


def parse(stream: BinaryIO) -> Elf | None:
    """The needs of the ELF file in `stream`; None for anything that is no well-formed ELF file. Never raises
    on hostile content, and reads only headers, the interpreter, and the dynamic section."""
    return _safely(stream, _parse)


def imports(stream: BinaryIO) -> frozenset[str]:
    """The names of the undefined dynamic symbols (elf(5), SHN_UNDEF in .dynsym): what the file takes from the
    libraries it is linked with. Empty for anything that is no well-formed ELF file or has no section headers.
    Never raises on hostile content."""
    return _safely(stream, lambda elf: frozenset(_imports(elf, stream))) or frozenset()


def _safely(stream: BinaryIO, read: "Callable[[ELFFile], T]") -> T | None:
    if stream.read(4) != MAGIC:
        return None
    stream.seek(0)
    try:
        return read(ELFFile(stream))
    except (
        ELFError,
        ValueError,
        KeyError,
        OverflowError,
        AssertionError,
        AttributeError,
        TypeError,
        IndexError,
        RecursionError,
        MemoryError,
        UnicodeDecodeError,
        OSError,
        struct.error,
    ):
        # pyelftools validates little: a forged offset or count surfaces as any of these.
        return None


def _imports(elf: "ELFFile", stream: BinaryIO) -> Iterator[str]:
    order = "<" if elf.little_endian else ">"
    # Elf64_Sym and Elf32_Sym order their fields differently; both begin with st_name.
    symbol, shndx = (f"{order}IBBHQQ", 3) if elf.elfclass == 64 else (f"{order}IIIBBH", 5)
    for section in islice(elf.iter_sections(), MAX_SECTIONS):
        if section["sh_type"] != "SHT_DYNSYM":
            continue
        strings = elf.get_section(section["sh_link"])
        stream.seek(strings["sh_offset"])
        names = stream.read(min(strings["sh_size"], SYMBOL_BYTES))
        stream.seek(section["sh_offset"])
        table = stream.read(min(section["sh_size"], SYMBOL_BYTES))
        whole = len(table) - len(table) % struct.calcsize(symbol)
        for entry in struct.iter_unpack(symbol, table[:whole]):
            if entry[shndx] == 0 and entry[0]:
                end = names.find(b"\0", entry[0], entry[0] + MAX_SYMBOL)
                if end > entry[0]:
                    yield names[entry[0] : end].decode("ascii", "replace")
        return


def _parse(elf: "ELFFile") -> Elf:
    interpreter = soname = ""
    needed: list[str] = []
    rpath: list[str] = []
    runpath: list[str] = []
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                kind = tag.entry.d_tag
                if kind == "DT_NEEDED":
                    needed.append(tag.needed)
                    if len(needed) > MAX_NEEDED:
                        raise ValueError("too many DT_NEEDED")
                elif kind == "DT_SONAME":
                    soname = tag.soname
                elif kind == "DT_RPATH":
                    rpath += tag.rpath.split(":")
                elif kind == "DT_RUNPATH":
                    runpath += tag.runpath.split(":")
                elif kind == "DT_NULL":
                    break
    return Elf(
        machine=str(elf["e_machine"]),
        bits=int(elf.elfclass),
        interpreter=interpreter,
        soname=soname,
        needed=tuple(needed),
        rpath=tuple(rpath),
        runpath=tuple(runpath),
    )
