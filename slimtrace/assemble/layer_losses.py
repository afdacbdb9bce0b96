"""The properties of files that a layer cannot carry: each kind of loss becomes one doubt.

The layer's format is that of the OCI image-spec (layer.md): a tar in which a name that begins with ``.wh.``
means that something is to be removed, and which has no type for a socket.
"""

from collections.abc import Mapping

from slimtrace.assemble.tar_header import RECORDS_LIMIT, can_carry_xattr
from slimtrace.facts import paths
from slimtrace.facts.events import Doubt
from slimtrace.facts.tree import Entry, Kind

_WHITEOUT = ".wh."
_LAST_TIME = (1 << 63) - 1  # nanoseconds: 2262-04-11

# By the code of the doubt.
_WHY = {
    "socket": "a socket cannot be in an image",
    "whiteout": "a name that begins with .wh. means in a layer that something is to be removed, "
    "and so does to an overlay a character device 0:0",
    "attribute": "an extended attribute without a value, with = in its name, or beyond 1 MiB, is left out",
    "time": "a time before 1970 or after 2262 becomes another in Docker",
}


class LayerLosses:
    """Collects the losses: asked before each entry is written, it gives the `doubts` afterwards."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def writable(self, entry: Entry) -> bool:
        """Whether a layer can hold `entry` at all; a loss is noted."""
        if f"/{_WHITEOUT}" in entry.path:
            return self._lose("whiteout", entry.path)
        if entry.kind is Kind.SOCKET:
            return self._lose("socket", entry.path)
        if entry.kind is Kind.CHAR and not entry.major and not entry.minor:
            return self._lose("whiteout", entry.path)
        # moby pkg/system/chtimes.go; a symlink's time is set by other code, which accepts negative times.
        if entry.mtime_ns > _LAST_TIME or (entry.mtime_ns < 0 and entry.kind is not Kind.LINK):
            self._lose("time", entry.path)
        return True

    def carried_xattrs(self, path: str, xattrs: Mapping[str, bytes]) -> dict[str, bytes]:
        """The extended attributes of `path` that a layer can carry; a loss is noted."""
        found = {}
        room = RECORDS_LIMIT - (16 << 10)  # bytes for the other records: mostly a path and a link's target
        for name, value in xattrs.items():
            room -= len(paths.encode(name)) + len(value) + 32
            if room >= 0 and can_carry_xattr(name, value):
                found[name] = value
        if len(found) < len(xattrs):
            self._lose("attribute", path)
        return found

    def doubts(self) -> tuple[Doubt, ...]:
        """One doubt for each kind of loss, with the first path and the number of the others."""
        return tuple(
            Doubt(code, f"{paths.printable(lost[0])}{_more(lost)}: {_WHY[code]}", lost[0])
            for code, lost in sorted(self._found.items())
        )

    def _lose(self, code: str, path: str) -> bool:
        self._found.setdefault(code, []).append(path)
        return False


def _more(lost: list[str]) -> str:
    return f" and {len(lost) - 1} more" if len(lost) > 1 else ""


__all__ = ["LayerLosses"]
