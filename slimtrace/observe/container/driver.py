"""The container while it runs: what it is asked, and what becomes of it."""

import queue
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import IO

from slimtrace import signals
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import Doubt, Listen, Mount, Origin
from slimtrace.facts.image import Image
from slimtrace.facts.paths import below, printable
from slimtrace.facts.runs import EPHEMERAL, LOG_KEPT, Answer, Probe, Run, Start
from slimtrace.observe.container import exercise, sidecar, user_commands
from slimtrace.observe.container.exchange import Asked
from slimtrace.observe.container.exec_footprint import measure_exec
from slimtrace.observe.container.log_tail import kept_lines
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.kernel.live_events import News
from slimtrace.observe.kernel.mountinfo import RUNTIME_MOUNTS, mounted

SETTLE_SECONDS = 0.35  # without news after the last answer: it has shown what it does by itself
BUSY_SECONDS = 10.0  # after the last port: what has news for so long is never quiet
LOOK_SECONDS = 1.0  # between two looks at the container itself
HEALTH_SECONDS = 60.0  # for the image's HEALTHCHECK
LOG_LINES = 12
LOG_WIDTH = 200


class Drive:
    """One container from its start to its end. `note` is told of each port and each answer."""

    def __init__(
        self,
        news: News,
        engine: Engine,
        container: str,
        image: Image,
        plan: Plan,
        note: Callable[[str], None],
    ) -> None:
        self._news = news
        self._engine = engine
        self._container = container
        self._image = image
        self._plan = plan
        self._note = note
        self._pid = 0
        self._ended = False
        self._ports: set[int] = set()
        self._answered: set[int] = set()
        self._looked = self._begun = self._ready = self._over_at = time.monotonic()
        self._names = [container[:12]]  # by default the host name is the beginning of the id
        self._failure = ""
        self._answers: list[Answer] = []
        self.probes: list[Probe] = []
        self.doubts: list[Doubt] = []
        self.own_execs: list[int] = []
        self.mounts: list[Mount] = list(RUNTIME_MOUNTS)

    def start(self) -> bool:
        """Whether it could be started; what its process is, and what is mounted in it. Raises SlimtraceError
        (START_FAILED) unless the plan is tolerant."""
        self._begun = self._ready = self._over_at = time.monotonic()
        try:
            self._engine.start(self._container)
        except SlimtraceError as problem:
            if not self._plan.tolerant or problem.exit_code is not Exit.START_FAILED:
                raise
            self._failure = problem.message.removeprefix("cannot start the container: ")
            return False
        state = self._engine.state(self._container)
        self._pid = state.pid
        self._names += [state.address] if state.address else []
        self.mounts += map(Mount, self._engine.mounts(self._container))
        self.mounts += mounted(self._pid)
        return True

    def drive(self, stop: Event) -> None:
        """Exercise it until the plan says that it is enough, `stop` is set, or it has ended by itself."""
        try:
            self._drive(stop)
        finally:
            self._over_at = time.monotonic()

    def _drive(self, stop: Event) -> None:
        until = self._plan.until
        started = time.monotonic()
        driven = False
        while not self._ended and not stop.is_set():
            signals.admit()
            if not driven and self._ready_for_commands(until, started):
                self._run_commands()
                driven = True
            if self._over(until, started, driven):
                if not driven and until.mode in ("seconds", "enter"):
                    self._run_commands()  # the user has said when, whatever listens by then
                return
            self._await_signal()

    def _ready_for_commands(self, until: Until, started: float) -> bool:
        if self._expected() <= self._ports and (self._ports or until.mode != "probe"):
            # What listens need not answer yet (PostgreSQL still recovers), and without EXPOSE nobody says how
            # many ports there will be: quiet tells both.
            return (
                self._news.quiet_seconds() >= SETTLE_SECONDS or time.monotonic() - self._ready >= BUSY_SECONDS
            )
        waited = time.monotonic() - started
        # what listens on nothing that we can see is driven by the user's own commands all the same
        commands = self._plan.host_execs or self._plan.execs
        return bool(commands) and not self._expected() and waited > 3 * SETTLE_SECONDS

    def _over(self, until: Until, started: float, driven: bool) -> bool:
        waited = time.monotonic() - started
        if until.mode == "seconds":
            return waited >= until.seconds
        if until.mode == "enter":
            return enter_pressed(sys.stdin)
        if until.mode == "exit":
            return False
        if driven and self._news.quiet_seconds() >= SETTLE_SECONDS:
            return True
        if waited >= self._plan.ready_seconds and not driven:
            if self._plan.tolerant:
                return True
            raise self._never_ready()
        return waited >= self._plan.ready_seconds * 2

    def _expected(self) -> set[int]:
        return {*self._image.tcp_ports, *(port for port in self._plan.ports if port < EPHEMERAL)}

    def _never_ready(self) -> SlimtraceError:
        seconds = f"{self._plan.ready_seconds:g} s"
        missing = ", ".join(str(port) for port in sorted(self._expected() - self._ports))
        log = self._logs()
        if missing:
            return SlimtraceError(
                f"cannot exercise {self._image.reference}: nothing listened on port {missing} within {seconds}",
                "--ready-timeout gives it more time, --continue-after SECONDS does without a port",
                Exit.NEVER_READY,
                log,
            )
        return SlimtraceError(
            f"cannot tell when {self._image.reference} is done: it neither listened nor ended within {seconds}",
            "say when with --continue-after SECONDS, or drive it with --exec or --host-exec",
            Exit.NEVER_READY,
            log,
        )

    def _await_signal(self) -> None:
        """Wait a moment for a port that listens or for the end; both are acted on at once."""
        try:
            signal = self._news.signals.get(timeout=0.05)
        except queue.Empty:
            self._look_again()
            return
        if isinstance(signal, wire.Exit):
            self._ended = True
        elif signal.origin is Origin.CONTAINER:
            self._heard(signal)

    def _look_again(self) -> None:
        """Now and then ask those who know, in case the record that tells it was lost."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        self._ended = not self._engine.state(self._container).running
        missing = self._expected() - self._ports
        if missing and not self._ended:
            with suppress(OSError):  # it ended between the two questions
                for port in missing & set(exercise.listening(self._pid)):
                    self._heard(Listen(port, "0.0.0.0", self._pid))

    def _heard(self, listen: Listen) -> None:
        if listen.port in self._ports:
            return
        self._ports.add(listen.port)
        self._ready = time.monotonic()
        self._note(f"port {listen.port} listens")
        if self._plan.http_probe:
            self._visit(listen)

    def _told(self, asked: Asked) -> Probe:
        self._answers.append(asked.answer)
        self.probes.append(asked.probe)
        return asked.probe

    def _visit(self, listen: Listen) -> None:
        probe = self._told(exercise.visit(self._pid, listen))
        said = f"status {probe.status}, {probe.bytes} bytes" if probe.status else probe.detail
        self._note(f"{probe.target}: {said}")
        if probe.ok:
            self._answered.add(listen.port)
        if probe.status >= 500:
            self.doubts.append(Doubt("probe-failed", f"it answered with status {probe.status}", probe.target))

    def _check_health(self) -> None:
        """The image's HEALTHCHECK once, as the engine would run it: its interval is often longer than a
        recording, and what it needs belongs in the image (so it is not among `own_execs`)."""
        words = self._image.healthcheck_command
        if not words:
            return
        with self._survived("healthcheck"):
            probe = self._told(user_commands.health(self._engine, self._container, words, HEALTH_SECONDS))
            self._note(f"{probe.target}: exit code {probe.status}")
            if probe.status:
                self.doubts.append(Doubt("unhealthy", "the image's own HEALTHCHECK failed", probe.target))

    def _run_commands(self) -> None:
        self._check_health()
        state = self._engine.state(self._container)
        ports = sorted(self._ports)
        facts = {
            "SLIMTRACE_CONTAINER": self._container,
            "SLIMTRACE_PID": str(self._pid),
            "SLIMTRACE_ADDRESS": state.address or "127.0.0.1",
            "SLIMTRACE_PORT": str(ports[0]) if ports else "",
            "SLIMTRACE_PORTS": " ".join(map(str, ports)),
        }
        seconds = self._plan.command_seconds
        for command in self._plan.host_execs:
            with self._survived(f"host: {printable(command)}"):
                self._commanded("--host-exec", command, user_commands.on_host(command, facts, seconds))
        for command in self._plan.execs:
            with self._survived(f"exec: {printable(command)}"):
                self._execute(command, seconds)

    def _execute(self, command: str, seconds: float) -> None:
        if self._plan.aside:
            image, launch = self._plan.aside, self._plan.launch
            asked = sidecar.run(
                self._engine, image, self._container, launch, command, seconds, self._own_directories()
            )
        else:
            asked, pid = user_commands.in_container(self._engine, self._container, command, seconds)
            self.own_execs += [pid] if pid else []
        self._commanded("--exec", command, asked)

    def _own_directories(self) -> set[str]:
        """Those that a container beside it does not see by sharing its volumes: tmpfs, and where it has bound
        UNIX sockets."""
        volumes = self._engine.mounts(self._container)
        found = {sidecar.real(self._pid, path) for path in (*self._plan.launch.tmpfs, *self._news.bound())}
        return {path for path in found if not any(below(path, volume) for volume in volumes)}

    def _commanded(self, option: str, command: str, asked: Asked) -> None:
        if not self._plan.tolerant:
            user_commands.must_succeed(option, command, asked)
        self._note(self._told(asked).target)

    @contextmanager
    def _survived(self, target: str) -> Iterator[None]:
        """In a tolerant plan what cannot be asked is an answer too: none."""
        try:
            yield
        except SlimtraceError as problem:
            if not self._plan.tolerant:
                raise
            self._note(self._told(Asked(Answer(target, ok=False, detail=problem.message))).target)

    def _doubt_undriven(self) -> None:
        """A port that answered nothing we know to say, and that the user did not drive, has shown little."""
        if self._plan.host_execs or self._plan.execs or self._plan.until.mode == "enter":
            return
        for port in sorted(self._ports - self._answered if self._plan.http_probe else self._ports):
            text = "nothing drove it: what its clients make it do is unseen; --host-exec or --exec can"
            self.doubts.append(Doubt("undriven-port", text, f"port {port}"))

    def end(self) -> Run:
        """Stop it unless it has ended; what came of it. Raises SlimtraceError (CRASHED) when it ended by itself
        with a failure, unless the plan is tolerant."""
        if self._failure:
            return self._came_of_it(exit_code=self._engine.state(self._container).exit_code)
        self._doubt_undriven()
        state = self._engine.state(self._container)
        if self._ended or not state.running:
            code = self._engine.wait(self._container, timeout=self._plan.stop_seconds)
            if code and not self._plan.tolerant:
                killed = "; it was out of memory" if state.oom_killed else ""
                raise SlimtraceError(
                    f"cannot slim {self._image.reference}: its container ended by itself with exit code {code}"
                    + killed,
                    "--cmd, --env, --volume and --entrypoint change how it is run",
                    Exit.CRASHED,
                    self._logs(),
                )
            if missing := self._expected() - self._ports:
                ports = ", ".join(map(str, sorted(missing)))
                self.doubts.append(Doubt("port-silent", f"it ended before it listened on port {ports}"))
            return self._came_of_it(exit_code=code)
        if not self._plan.tolerant and not self._image.healthcheck_command:
            measure_exec(self._engine, self._container)
        begun = time.monotonic()
        self._engine.stop(self._container, self._plan.stop_seconds)
        taken = time.monotonic() - begun
        stopped = self._engine.state(self._container).exit_code
        if stopped == 137 and taken >= self._plan.stop_seconds:
            text = f"it did not stop within {self._plan.stop_seconds} s and was killed: its end is unseen"
            self.doubts.append(Doubt("killed", text))
        return self._came_of_it(stop_code=stopped, stop_seconds=taken)

    def _came_of_it(
        self, exit_code: int | None = None, stop_code: int | None = None, stop_seconds: float = 0.0
    ) -> Run:
        launch, plan = self._plan.launch, self._plan
        start = Start(launch.entrypoint, launch.cmd, tuple(sorted(launch.env)), launch.user, launch.workdir)
        output = self._engine.logs(self._container, LOG_KEPT)
        return Run(
            start=start,
            execs=plan.execs,
            host_execs=plan.host_execs,
            http_probe=plan.http_probe,
            ports=tuple(sorted(self._ports)),
            answers=tuple(self._answers),
            exit_code=exit_code,
            stop_code=stop_code,
            stop_seconds=round(stop_seconds, 3),
            ready_seconds=round(self._ready - self._begun, 3),
            seconds=round(self._over_at - self._begun, 3),
            log=kept_lines(output),
            names=tuple(self._names),
            failure=self._failure,
        )

    def _logs(self) -> tuple[str, ...]:
        lines = self._engine.logs(self._container, LOG_LINES).strip().splitlines()
        return tuple(line[:LOG_WIDTH] for line in lines)


def enter_pressed(stream: IO[str]) -> bool:
    """Whether a line, or the end of the input, is there to be read."""
    ready, _, _ = select.select([stream], [], [], 0)
    if ready:
        stream.readline()
    return bool(ready)
