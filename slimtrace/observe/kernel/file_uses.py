"""What a recording's processes did with files, taken apart only when somebody asks.

The reader shares the processors with the container: to take a record apart costs ten times as much as to keep
it, and time that is spent while the container works is the container's.
"""

from collections import deque
from struct import error

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import FileUse
from slimtrace.facts.paths import join, parent
from slimtrace.observe.kernel import syscalls

NEWEST = 10


class Uses:
    """The uses of files of one recording, in the order in which the kernel told them, and for the live view the
    paths that were `seen`, the `newest` apart. For one thread at a time."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.newest: deque[str] = deque(maxlen=NEWEST)
        self._calls = syscalls.uses()
        self._whole: deque[tuple[bytes, int, str]] = deque()
        self._apart: list[FileUse] = []
        self._names: set[int] = set()  # hashes; that two are the same by chance does no harm

    def __len__(self) -> int:
        return len(self._whole) + len(self._apart)

    def keep(self, raw: bytes, run: int, program: str) -> bool:
        """Keep a FILE record of the recording `run`, by a process that had executed `program`. Whether its
        names are news."""
        self._whole.append((raw, run, program))
        known = len(self._names)
        self._names.add(hash(wire.names_of(raw)))
        return len(self._names) > known

    def add(self, use: FileUse) -> None:
        """One that is known from elsewhere."""
        self._apart.append(use)

    def see(self, path: str) -> bool:
        """A path was used. Whether it had not been seen before."""
        if path in self.seen:
            return False
        self.seen.add(path)
        self.newest.append(path)
        return True

    def take_apart(self, most: int) -> None:
        """See the next of those that were kept. Raises SlimtraceError (INTERNAL) on a record that this version
        cannot read."""
        for _ in range(min(most, len(self._whole))):
            raw, run, program = self._whole[0]  # stays if it cannot be read: whoever asks next is to know
            try:
                use = wire.decode(raw, self._calls, run, program)
            except (error, ValueError) as problem:
                raise unreadable(problem) from problem
            self._whole.popleft()
            assert isinstance(use, FileUse)
            self._apart.append(use)
            self.see(use.resolved or use.asked)

    def all(self) -> tuple[FileUse, ...]:
        """Every one. Raises SlimtraceError as `take_apart` does."""
        self.take_apart(len(self._whole))
        return tuple(self._apart)

    def bound(self) -> set[str]:
        """The directories in which UNIX sockets were bound."""
        return {parent(join(use.base, use.asked)) for use in self.all() if use.call == "bind" and not use.error}


def unreadable(problem: BaseException) -> SlimtraceError:
    """A record that cannot be read is our own fault."""
    return SlimtraceError(f"cannot read the trace: {problem!r}", "please report this", Exit.INTERNAL)
