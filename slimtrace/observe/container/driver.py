"""A container from its start to its end: when it is driven, when that is enough, how it ended."""

import queue
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import IO

from slimtrace import signals
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import Doubt, Listen, Mount, Origin
from slimtrace.facts.image import Image
from slimtrace.facts.runs import FIRST_EPHEMERAL_PORT, LOG_KEPT, Run, Start
from slimtrace.observe.container import exercise
from slimtrace.observe.container.exec_footprint import measure_exec
from slimtrace.observe.container.log_tail import kept_lines
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.container.workload import Workload
from slimtrace.observe.kernel.live_events import LiveEvents
from slimtrace.observe.kernel.mountinfo import RUNTIME_MOUNTS, mounted

SETTLE_SECONDS = 0.35  # without a new event: the container has done what it does by itself
BUSY_SECONDS = 10.0  # after the last port: a container that still causes new events is never quiet
POLL_SECONDS = 1.0  # between two requests for the container's state
LOG_LINES = 12
LOG_WIDTH = 200


class Driver:
    """Starts one container, drives it by its plan, and ends it. `note` is called with a line for each port and
    each answer; `mounts` are the places in the container that are not the image's."""

    def __init__(
        self,
        live_events: LiveEvents,
        engine: Engine,
        container: str,
        image: Image,
        plan: Plan,
        note: Callable[[str], None],
    ) -> None:
        self._live_events = live_events
        self._engine = engine
        self._container = container
        self._image = image
        self._plan = plan
        self._note = note
        self._pid = 0
        self._has_ended = False
        self._ports: set[int] = set()
        self._polled_at = self._started_at = self._ready_at = self._over_at = time.monotonic()
        self._names = [container[:12]]  # by default the host name is the beginning of the id
        self._failure = ""  # the reason why it did not start
        self._doubts: list[Doubt] = []
        self.mounts: list[Mount] = list(RUNTIME_MOUNTS)
        self.workload = Workload(engine, container, image, plan, note, live_events.socket_directories)

    @property
    def doubts(self) -> list[Doubt]:
        """The doubts about the workload, then those about the end."""
        return [*self.workload.doubts, *self._doubts]

    def start(self) -> bool:
        """Start the container, and note its first process and its mounts. Whether it could be started; raises
        SlimtraceError (START_FAILED) where it could not, unless the plan is tolerant."""
        self._started_at = self._ready_at = self._over_at = time.monotonic()
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

    def exercise(self, stop: Event) -> None:
        """Drive the container until the plan says that it is enough, `stop` is set, or it has ended by itself.
        Raises SlimtraceError: NEVER_READY, EXERCISE_FAILED."""
        try:
            self._exercise(stop)
        finally:
            self._over_at = time.monotonic()

    def _exercise(self, stop: Event) -> None:
        until = self._plan.until
        begun = time.monotonic()
        commands_ran = False
        while not self._has_ended and not stop.is_set():
            signals.deliver_pending()
            if not commands_ran and self._ready_for_commands(until, begun):
                self.workload.run_commands(self._pid, self._ports)
                commands_ran = True
            if self._is_over(until, begun, commands_ran):
                if not commands_ran and until.mode in ("seconds", "enter"):
                    # The user has said when, whatever listens by then.
                    self.workload.run_commands(self._pid, self._ports)
                return
            self._await_event()

    def _ready_for_commands(self, until: Until, begun: float) -> bool:
        """Whether it is time for the HEALTHCHECK and the user's commands."""
        if self._expected() <= self._ports and (self._ports or until.mode != "probe"):
            # A server that listens need not answer yet (PostgreSQL still recovers), and without EXPOSE it is
            # not known how many ports there will be: a quiet container is ready in both respects.
            quiet = self._live_events.quiet_seconds() >= SETTLE_SECONDS
            return quiet or time.monotonic() - self._ready_at >= BUSY_SECONDS
        elapsed = time.monotonic() - begun
        # A container that listens on no visible port is driven by the user's commands all the same.
        commands = self._plan.host_execs or self._plan.execs
        return bool(commands) and not self._expected() and elapsed > 3 * SETTLE_SECONDS

    def _is_over(self, until: Until, begun: float, commands_ran: bool) -> bool:
        """Whether the recording is over by the plan. Raises SlimtraceError (NEVER_READY)."""
        elapsed = time.monotonic() - begun
        if until.mode == "seconds":
            return elapsed >= until.seconds
        if until.mode == "enter":
            return enter_pressed(sys.stdin)
        if until.mode == "exit":
            return False
        if commands_ran and self._live_events.quiet_seconds() >= SETTLE_SECONDS:
            return True
        if elapsed >= self._plan.ready_seconds and not commands_ran:
            if self._plan.tolerant:
                return True
            raise self._never_ready()
        return elapsed >= self._plan.ready_seconds * 2

    def _expected(self) -> set[int]:
        """The ports on which the container is expected to listen."""
        return {*self._image.tcp_ports, *(port for port in self._plan.ports if port < FIRST_EPHEMERAL_PORT)}

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

    def _await_event(self) -> None:
        """Wait a moment for the event that a port listens or that the container has ended, and act on it."""
        try:
            event = self._live_events.events.get(timeout=0.05)
        except queue.Empty:
            self._poll()
            return
        if isinstance(event, wire.Exit):
            self._has_ended = True
        elif event.origin is Origin.CONTAINER:
            self._add_port(event)

    def _poll(self) -> None:
        """Ask engine and kernel every POLL_SECONDS for the end and for the expected ports, in case the record
        of such an event was lost."""
        if time.monotonic() - self._polled_at < POLL_SECONDS:
            return
        self._polled_at = time.monotonic()
        self._has_ended = not self._engine.state(self._container).running
        missing = self._expected() - self._ports
        if missing and not self._has_ended:
            with suppress(OSError):  # it ended after the engine had answered
                for port in missing & set(exercise.listening(self._pid)):
                    self._add_port(Listen(port, "0.0.0.0", self._pid))

    def _add_port(self, listen: Listen) -> None:
        """Note that a port listens, and visit it if the plan says so."""
        if listen.port in self._ports:
            return
        self._ports.add(listen.port)
        self._ready_at = time.monotonic()
        self._note(f"port {listen.port} listens")
        if self._plan.http_probe:
            self.workload.visit(self._pid, listen)

    def _doubt_undriven_ports(self) -> None:
        """Doubt each port whose server gave no usable answer and that no command of the user drove."""
        if self._plan.host_execs or self._plan.execs or self._plan.until.mode == "enter":
            return
        answered = self.workload.answered_ports if self._plan.http_probe else set()
        for port in sorted(self._ports - answered):
            text = "nothing drove it: what its clients make it do is unseen; --host-exec or --exec can"
            self._doubts.append(Doubt("undriven-port", text, f"port {port}"))

    def end(self) -> Run:
        """Stop the container unless it has ended; the facts of its run. Raises SlimtraceError (CRASHED) when it
        ended by itself with a failure, unless the plan is tolerant."""
        if self._failure:
            return self._facts(exit_code=self._engine.state(self._container).exit_code)
        self._doubt_undriven_ports()
        state = self._engine.state(self._container)
        if self._has_ended or not state.running:
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
                self._doubts.append(Doubt("port-silent", f"it ended before it listened on port {ports}"))
            return self._facts(exit_code=code)
        if not self._plan.tolerant and not self._image.healthcheck_command:
            measure_exec(self._engine, self._container)
        stop_begun = time.monotonic()
        self._engine.stop(self._container, self._plan.stop_seconds)
        stop_seconds = time.monotonic() - stop_begun
        stop_code = self._engine.state(self._container).exit_code
        if stop_code == 137 and stop_seconds >= self._plan.stop_seconds:
            text = f"it did not stop within {self._plan.stop_seconds} s and was killed: its end is unseen"
            self._doubts.append(Doubt("killed", text))
        return self._facts(stop_code=stop_code, stop_seconds=stop_seconds)

    def _facts(
        self, exit_code: int | None = None, stop_code: int | None = None, stop_seconds: float = 0.0
    ) -> Run:
        """The facts of the run: with `exit_code` where it ended by itself, with the others where it was
        stopped."""
        launch, plan = self._plan.launch, self._plan
        start = Start(launch.entrypoint, launch.cmd, tuple(sorted(launch.env)), launch.user, launch.workdir)
        output = self._engine.logs(self._container, LOG_KEPT)
        return Run(
            start=start,
            execs=plan.execs,
            host_execs=plan.host_execs,
            http_probe=plan.http_probe,
            ports=tuple(sorted(self._ports)),
            answers=tuple(self.workload.answers),
            exit_code=exit_code,
            stop_code=stop_code,
            stop_seconds=round(stop_seconds, 3),
            ready_seconds=round(self._ready_at - self._started_at, 3),
            seconds=round(self._over_at - self._started_at, 3),
            log=kept_lines(output),
            names=tuple(self._names),
            failure=self._failure,
        )

    def _logs(self) -> tuple[str, ...]:
        """The last lines of the container's output, for a message."""
        lines = self._engine.logs(self._container, LOG_LINES).strip().splitlines()
        return tuple(line[:LOG_WIDTH] for line in lines)


def enter_pressed(stream: IO[str]) -> bool:
    """Read a line if one, or the end of the input, is there to be read; whether it was."""
    ready, _, _ = select.select([stream], [], [], 0)
    if ready:
        stream.readline()
    return bool(ready)
