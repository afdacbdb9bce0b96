"""What an ELF file asks of the dynamic linker, read without executing anything."""

from dataclasses import dataclass
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

MAGIC = b"\x7fELF"
MAX_NEEDED = 4096  # more is a forged header, not a program


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
    if stream.read(4) != MAGIC:
        return None
    stream.seek(0)
    try:
        return _parse(ELFFile(stream))
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
    ):
        # pyelftools validates little: a forged offset or count surfaces as any of these.
        return None


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
