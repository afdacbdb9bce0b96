"""One recording: a container is started from its unchanged image, watched, driven and stopped, which gives a
Trace."""

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
    process_key,
)
from slimtrace.facts.image import Image
from slimtrace.facts.paths import join
from slimtrace.facts.progress import Tally
from slimtrace.facts.runs import Probe, Run
from slimtrace.observe.container.attach import (
    Target,
    cgroup_id,
    directories,
    held_files,
    processes,
    syscalls_in_progress,
    with_syscalls_in_progress,
)
from slimtrace.observe.container.driver import Driver, enter_pressed
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.image.mount_namespace import unshare_working_directory
from slimtrace.observe.kernel import io_uring, syscalls
from slimtrace.observe.kernel.file_uses import FileUses
from slimtrace.observe.kernel.first_callers import ExecutedPrograms
from slimtrace.observe.kernel.live_events import LiveEvents
from slimtrace.observe.kernel.mountinfo import RUNTIME_MOUNTS, joined, mounted
from slimtrace.observe.kernel.probes import Probes
from slimtrace.observe.kernel.programs import IoUring

MAX_FACTS = 250_000  # files used, programs run, sockets; a find over a whole 1 GB image makes some 60,000
RECORDS_PER_TALLY = 1000  # records that are decoded for one tally, in some 15 ms
POLL_SECONDS = 0.1  # between two reads of the processes in a cgroup
MOUNTS_READ = 64  # processes whose mounts are read: those of one container have the same
RUN_DIGITS = 10  # hex digits of the container's id that are the number of the recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a recording: the trace, the `probes` of the exercise, the number of kernel `events`, and
    the `runs`: one, none where the container was only watched, several where captures were merged."""

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
        """The exit code of a container that ended by itself, else None."""
        return self.run.exit_code

    @property
    def stop_code(self) -> int | None:
        """The exit code of a container that was stopped, else None."""
        return self.run.stop_code

    @property
    def stop_seconds(self) -> float:
        """The seconds that the stop took."""
        return self.run.stop_seconds


class Recorder:
    """Collects the kernel's records of one container. `tally` may be called from any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = FileUses()
        self._execs: list[Exec] = []
        self._listens: list[Listen] = []
        self._sockets: list[Socket] = []
        self._programs: dict[int, str] = {}  # process -> the program that it executed last
        self._attached_programs: dict[int, str] = {}  # process -> its program when the recording attached to it
        self._executed_programs = ExecutedPrograms()
        self._parents: dict[int, int] = {}
        self._events = 0
        self._dropped = 0
        self._armed = 0
        self._first_process = 0
        self._run = 0  # the recording's number, the upper part of its process keys
        self._live_events = LiveEvents(self._socket_directories)
        self._calls = syscalls.names_and_uses()
        self._probes: Probes | None = None

    def load(self) -> None:
        """Compile and load the BPF programs; the slow part, which needs no container yet. bcc changes the
        working directory while it compiles, which is therefore made this thread's own."""
        unshare_working_directory()
        self._probes = Probes(self.take)

    def close(self) -> None:
        """Free the BPF programs. Signals are deferred meanwhile: after an interrupted close, bcc would free
        some programs twice at exit."""
        if self._probes is not None:
            with signals.deferred():
                self._probes.close()

    def take(self, raw: bytes) -> None:
        """Take one record of the kernel; called in the thread that reads the ring buffer."""
        kind, pid = wire.record_head(raw)
        if kind == wire.RECORD_FILE:
            self._keep_file_use(raw, process_key(self._run, pid))
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
                    self._executed_programs.executed(record.pid, wire.program_hash(raw), name, before)
                    self._programs[record.pid] = name
                    self._first_process = self._first_process or record.pid
                    self._see(record.asked)
                case wire.Fork():
                    self._parents[record.child] = record.pid
                    self._programs[record.child] = self._programs.get(record.pid, "")
                case Listen():
                    self._listens.append(record)
                    self._live_events.events.put(record)
                    self._live_events.touch()
                case Socket():
                    self._sockets.append(record)
                case wire.Exit():
                    self._programs.pop(record.pid, None)
                    if record.pid == self._first_process:
                        self._live_events.events.put(record)
                case wire.CgroupArmed():
                    self._armed += 1

    def _keep_file_use(self, raw: bytes, pid: int) -> None:
        """Keep a FILE record of the process `pid` without decoding it."""
        with self._lock:
            self._events += 1
            if self._is_full():
                self._dropped += 1
            elif self._uses.keep(raw, self._run, self._programs.get(pid, "")):
                self._live_events.touch()

    def _is_full(self) -> bool:
        return len(self._uses) + len(self._execs) + len(self._sockets) >= MAX_FACTS

    def _is_too_much(self, record: wire.Record | None) -> bool:
        """Whether there are so many facts that keeping this record too could exhaust the host's memory, as a
        hostile container might want. The records that steer the recording (ports, the end) are always taken."""
        if isinstance(record, Exec | Socket):
            return self._is_full()
        return isinstance(record, wire.Fork) and len(self._parents) >= MAX_FACTS

    def _see(self, path: str) -> None:
        """Note a path, and a new event if it had not been seen before."""
        if self._uses.see(path):
            self._live_events.touch()

    def _socket_directories(self) -> set[str]:
        """The directories in which the container has bound UNIX sockets so far."""
        with self._lock:
            return self._uses.socket_directories()

    def tally(self) -> Tally:
        """The progress so far. At most RECORDS_PER_TALLY records are decoded for it, since the reading thread
        waits meanwhile: after a flood of records the count of files lags behind."""
        with self._lock:
            self._uses.decode(RECORDS_PER_TALLY)
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
        """Create a container, arm the probes for it, start, drive, stop and remove it. Raises SlimtraceError:
        START_FAILED, CRASHED when the container ends by itself with a failure, NEVER_READY when no port
        listened and no end came in time, EXERCISE_FAILED when a command of the user failed; none of these for a
        tolerant plan. `stop`, once set, ends the exercise."""
        if self._probes is None:
            self.load()
        assert self._probes is not None
        container = engine.create(image.id, plan.launch)
        self._run = int(container[:RUN_DIGITS], 16)
        try:
            self._probes.arm(container)
            self._probes.start()
            driver = Driver(self._live_events, engine, container, image, plan, note)
            if driver.start():
                driver.exercise(stop or Event())
            run = driver.end()
            self._probes.drain()
            if not self._armed and not run.failure:
                raise _cgroup_not_seen()
            own = tuple(process_key(self._run, pid) for pid in driver.workload.own_execs)
            trace = self._trace(driver.mounts, driver.doubts, own)
            return Outcome(trace, tuple(driver.workload.probes), self._events, (run,))
        finally:
            engine.remove(container)

    def watch(self, target: Target, until: Until, stop: Event, note: Callable[[str], None]) -> Outcome:
        """Watch the processes in a cgroup, also those that are started there later, until `until` says so,
        `stop` is set, or no process is left. The processes are left as they are."""
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
            self._add_held_files(pid)
        note(f"attached to {len(known)} processes")
        begun = time.monotonic()
        while not stop.wait(POLL_SECONDS):
            alive = processes(target)
            if not alive and (running or self._first_process):
                break
            for pid in set(alive[:MOUNTS_READ]) - known:
                mounts += mounted(pid)
                known.add(pid)
            if until.mode == "seconds" and time.monotonic() - begun >= until.seconds:
                break
            if until.mode == "enter" and enter_pressed(sys.stdin):
                break
        unfinished = {pid: syscalls_in_progress(pid) for pid in processes(target)}
        self._probes.drain()
        text = "it ran before the recording began: what it opened and closed is not known"
        trace = self._trace(mounts, [Doubt("attached", text)] if running else [], ())
        trace = replace(
            trace, calls=with_syscalls_in_progress(trace.calls, unfinished, self._probes.process_state)
        )
        return Outcome(trace, events=self._events)

    def _adopt(self, target: Target) -> set[int]:
        """Tell the probes that the processes in the cgroup are the container's; the pids. Repeated until no
        process was forked meanwhile."""
        assert self._probes is not None
        known: set[int] = set()
        while new_pids := set(processes(target)) - known:
            self._probes.adopt_processes(new_pids)
            known |= new_pids
        return known

    def _add_held_files(self, pid: int) -> None:
        """Add the files that a process holds as facts."""
        with self._lock:
            for fact in held_files(pid):
                if isinstance(fact, Exec):
                    parent = process_key(self._run, fact.parent)
                    self._execs.append(replace(fact, pid=process_key(self._run, pid), parent=parent))
                    self._programs[process_key(self._run, pid)] = fact.asked
                    self._attached_programs[process_key(self._run, pid)] = fact.asked
                    self._parents[process_key(self._run, pid)] = parent
                    self._see(fact.binary)
                else:
                    self._uses.add(replace(fact, pid=process_key(self._run, pid)))
                    self._see(fact.resolved)

    def _trace(self, mounts: Iterable[Mount], run_doubts: Iterable[Doubt], own_execs: tuple[int, ...]) -> Trace:
        """All facts of the recording, with the doubts about the run and those about the trace."""
        probes = self._probes
        assert probes is not None
        doubts = list(run_doubts)
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
        doubts += io_uring.doubts(
            call_sets, probes.variant.io_uring is not IoUring.UNSEEN, probes.unnamed_operations()
        )
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
            own_execs=own_execs,
            arguments=probes.arguments(),
            first_calls=self._executed_programs.first_calls(
                probes.first_callers(), self._run, self._attached_programs, self._parents
            ),
        )


def _cgroup_not_seen() -> SlimtraceError:
    """The error where the probes never saw the container's cgroup."""
    return SlimtraceError(
        "cannot trace the container: its cgroup was not seen",
        "the engine must use cgroup v2; `slimtrace doctor` tells more",
        Exit.KERNEL,
    )
