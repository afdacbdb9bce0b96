"""terminfo entries: descriptions of terminals.

Sources: terminfo(5), "Fetching compiled descriptions"; ncurses ncurses/tinfo/db_iterator.c and Debian's
configure line (/etc/terminfo, /lib/terminfo, /usr/share/terminfo; /usr/lib/terminfo is the same as /lib's).
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import CaptureView

LIBRARIES = frozenset(("libtinfo", "libtinfow", "libncurses", "libncursesw", "libtermcap"))
DATABASES = ("/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo")
# What `docker run -t` and `docker exec -t` set (xterm), and the terminals that users pass on with -e TERM.
TERMINALS = (
    "ansi", "dumb", "linux", "screen", "screen-256color", "tmux", "tmux-256color", "vt100", "xterm",
    "xterm-256color",
)  # fmt: skip


class Terminfo:
    """For each terminal library, and for each entry that was read: the entries of the common terminals."""

    def __init__(self, capture: Capture) -> None:
        self._view = view = CaptureView(capture)
        home = view.environment.get("TERMINFO", "")
        self._databases = dict.fromkeys((*((home,) if home.startswith("/") else ()), *DATABASES))
        self._terminals = {*TERMINALS, view.environment.get("TERM", "")} - {""}

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        entry = any(paths.below(path, view.tree.resolve(database).path) for database in self._databases)
        if not entry and view.library(path) not in LIBRARIES:
            return
        for name in sorted(self._terminals):
            if "/" in name:
                continue
            for database in self._databases:
                # The directory is the name's first letter, or its code where file names ignore case.
                for letter in (name[0], f"{ord(name[0]):x}"):
                    if view.file(f"{database}/{letter}/{name}"):
                        yield from view.claim(f"{database}/{letter}/{name}", path, "a terminal")
