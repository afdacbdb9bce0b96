"""What a recording's processes did with files: records that are decoded only when somebody asks.

The reader shares the processors with the container: to decode a record costs ten times as much as to keep it,
and time that is spent while the container works is the container's.
"""

from collections import deque
from struct import error

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import FileUse
from slimtrace.facts.paths import join, parent
from slimtrace.observe.kernel import syscalls

NEWEST = 10


class FileUses:
    """The uses of files of one recording, in the order of the kernel's records, and for the live view the paths
    that were `seen` and the `newest` of these. For one thread at a time."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.newest: deque[str] = deque(maxlen=NEWEST)
        self._calls = syscalls.names_and_uses()
        self._undecoded: deque[tuple[bytes, int, str]] = deque()
        self._decoded: list[FileUse] = []
        self._name_hashes: set[int] = set()  # that two are the same by chance does no harm

    def __len__(self) -> int:
        return len(self._undecoded) + len(self._decoded)

    def keep(self, raw: bytes, run: int, program: str) -> bool:
        """Keep a FILE record of the recording `run`, by a process that had executed `program`. Gives whether
        its names are new."""
        self._undecoded.append((raw, run, program))
        known = len(self._name_hashes)
        self._name_hashes.add(hash(wire.path_bytes(raw)))
        return len(self._name_hashes) > known

    def add(self, use: FileUse) -> None:
        """Add a use that is known from elsewhere than a record."""
        self._decoded.append(use)

    def see(self, path: str) -> bool:
        """Note that a path was used. Gives whether it had not been seen before."""
        if path in self.seen:
            return False
        self.seen.add(path)
        self.newest.append(path)
        return True

    def decode(self, most: int) -> None:
        """Decode the next of the records that were kept, at most `most`. Raises SlimtraceError (INTERNAL) on a
        record that this version cannot read."""
        for _ in range(min(most, len(self._undecoded))):
            # a record that cannot be read stays: the next caller gets the error too
            raw, run, program = self._undecoded[0]
            try:
                use = wire.decode(raw, self._calls, run, program)
            except (error, ValueError) as problem:
                raise unreadable(problem) from problem
            self._undecoded.popleft()
            assert isinstance(use, FileUse)
            self._decoded.append(use)
            self.see(use.resolved or use.asked)

    def all(self) -> tuple[FileUse, ...]:
        """Every use. Raises SlimtraceError as `decode` does."""
        self.decode(len(self._undecoded))
        return tuple(self._decoded)

    def socket_directories(self) -> set[str]:
        """The directories in which UNIX sockets were bound."""
        return {parent(join(use.base, use.asked)) for use in self.all() if use.call == "bind" and not use.error}


def unreadable(problem: BaseException) -> SlimtraceError:
    """The error for a record that cannot be read, which is slimtrace's own fault."""
    return SlimtraceError(f"cannot read the trace: {problem!r}", "please report this", Exit.INTERNAL)
