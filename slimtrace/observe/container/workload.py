"""The workload that is put on one container: visits of its ports, the image's HEALTHCHECK, the user's
commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slimtrace.engine import Engine
from slimtrace.errors import SlimtraceError
from slimtrace.facts.events import Doubt, Listen
from slimtrace.facts.image import Image
from slimtrace.facts.paths import below, printable
from slimtrace.facts.runs import Answer, Probe
from slimtrace.observe.container import exercise, sidecar, user_commands
from slimtrace.observe.container.exchange import Exchange
from slimtrace.observe.container.plan import Plan

HEALTH_SECONDS = 60.0  # for the image's HEALTHCHECK


class Workload:
    """The workload of one container by its plan, and what came back: `answers` for the capture, `probes` for
    the report, the `answered_ports`, the `doubts`, and in `own_execs` the host pids of the user's ``--exec``
    commands. `note` is called with a line for each exchange; `socket_directories` gives the directories in
    which the container has bound UNIX sockets so far."""

    def __init__(
        self,
        engine: Engine,
        container: str,
        image: Image,
        plan: Plan,
        note: Callable[[str], None],
        socket_directories: Callable[[], set[str]],
    ) -> None:
        self._engine = engine
        self._container = container
        self._image = image
        self._plan = plan
        self._note = note
        self._socket_directories = socket_directories
        self.answers: list[Answer] = []
        self.probes: list[Probe] = []
        self.answered_ports: set[int] = set()
        self.doubts: list[Doubt] = []
        self.own_execs: list[int] = []

    def visit(self, pid: int, listen: Listen) -> None:
        """Ask the server behind a listening socket for something, in the network namespace of process `pid`."""
        probe = self._add(exercise.visit(pid, listen))
        outcome = f"status {probe.status}, {probe.bytes} bytes" if probe.status else probe.detail
        self._note(f"{probe.target}: {outcome}")
        if probe.ok:
            self.answered_ports.add(listen.port)
        if probe.status >= 500:
            self.doubts.append(Doubt("probe-failed", f"it answered with status {probe.status}", probe.target))

    def run_commands(self, pid: int, ports: set[int]) -> None:
        """Run the HEALTHCHECK, then the user's commands on the host, then those in the container. `pid` is the
        host's pid of the container's first process, and something listens on `ports`. Raises SlimtraceError
        (EXERCISE_FAILED) for a command that fails, unless the plan is tolerant."""
        self._check_health()
        state = self._engine.state(self._container)
        listening = sorted(ports)
        variables = {
            "SLIMTRACE_CONTAINER": self._container,
            "SLIMTRACE_PID": str(pid),
            "SLIMTRACE_ADDRESS": state.address or "127.0.0.1",
            "SLIMTRACE_PORT": str(listening[0]) if listening else "",
            "SLIMTRACE_PORTS": " ".join(map(str, listening)),
        }
        seconds = self._plan.command_seconds
        for command in self._plan.host_execs:
            with self._failure_as_answer(f"host: {printable(command)}"):
                exchange = user_commands.run_on_host(command, variables, seconds)
                self._add_command("--host-exec", command, exchange)
        for command in self._plan.execs:
            with self._failure_as_answer(f"exec: {printable(command)}"):
                self._execute(pid, command, seconds)

    def _check_health(self) -> None:
        """Run the image's HEALTHCHECK once, as the engine would run it: its interval is often longer than a
        recording. The programs that it needs belong in the image, so its pid is not among `own_execs`."""
        words = self._image.healthcheck_command
        if not words:
            return
        with self._failure_as_answer("healthcheck"):
            exchange = user_commands.run_healthcheck(self._engine, self._container, words, HEALTH_SECONDS)
            probe = self._add(exchange)
            self._note(f"{probe.target}: exit code {probe.status}")
            if probe.status:
                self.doubts.append(Doubt("unhealthy", "the image's own HEALTHCHECK failed", probe.target))

    def _execute(self, pid: int, command: str, seconds: float) -> None:
        """Run an ``--exec`` command in the container, or in a sidecar where the plan names an image for
        that."""
        if self._plan.sidecar_image:
            image, launch = self._plan.sidecar_image, self._plan.launch
            private = self._private_directories(pid)
            exchange = sidecar.run(self._engine, image, self._container, launch, command, seconds, private)
        else:
            exchange, exec_pid = user_commands.run_in_container(self._engine, self._container, command, seconds)
            self.own_execs += [exec_pid] if exec_pid else []
        self._add_command("--exec", command, exchange)

    def _private_directories(self, pid: int) -> set[str]:
        """The container's directories that a sidecar does not get by sharing its volumes: tmpfs, and those in
        which the container has bound UNIX sockets."""
        volumes = self._engine.mounts(self._container)
        paths = (*self._plan.launch.tmpfs, *self._socket_directories())
        found = {sidecar.resolve_in_container(pid, path) for path in paths}
        return {path for path in found if not any(below(path, volume) for volume in volumes)}

    def _add(self, exchange: Exchange) -> Probe:
        self.answers.append(exchange.answer)
        self.probes.append(exchange.probe)
        return exchange.probe

    def _add_command(self, option: str, command: str, exchange: Exchange) -> None:
        if not self._plan.tolerant:
            user_commands.must_succeed(option, command, exchange)
        self._note(self._add(exchange).target)

    @contextmanager
    def _failure_as_answer(self, target: str) -> Iterator[None]:
        """In a tolerant plan a SlimtraceError in the block becomes an answer of `target` that is not ok."""
        try:
            yield
        except SlimtraceError as problem:
            if not self._plan.tolerant:
                raise
            self._note(self._add(Exchange(Answer(target, ok=False, detail=problem.message))).target)
