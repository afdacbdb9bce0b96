"""Where the dynamic linker would find the libraries of an ELF file, without executing anything.

Sources: ld.so(8) and glibc elf/dl-load.c (_dl_map_object, _dl_init_paths), elf/ldconfig.c (parse_conf); musl
ldso/dynlink.c (load_library, path_open, fixup_rpath).

Two choices are ours. The cache (/etc/ld.so.cache) is not parsed: it was made from the directories of
/etc/ld.so.conf, which stand for it. And a library's plain variant is preferred to one below
``glibc-hwcaps``: the trace names the variant that this machine's processor chose, and with the plain one
beside it the image also runs on another.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.facts.formats.elf import Elf
from slimtrace.facts.tree import FileTree, Kind, Resolution

# Debian's multiarch directory by ELF machine and word size (https://wiki.debian.org/Multiarch/Tuples).
TRIPLETS = {
    ("EM_X86_64", 64): "x86_64-linux-gnu",
    ("EM_X86_64", 32): "x86_64-linux-gnux32",
    ("EM_386", 32): "i386-linux-gnu",
    ("EM_AARCH64", 64): "aarch64-linux-gnu",
    ("EM_ARM", 32): "arm-linux-gnueabihf",
    ("EM_RISCV", 64): "riscv64-linux-gnu",
    ("EM_S390", 64): "s390x-linux-gnu",
    ("EM_PPC64", 64): "powerpc64le-linux-gnu",
}
# AT_PLATFORM, which $PLATFORM stands for; glibc before 2.37 said haswell or xeon_phi on newer x86.
PLATFORMS = {
    ("EM_X86_64", 64): ("x86_64", "haswell", "xeon_phi"),
    ("EM_386", 32): ("i686",),
    ("EM_AARCH64", 64): ("aarch64",),
    ("EM_ARM", 32): ("v7l",),
}
MUSL_DIRECTORIES = ("/lib", "/usr/local/lib", "/usr/lib")
# musl is its own libc, libm, …: these names are the loader itself (dynlink.c, `reserved`).
MUSL_OWN = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\.")
_DST = re.compile(r"\$(?:\{(\w+)\}|(ORIGIN|LIB|PLATFORM))")  # dynamic string tokens, ld.so(8)
MAX_OBJECTS = 4096  # more in one program is a forged file


@dataclass(frozen=True, slots=True)
class Need:
    """A name that the object at path `by` needs, the path it was `asked` at with success, and where that was
    `found` to lead; "" and None where the search ended without a fitting library."""

    name: str
    by: str
    asked: str = ""
    found: Resolution | None = None


_Hit = tuple[str, Resolution]


class Linker:
    """The search, over one image; remembers what it found. Paths it takes are resolved ones."""

    def __init__(
        self, tree: FileTree, contents: Contents, environment: Mapping[str, str] | None = None
    ) -> None:
        self._tree = tree
        self._contents = contents
        preset = (environment or {}).get("LD_LIBRARY_PATH", "")
        self._preset = tuple(part for part in re.split("[:;]", preset) if part)
        self._configured: tuple[str, ...] | None = None
        self._found: dict[tuple[str, str, str, int], _Hit | None] = {}

    def closure(self, path: str) -> tuple[Need, ...]:
        """Every need of the object at `path` and of what it needs, breadth first as the linker loads them. A
        name that an object loaded before bears, as its file name or DT_SONAME, is not searched again."""
        root = self._contents.elf(path)
        if root is None:
            return ()
        musl = self._is_musl(root)
        needs: list[Need] = []
        loaded: dict[str, _Hit] = {}
        seen = {path}
        queue: list[tuple[str, Elf, tuple[str, ...]]] = [(path, root, (path,))]
        for by, elf, chain in queue:
            for name in elf.needed:
                hit = loaded.get(name) or self._search(name, chain, elf, root, musl)
                if hit is None:
                    needs.append(Need(name, by))
                    continue
                found = hit[1]
                needs.append(Need(name, by, *hit))
                loaded.setdefault(name, hit)
                library = self._contents.elf(found.path)
                if library is None or found.path in seen or len(seen) > MAX_OBJECTS:
                    continue
                seen.add(found.path)
                if library.soname:
                    loaded.setdefault(library.soname, hit)
                queue.append((found.path, library, (found.path, *chain)))
        return tuple(needs)

    def needs(self, path: str) -> tuple[Need, ...]:
        """The needs of the object at `path` alone."""
        return tuple(need for need in self.closure(path) if need.by == path)

    def find(self, name: str, by: str) -> Need | None:
        """What dlopen(3) of `name` by the object at `by` would find; None where nothing fits. The search path
        of the program that it runs in is not known here, only its own."""
        elf = self._contents.elf(by)
        hit = self._search(name, (by,), elf, elf, self._is_musl(elf)) if elf else None
        return Need(name, by, *hit) if hit else None

    def _search(self, name: str, chain: tuple[str, ...], elf: Elf, root: Elf, musl: bool) -> _Hit | None:
        if musl and MUSL_OWN.match(name):
            return self._musl_loader(root)
        if "/" in name:
            for spelled in self._expand(name, chain[0], elf):
                if spelled.startswith("/") and (hit := self._fitting(spelled, elf)):
                    return hit
            return None
        directories = self._musl_directories(chain, root) if musl else self._glibc_directories(chain, elf)
        tried: set[str] = set()
        for directory in directories:
            if directory not in tried:
                tried.add(directory)
                if hit := self._in_directory(directory, name, elf):
                    return hit
        return None

    def _glibc_directories(self, chain: tuple[str, ...], elf: Elf) -> Iterator[str]:
        # DT_RPATH counts for the object and all that loaded it, unless the object has a DT_RUNPATH; of an
        # object with both the DT_RPATH is ignored (elf/get-dynamic-info.h).
        if not elf.runpath:
            for loader in chain:
                its = self._contents.elf(loader)
                if its is not None and not its.runpath:
                    yield from self._expanded(its.rpath, loader, its)
        yield from self._expanded(self._preset, chain[-1], elf)
        yield from self._expanded(elf.runpath, chain[0], elf)
        yield from self._ld_so_conf()
        triplet = TRIPLETS.get((elf.machine, elf.bits))
        if triplet:
            yield f"/lib/{triplet}"
            yield f"/usr/lib/{triplet}"
        word = f"lib{elf.bits}" if (elf.machine, elf.bits) != ("EM_X86_64", 32) else "libx32"
        yield from (f"/{word}", f"/usr/{word}", "/lib", "/usr/lib")

    def _musl_directories(self, chain: tuple[str, ...], root: Elf) -> Iterator[str]:
        yield from self._preset
        for loader in chain:  # RPATH and RUNPATH are one to musl, and both are inherited
            its = self._contents.elf(loader)
            if its is not None:
                yield from self._expanded(its.runpath or its.rpath, loader, its)
        loader_name = paths.name(self._musl_loader_path(root) or "")
        text = self._text(f"/etc/{loader_name.partition('.')[0]}.path") if loader_name else None
        # An empty file means no directories at all, a missing one the built-in list (dynlink.c).
        yield from MUSL_DIRECTORIES if text is None else (part for part in re.split("[\n:]", text) if part)

    def _expanded(self, spelled: tuple[str, ...], holder: str, elf: Elf) -> Iterator[str]:
        for directory in spelled:
            yield from self._expand(directory, holder, elf)

    def _expand(self, text: str, holder: str, elf: Elf) -> Iterator[str]:
        """`text` with $ORIGIN, $LIB and $PLATFORM replaced. What $LIB is was decided when glibc was built
        (Debian lib/TRIPLET, others lib64 or lib) so each is tried."""
        if "$" not in text:
            yield text
            return
        key = (elf.machine, elf.bits)
        libs = [f"lib/{TRIPLETS[key]}"] if key in TRIPLETS else []
        for lib in (*libs, f"lib{elf.bits}", "lib"):
            for platform in PLATFORMS.get(key, ("",)):
                values = {"ORIGIN": paths.parent(holder), "LIB": lib, "PLATFORM": platform}
                yield _DST.sub(partial(_value, values), text)
                if "$LIB" not in text and "${LIB}" not in text and "PLATFORM" not in text:
                    return

    def _in_directory(self, directory: str, name: str, elf: Elf) -> _Hit | None:
        if not directory.startswith("/"):
            return None  # relative to a working directory that a static view does not know
        key = (directory, name, elf.machine, elf.bits)
        if key not in self._found:
            self._found[key] = self._fitting(f"{directory}/{name}", elf) or self._hwcaps(directory, name, elf)
        return self._found[key]

    def _hwcaps(self, directory: str, name: str, elf: Elf) -> _Hit | None:
        base = self._tree.resolve(f"{directory}/glibc-hwcaps")
        for level in self._tree.children(base.path) if base.entry else ():  # sorted: the least demanding first
            if hit := self._fitting(f"{directory}/glibc-hwcaps/{paths.name(level)}/{name}", elf):
                return hit
        return None

    def _fitting(self, path: str, elf: Elf) -> _Hit | None:
        """`path` and where it leads, if a library of the same machine and word size is there: the linker
        passes over another architecture's and goes on."""
        found = self._tree.resolve(path)
        if found.entry is None or found.entry.kind is not Kind.FILE:
            return None
        library = self._contents.elf(found.path)
        return (path, found) if library and (library.machine, library.bits) == (elf.machine, elf.bits) else None

    def _ld_so_conf(self) -> tuple[str, ...]:
        if self._configured is None:
            self._configured = tuple(self._read_conf("/etc/ld.so.conf", set()))
        return self._configured

    def _read_conf(self, path: str, seen: set[str]) -> Iterator[str]:
        if path in seen:
            return
        seen.add(path)
        for line in (self._text(path) or "").splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                for pattern in words[1:]:
                    for match in self._glob(paths.join(paths.parent(path), pattern)):
                        yield from self._read_conf(match, seen)
            elif words and words[0] != "hwcap":
                yield " ".join(words).partition("=")[0].rstrip()

    def _glob(self, pattern: str) -> list[str]:
        found = ["/"]
        for part in pattern.strip("/").split("/"):
            found = [
                child
                for directory in found
                for child in self._tree.children(self._tree.resolve(directory).path)
                if fnmatchcase(paths.name(child), part) and (part[0] == "." or paths.name(child)[0] != ".")
            ]
        return found

    def _text(self, path: str) -> str | None:
        found = self._tree.resolve(path)
        return self._contents.text(found.path) if found.entry and found.entry.kind is Kind.FILE else None

    def _is_musl(self, elf: Elf) -> bool:
        if elf.interpreter:
            return "ld-musl" in elf.interpreter
        return any(name.startswith("libc.musl-") for name in elf.needed)

    def _musl_loader_path(self, root: Elf) -> str | None:
        if root.interpreter:
            return root.interpreter
        lib = self._tree.resolve("/lib").path
        return next((path for path in self._tree.children(lib) if "/ld-musl-" in path), None)

    def _musl_loader(self, root: Elf) -> _Hit | None:
        path = self._musl_loader_path(root) or ""
        found = self._tree.resolve(path)
        return (path, found) if path and found.entry else None


def _value(values: Mapping[str, str], match: re.Match[str]) -> str:
    return values.get(match[1] or match[2], match[0])


__all__ = ["Linker", "Need"]
