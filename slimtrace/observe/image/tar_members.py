"""The file that a header in a layer's tar describes (pax(1), OCI image-spec layer.md), and where its bytes
are."""

import tarfile
from dataclasses import dataclass

from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths

_XATTR = "SCHILY.xattr."
_PATH_MAX = 4096  # bytes, linux/limits.h: no file can have a longer path


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a file: its `length` bytes from `start` on are at the offset `at` of a layer's tar."""

    start: int
    length: int
    at: int


@dataclass(frozen=True, slots=True)
class Content:
    """Where a file's `size` bytes are: in the tar of the layer numbered `layer`, from the offset `at` on, or
    for a sparse file in `extents`, with holes between them."""

    layer: int
    at: int
    size: int
    extents: tuple[Extent, ...] | None = None


class IgnoredPaxGlobals(dict[str, str]):
    """PAX global headers that have no effect, as engines ignore them (moby pkg/archive, TypeXGlobalHeader)."""

    def __setitem__(self, key: str, value: str) -> None:
        return


def components_of(name: str) -> list[str]:
    """The components of a name in a layer, which is cleaned as text (Go's path.Clean). Raises SlimtraceError
    for a name that leads above the root, or that no file can have."""
    found: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not found:
                raise broken_layers(f"the path {shown(name)} leads out of it")
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    raw = paths.encode(name)
    if b"\0" in raw or len(raw) > _PATH_MAX:
        raise broken_layers(f"no file can be called {shown(name)}")
    return found


def content_of(member: tarfile.TarInfo, layer: int) -> Content:
    """Where the bytes of a regular file in the layer numbered `layer` are. Raises SlimtraceError."""
    size, at = member.size, member.offset_data
    segments: list[tuple[int, int]] | None = getattr(member, "sparse", None)
    if size < 0:
        raise broken_layers(f"{shown(member.name)} is shorter than nothing")
    if segments is None:
        return Content(layer, at, size)
    extents, end = [], 0
    for start, length in segments:
        if start < end or length < 0 or start + length > size:
            raise broken_layers(f"{shown(member.name)} has a damaged map of holes")
        if length:
            extents.append(Extent(start, length, at))
        at, end = at + length, start + length
    return Content(layer, 0, size, tuple(extents))


def xattrs_of(member: tarfile.TarInfo) -> dict[str, bytes]:
    """The extended attributes of a member, by name."""
    return {
        key.removeprefix(_XATTR): paths.encode(value)
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    }


def mtime_ns(member: tarfile.TarInfo) -> int:
    """The modification time in nanoseconds, not by way of tarfile's float, which is 100 ns off; 0 for a time
    that is no number."""
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    whole, _, rest = text.partition(".")
    digits = whole.removeprefix("-")
    if not (f"{digits}{rest}".isascii() and f"{digits}{rest}".isdigit()) or len(digits) > 18:
        return 0
    found = int(digits or 0) * 10**9 + int(rest[:9].ljust(9, "0"))
    return -found if whole.startswith("-") else found


def shown(name: str) -> str:
    """A name from a layer, quoted for a message."""
    return repr(paths.printable(name[:200]))


def broken_layers(why: str) -> SlimtraceError:
    """The error for layers that no engine could unpack."""
    return SlimtraceError(f"cannot read the image's layers: {why}")
