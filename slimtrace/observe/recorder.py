"""One recording: a container started from its unchanged image, watched, driven, stopped; a Trace at the end."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Event

from slimtrace import signals
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import (
    Doubt,
    Exec,
    Listen,
    Mount,
    Socket,
    Trace,
    process,
)
from slimtrace.facts.image import Image
from slimtrace.facts.paths import join
from slimtrace.facts.progress import Tally
from slimtrace.facts.runs import Probe, Run
from slimtrace.observe.container.attach import (
    Target,
    cgroup_id,
    directories,
    held,
    processes,
    waiting,
    with_waiting,
)
from slimtrace.observe.container.driver import Drive, enter_pressed
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.image.mount_namespace import own_directory
from slimtrace.observe.kernel import io_uring, syscalls
from slimtrace.observe.kernel.file_uses import Uses
from slimtrace.observe.kernel.first_callers import Callers
from slimtrace.observe.kernel.live_events import News
from slimtrace.observe.kernel.mountinfo import RUNTIME_MOUNTS, joined, mounted
from slimtrace.observe.kernel.probes import Probes
from slimtrace.observe.kernel.programs import Rings

MAX_FACTS = 250_000  # files used and programs run; a find over a whole 1 GB image tells some 60,000
AT_ONCE = 1000  # records that are taken apart for one look, in some 15 ms
LOOK_SECONDS = 0.1  # between two looks at what runs in a cgroup
MOUNTS_OF = 64  # processes whose mounts are looked at: those of one container have the same
RUN_DIGITS = 10  # hex digits of the container's id that number the recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a recording gave: the trace, what the exercise saw, and what came of the `runs`: of one, or of none
    where the container was only watched, or of several where captures were merged."""

    trace: Trace
    probes: tuple[Probe, ...] = ()
    events: int = 0
    runs: tuple[Run, ...] = ()

    @property
    def run(self) -> Run:
        """The run of a recording that has driven its container; an empty one otherwise."""
        return self.runs[0] if self.runs else Run()

    @property
    def exit_code(self) -> int | None:
        """What the container ended with by itself, else None."""
        return self.run.exit_code

    @property
    def stop_code(self) -> int | None:
        """What it ended with when it was stopped, else None."""
        return self.run.stop_code

    @property
    def stop_seconds(self) -> float:
        """What the stop took."""
        return self.run.stop_seconds


class Recorder:
    """Collects what the kernel tells of one container. `tally` may be asked from any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = Uses()
        self._execs: list[Exec] = []
        self._listens: list[Listen] = []
        self._sockets: list[Socket] = []
        self._programs: dict[int, str] = {}  # process -> what it executed last
        self._held: dict[int, str] = {}  # process -> what ran in it when it was attached to
        self._callers = Callers()
        self._parents: dict[int, int] = {}
        self._events = 0
        self._dropped = 0
        self._armed = 0
        self._first = 0
        self._run = 0  # the recording's number
        self._told = News(self._bound)
        self._calls = syscalls.uses()
        self._probes: Probes | None = None

    def load(self) -> None:
        """Compile and load the programs; the slow part, which needs no container yet. bcc changes the working
        directory while it compiles; that of this thread alone, so that others may work beside it."""
        own_directory()
        self._probes = Probes(self.take)

    def close(self) -> None:
        """Free the programs. A signal waits: bcc would free what is half freed once more at the end."""
        if self._probes is not None:
            with signals.deferred():
                self._probes.close()

    def take(self, raw: bytes) -> None:
        """One record from the kernel (the reading thread)."""
        kind, pid = wire.head(raw)
        if kind == wire.RECORD_FILE:
            self._keep(raw, process(self._run, pid))
            return
        record = wire.decode(raw, self._calls, self._run)
        with self._lock:
            self._events += 1
            if self._is_too_much(record):
                self._dropped += 1
                return
            match record:
                case Exec():
                    self._execs.append(record)
                    self._parents.setdefault(record.pid, record.parent)
                    name, before = join(record.base, record.asked), self._programs.get(record.pid, "")
                    self._callers.executed(record.pid, wire.program_word(raw), name, before)
                    self._programs[record.pid] = name
                    self._first = self._first or record.pid
                    self._news(record.asked)
                case wire.Fork():
                    self._parents[record.child] = record.pid
                    self._programs[record.child] = self._programs.get(record.pid, "")
                case Listen():
                    self._listens.append(record)
                    self._told.signals.put(record)
                    self._told.touch()
                case Socket():
                    self._sockets.append(record)
                case wire.Exit():
                    self._programs.pop(record.pid, None)
                    if record.pid == self._first:
                        self._told.signals.put(record)
                case wire.CgroupArmed():
                    self._armed += 1

    def _keep(self, raw: bytes, pid: int) -> None:
        with self._lock:
            self._events += 1
            if self._is_full():
                self._dropped += 1
            elif self._uses.keep(raw, self._run, self._programs.get(pid, "")):
                self._told.touch()

    def _is_full(self) -> bool:
        return len(self._uses) + len(self._execs) + len(self._sockets) >= MAX_FACTS

    def _is_too_much(self, record: wire.Record | None) -> bool:
        """Whether a hostile container has told so much that keeping this too could cost the host its memory.
        What steers the recording (ports, the end) is always heard."""
        if isinstance(record, Exec | Socket):
            return self._is_full()
        return isinstance(record, wire.Fork) and len(self._parents) >= MAX_FACTS

    def _news(self, path: str) -> None:
        if self._uses.see(path):
            self._told.touch()

    def _bound(self) -> set[str]:
        with self._lock:
            return self._uses.bound()

    def tally(self) -> Tally:
        """How far it has come. Of a flood the files are counted by and by: the reader waits meanwhile."""
        with self._lock:
            self._uses.take_apart(AT_ONCE)
            return Tally(
                events=self._events,
                lost=self._probes.lost() if self._probes else 0,
                files=len(self._uses.seen),
                calls=self._probes.program_calls() if self._probes else 0,
                processes=len(self._parents),
                ports=tuple(sorted({listen.port for listen in self._listens})),
                newest=tuple(self._uses.newest),
            )

    def record(
        self,
        engine: Engine,
        image: Image,
        plan: Plan,
        note: Callable[[str], None],
        stop: Event | None = None,
    ) -> Outcome:
        """Create, arm, start, drive, stop, remove. Raises SlimtraceError: START_FAILED, CRASHED when the
        container ends by itself with a failure, NEVER_READY when no port listened and no end came in time,
        EXERCISE_FAILED when a command of the user's failed; none of these for a tolerant plan. `stop`, once
        set, ends the exercise."""
        if self._probes is None:
            self.load()
        assert self._probes is not None
        container = engine.create(image.id, plan.launch)
        self._run = int(container[:RUN_DIGITS], 16)
        try:
            self._probes.arm(container)
            self._probes.start()
            drive = Drive(self._told, engine, container, image, plan, note)
            if drive.start():
                drive.drive(stop or Event())
            run = drive.end()
            self._probes.drain()
            if not self._armed and not run.failure:
                raise _unseen()
            own = tuple(process(self._run, pid) for pid in drive.own_execs)
            trace = self._trace(drive.mounts, drive.doubts, own)
            return Outcome(trace, tuple(drive.probes), self._events, (run,))
        finally:
            engine.remove(container)

    def watch(self, target: Target, until: Until, stop: Event, note: Callable[[str], None]) -> Outcome:
        """Watch what runs in a cgroup, or what is started there, until `until` says so, `stop` is set, or
        nothing runs there any more. It is left as it is."""
        if self._probes is None:
            self.load()
        assert self._probes is not None
        self._run = cgroup_id(target.directory)
        self._probes.start()
        running = bool(processes(target))
        self._probes.adopt(map(cgroup_id, directories(target)), running)
        mounts = list(RUNTIME_MOUNTS)
        known = self._adopt(target) if running else set()
        for pid in sorted(known):
            mounts += mounted(pid)
            self._take_held(pid)
        note(f"attached to {len(known)} processes")
        begun = time.monotonic()
        while not stop.wait(LOOK_SECONDS):
            alive = processes(target)
            if not alive and (running or self._first):
                break
            for pid in set(alive[:MOUNTS_OF]) - known:
                mounts += mounted(pid)
                known.add(pid)
            if until.mode == "seconds" and time.monotonic() - begun >= until.seconds:
                break
            if until.mode == "enter" and enter_pressed(sys.stdin):
                break
        unfinished = {pid: waiting(pid) for pid in processes(target)}
        self._probes.drain()
        text = "it ran before the recording began: what it opened and closed is not known"
        trace = self._trace(mounts, [Doubt("attached", text)] if running else [], ())
        trace = replace(trace, calls=with_waiting(trace.calls, unfinished, self._probes.standing))
        return Outcome(trace, events=self._events)

    def _adopt(self, target: Target) -> set[int]:
        """Take what runs there for the container's program; again for those forked meanwhile."""
        assert self._probes is not None
        known: set[int] = set()
        while fresh := set(processes(target)) - known:
            self._probes.adopt_processes(fresh)
            known |= fresh
        return known

    def _take_held(self, pid: int) -> None:
        with self._lock:
            for fact in held(pid):
                if isinstance(fact, Exec):
                    parent = process(self._run, fact.parent)
                    self._execs.append(replace(fact, pid=process(self._run, pid), parent=parent))
                    self._programs[process(self._run, pid)] = fact.asked
                    self._held[process(self._run, pid)] = fact.asked
                    self._parents[process(self._run, pid)] = parent
                    self._news(fact.binary)
                else:
                    self._uses.add(replace(fact, pid=process(self._run, pid)))
                    self._news(fact.resolved)

    def _trace(self, mounts: Iterable[Mount], told: Iterable[Doubt], own: tuple[int, ...]) -> Trace:
        probes = self._probes
        assert probes is not None
        doubts = list(told)
        if unreadable := probes.unreadable():
            text = f"{unreadable} calls reached for a path that could not be read"
            doubts.append(Doubt("unreadable-path", text))
        capabilities = probes.capability_sets()
        if capabilities is None:
            doubts.append(Doubt("capabilities", "this kernel does not tell which capabilities were used"))
        if self._dropped:
            text = f"it did more than {MAX_FACTS} different things: {self._dropped} of them were not kept"
            doubts.append(Doubt("flood", text))
        call_sets = probes.call_sets()
        doubts += io_uring.doubts(call_sets, probes.way.rings is not Rings.UNSEEN, probes.unnamed_operations())
        return Trace(
            uses=self._uses.all(),
            execs=tuple(self._execs),
            listens=tuple(self._listens),
            calls=call_sets,
            capabilities=capabilities or (),
            mounts=joined(mounts),
            parents=dict(self._parents),
            lost=probes.lost(),
            doubts=tuple(doubts),
            sockets=tuple(self._sockets),
            own_execs=own,
            arguments=probes.arguments(),
            first_calls=self._callers.first_calls(probes.firsts(), self._run, self._held, self._parents),
        )


def _unseen() -> SlimtraceError:
    return SlimtraceError(
        "cannot trace the container: its cgroup was not seen",
        "the engine must use cgroup v2; `slimtrace doctor` tells more",
        Exit.KERNEL,
    )
