"""Shared by the benchmarks: a description of the machine, containers, and the tracers that attach to them."""

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
SERVER_CPU, CLIENT_CPU = 0, 1  # of the measured container, of the load generator; tracers are not pinned
PATIENCE_SECONDS = 45.0
PRIORITY = -15  # nice(2); with kernel.sched_autogroup_enabled=1 it counts within a session only


def output(*command: str, timeout: float = 300) -> str:
    """The stdout of a command. Raises CalledProcessError, and prints the command's output then."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    done.check_returncode()
    return done.stdout


def describe() -> str:
    """The machine and the versions, for the head of a result."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    docker = output("docker", "version", "--format", "{{.Server.Version}}").strip()
    strace = output("strace", "--version").split("\n")[0].split()[-1]
    kernel = f"Linux {platform.release()} {platform.machine()}"
    cores = f"{os.cpu_count()} cores of {model[1] if model else 'an unknown processor'}"
    return f"{kernel}, {cores}, docker {docker}, Python {platform.python_version()}, strace {strace}"


@contextlib.contextmanager
def compiled(*names: str) -> Iterator[Path]:
    """The C programs beside this file as static binaries, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="slimtrace-bench-") as folder:
        Path(folder).chmod(0o755)
        for name in names:
            output("gcc", "-static", "-O2", "-Wall", "-o", f"{folder}/{name}", str(HERE / f"{name}.c"))
        yield Path(folder)


def tracers() -> set[int]:
    """Processes that hold a raw tracepoint on sys_exit: while there is one, every system call costs more."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            for link in (process / "fd").iterdir():
                if "bpf" in os.readlink(link) and "sys_exit" in (process / "fdinfo" / link.name).read_text():
                    found.add(int(process.name))
    return found


def wait_for_no_other_tracer() -> bool:
    """Wait until no process holds such a tracepoint; False after PATIENCE_SECONDS."""
    end = time.monotonic() + PATIENCE_SECONDS
    while tracers():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def raise_priority() -> None:
    """Raise the priority of this process, and so of all that it starts, above the rest of the machine."""
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def exit_on_sigterm() -> None:
    """Let SIGTERM end the program as Ctrl-C does, so that containers are removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Container:
    """A container that is removed at the end. With `shell` its first process is a bash, which executes the
    commands of `time` and `run`: so all of them are descendants of that process, which strace -f follows."""

    def __init__(self, image: str, *options: str, command: Sequence[str] = (), shell: bool = False) -> None:
        self._shell: subprocess.Popen[str] | None = None
        words = ["docker", "create", *(["-i"] if shell else []), *options]
        tail = ["--entrypoint", "bash", image] if shell else [image, *command]
        self.id = output(*words, *tail).strip()
        try:
            if shell:
                self._shell = subprocess.Popen(
                    ["docker", "start", "-a", "-i", self.id],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                self.run("echo ready")
            else:
                output("docker", "start", self.id)
            state = json.loads(output("docker", "inspect", self.id))[0]
        except BaseException:
            self.close()
            raise
        self.pid = int(state["State"]["Pid"])
        self.address = state["NetworkSettings"]["IPAddress"]
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        self.cgroup = next(line[3:] for line in lines if line.startswith("0::"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def pin_to_cpu(self) -> None:
        """Pin all processes of the container to SERVER_CPU. Not by --cpuset-cpus: docker ignores that option
        where the cgroup has no cpuset controller."""
        for pid in self.processes():
            os.sched_setaffinity(pid, {SERVER_CPU})
            os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)

    def run(self, command: str) -> str:
        """Run a command in the container's shell; the one line that it prints."""
        assert self._shell and self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{command}\n")
        self._shell.stdin.flush()
        return self._shell.stdout.readline().strip()

    def time(self, command: str) -> float:
        """Run a command in the container's shell, its output thrown away; the seconds that it takes."""
        return float(self.run(f"TIMEFORMAT=%3R; {{ time {command} >/dev/null 2>&1; }} 2>&1"))

    def processes(self) -> list[int]:
        return [int(line.split()[1]) for line in output("docker", "top", self.id).splitlines()[1:]]

    def close(self) -> None:
        subprocess.run(["docker", "rm", "-f", "-v", self.id], stdout=subprocess.DEVNULL, check=False)
        if self._shell:
            self._shell.wait()


class Recording:
    """`slimtrace record --cgroup` attached to a container: the whole recorder, in a process of its own."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._folder = tempfile.TemporaryDirectory(prefix="slimtrace-bench-")
        self.capture = Path(self._folder.name) / "capture"
        self.peak_bytes = 0  # known when it has stopped

    def __enter__(self) -> Self:
        verb = ["-m", "slimtrace", "record", "--cgroup", self._container.cgroup, "-o", str(self.capture)]
        self.process = subprocess.Popen(
            [sys.executable, *verb],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        assert self.process.stderr
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "attached to" in line:
                return self
        raise RuntimeError(f"cannot attach: {''.join(said)}")

    def map_bytes(self) -> int:
        """Kernel memory of the recorder's BPF maps (memlock in /proc/PID/fdinfo)."""
        found = {}
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            if os.readlink(fd).endswith("bpf-map"):
                info = (fd.parent.parent / "fdinfo" / fd.name).read_text()
                values = dict(re.findall(r"^(\w+):\s*(\d+)$", info, re.MULTILINE))
                found[values["map_id"]] = int(values["memlock"])
        return sum(found.values())

    def peak_bytes_so_far(self) -> int:
        """The largest resident memory that the recorder has had so far (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def stop(self) -> None:
        """End the recording as Ctrl-C does, and wait for the capture to be written."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr
        said = self.process.stderr.read()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.peak_bytes = used.ru_maxrss * 1024
        if self.process.returncode:
            raise RuntimeError(f"the recording ended with {self.process.returncode}: {said}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.returncode is None:
                self.stop()
        finally:
            self._folder.cleanup()


class EmptyTracer:
    """An empty BPF program on the tracepoint that slimtrace needs, loaded by a process of its own."""

    _SOURCE = """
import os, sys
from slimtrace import data
os.environ["BCC_KERNEL_SOURCE"] = str(data.folder("bpf"))
import bcc
held = bcc.BPF(text="RAW_TRACEPOINT_PROBE(sys_exit) { return 0; }")
print("attached", flush=True)
sys.stdin.read()
"""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        assert self._process.stdout
        if self._process.stdout.readline().strip() != "attached":
            raise RuntimeError("cannot load an empty program")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


@contextlib.contextmanager
def straced(container: Container) -> Iterator[None]:
    """strace -f attached to all that runs in a container."""
    pids = [word for pid in container.processes() for word in ("-p", str(pid))]
    strace = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", *pids], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 10
        status = Path(f"/proc/{container.pid}/status")
        while "TracerPid:\t0" in status.read_text():
            if time.monotonic() > end:
                raise RuntimeError("strace does not attach")
            time.sleep(0.05)
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(timeout=60)
