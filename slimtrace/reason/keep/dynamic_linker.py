"""Where the dynamic linker would find the libraries of an ELF file, without executing anything.

Sources: ld.so(8) and glibc elf/dl-load.c (_dl_map_object, _dl_init_paths), elf/ldconfig.c (parse_conf); musl
ldso/dynlink.c (load_library, path_open, fixup_rpath).

This search differs from the linker's in two ways. It does not parse the cache (/etc/ld.so.cache), but searches
the directories of /etc/ld.so.conf that ldconfig(8) made it from. And it prefers a library's plain variant to
one below ``glibc-hwcaps``: the trace names the variant that was loaded on this machine's processor, and with
the plain one kept too the image also runs on others.
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
# Values of AT_PLATFORM, which $PLATFORM stands for; glibc before 2.37 said haswell or xeon_phi on newer x86.
PLATFORMS = {
    ("EM_X86_64", 64): ("x86_64", "haswell", "xeon_phi"),
    ("EM_386", 32): ("i686",),
    ("EM_AARCH64", 64): ("aarch64",),
    ("EM_ARM", 32): ("v7l",),
}
MUSL_DIRECTORIES = ("/lib", "/usr/local/lib", "/usr/lib")
# musl's loader is libc, libm, … too: these names mean the loader itself (dynlink.c, `reserved`).
MUSL_RESERVED = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\.")
_DST = re.compile(r"\$(?:\{(\w+)\}|(ORIGIN|LIB|PLATFORM))")  # dynamic string tokens, ld.so(8)
MAX_OBJECTS = 4096  # of one program; a file with more is forged


@dataclass(frozen=True, slots=True)
class Need:
    """A DT_NEEDED `name` of the object at path `by`, the path that the search opens with success (`asked`), and
    what that resolves to (`found`); "" and None where no compatible library is found."""

    name: str
    by: str
    asked: str = ""
    found: Resolution | None = None


_Hit = tuple[str, Resolution]


class DynamicLinker:
    """The linker's search in one image; it caches what it finds. All `path` and `by` are resolved paths."""

    def __init__(
        self, tree: FileTree, contents: Contents, environment: Mapping[str, str] | None = None
    ) -> None:
        self._tree = tree
        self._contents = contents
        ld_library_path = (environment or {}).get("LD_LIBRARY_PATH", "")
        self._ld_library_path = tuple(part for part in re.split("[:;]", ld_library_path) if part)
        self._conf_directories: tuple[str, ...] | None = None
        self._hits: dict[tuple[str, str, str, int], _Hit | None] = {}

    def closure(self, path: str) -> tuple[Need, ...]:
        """The needs of the object at `path` and of all that it needs, breadth first as the linker loads them. A
        name that an earlier object was loaded by, or that is its DT_SONAME, is not searched again."""
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
        """What dlopen(3) of `name` by the object at `by` would find; None if nothing. Only the object's own
        search path counts here, since the program that it is loaded into is not known."""
        elf = self._contents.elf(by)
        hit = self._search(name, (by,), elf, elf, self._is_musl(elf)) if elf else None
        return Need(name, by, *hit) if hit else None

    def _search(self, name: str, chain: tuple[str, ...], elf: Elf, root: Elf, musl: bool) -> _Hit | None:
        if musl and MUSL_RESERVED.match(name):
            return self._musl_loader(root)
        if "/" in name:
            for expanded in self._expand_tokens(name, chain[0], elf):
                if expanded.startswith("/") and (hit := self._compatible(expanded, elf)):
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
        # The DT_RPATH of the object and of all objects in the chain that loaded it is searched, unless the
        # object has a DT_RUNPATH; the DT_RPATH of an object with both is ignored (elf/get-dynamic-info.h).
        if not elf.runpath:
            for loader in chain:
                loader_elf = self._contents.elf(loader)
                if loader_elf is not None and not loader_elf.runpath:
                    yield from self._expanded(loader_elf.rpath, loader, loader_elf)
        yield from self._expanded(self._ld_library_path, chain[-1], elf)
        yield from self._expanded(elf.runpath, chain[0], elf)
        yield from self._ld_so_conf()
        triplet = TRIPLETS.get((elf.machine, elf.bits))
        if triplet:
            yield f"/lib/{triplet}"
            yield f"/usr/lib/{triplet}"
        lib = f"lib{elf.bits}" if (elf.machine, elf.bits) != ("EM_X86_64", 32) else "libx32"
        yield from (f"/{lib}", f"/usr/{lib}", "/lib", "/usr/lib")

    def _musl_directories(self, chain: tuple[str, ...], root: Elf) -> Iterator[str]:
        yield from self._ld_library_path
        for loader in chain:  # musl treats RPATH and RUNPATH alike: both are inherited
            loader_elf = self._contents.elf(loader)
            if loader_elf is not None:
                yield from self._expanded(loader_elf.runpath or loader_elf.rpath, loader, loader_elf)
        loader_name = paths.name(self._musl_loader_path(root) or "")
        text = self._text(f"/etc/{loader_name.partition('.')[0]}.path") if loader_name else None
        # An empty file means no directories at all, a missing one the built-in list (dynlink.c).
        yield from MUSL_DIRECTORIES if text is None else (part for part in re.split("[\n:]", text) if part)

    def _expanded(self, directories: tuple[str, ...], holder: str, elf: Elf) -> Iterator[str]:
        for directory in directories:
            yield from self._expand_tokens(directory, holder, elf)

    def _expand_tokens(self, text: str, holder: str, elf: Elf) -> Iterator[str]:
        """`text`, of the object at `holder`, with $ORIGIN, $LIB and $PLATFORM replaced. The value of $LIB is
        compiled into glibc (Debian has lib/TRIPLET, others lib64 or lib), so each is tried."""
        if "$" not in text:
            yield text
            return
        key = (elf.machine, elf.bits)
        libs = [f"lib/{TRIPLETS[key]}"] if key in TRIPLETS else []
        for lib in (*libs, f"lib{elf.bits}", "lib"):
            for platform in PLATFORMS.get(key, ("",)):
                values = {"ORIGIN": paths.parent(holder), "LIB": lib, "PLATFORM": platform}
                yield _DST.sub(partial(_token_value, values), text)
                if "$LIB" not in text and "${LIB}" not in text and "PLATFORM" not in text:
                    return

    def _in_directory(self, directory: str, name: str, elf: Elf) -> _Hit | None:
        if not directory.startswith("/"):
            return None  # relative to a working directory that is not known
        key = (directory, name, elf.machine, elf.bits)
        if key not in self._hits:
            self._hits[key] = self._compatible(f"{directory}/{name}", elf) or self._hwcaps(directory, name, elf)
        return self._hits[key]

    def _hwcaps(self, directory: str, name: str, elf: Elf) -> _Hit | None:
        base = self._tree.resolve(f"{directory}/glibc-hwcaps")
        for level in self._tree.children(base.path) if base.entry else ():  # sorted: the least demanding first
            if hit := self._compatible(f"{directory}/glibc-hwcaps/{paths.name(level)}/{name}", elf):
                return hit
        return None

    def _compatible(self, path: str, elf: Elf) -> _Hit | None:
        """`path` and what it resolves to, if that is a library of the same machine and word size as `elf`: the
        linker skips those of another architecture and goes on."""
        found = self._tree.resolve(path)
        if found.entry is None or found.entry.kind is not Kind.FILE:
            return None
        library = self._contents.elf(found.path)
        return (path, found) if library and (library.machine, library.bits) == (elf.machine, elf.bits) else None

    def _ld_so_conf(self) -> tuple[str, ...]:
        if self._conf_directories is None:
            self._conf_directories = tuple(self._read_conf("/etc/ld.so.conf", set()))
        return self._conf_directories

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


def _token_value(values: Mapping[str, str], match: re.Match[str]) -> str:
    return values.get(match[1] or match[2], match[0])


__all__ = ["DynamicLinker", "Need"]
