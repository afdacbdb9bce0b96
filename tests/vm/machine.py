"""A virtual machine that boots a kernel with this machine's root file system, runs one command and powers off.

    outcome = Machine(obtain("6.1")).run(["uname", "-r"])

By hand, from the tests' folder:

    ../.venv/bin/python -m vm.machine 6.1 [WORD…] -- COMMAND [ARGUMENT…]

where the words are appended to the kernel's command line. qemu emulates the processor (TCG): /dev/kvm can exist
and not work, and for a minute of testing it is not worth finding out. The guest sees the host's root by
virtiofs, read-only; what the guest writes goes to a disk that is thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from vm import initramfs
from vm.kernels import Kernel, Unobtainable, obtain

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DISK_BYTES = 1 << 30  # sparse
VIRTIOFSD = (Path("/usr/lib/qemu/virtiofsd"), Path("/usr/libexec/virtiofsd"))  # up to Debian 12, after


@dataclass(frozen=True, slots=True)
class Platform:
    """How qemu emulates one architecture."""

    qemu: str
    options: tuple[str, ...]
    console: str


PLATFORMS = {
    "amd64": Platform("qemu-system-x86_64", ("-machine", "q35,memory-backend=memory", "-cpu", "max"), "ttyS0"),
    "arm64": Platform(
        "qemu-system-aarch64", ("-machine", "virt,memory-backend=memory", "-cpu", "cortex-a57"), "ttyAMA0"
    ),
}


class MachineError(Exception):
    """The machine did not run its command to the end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The command's exit code, its stdout and stderr in one, and the kernel's console."""

    code: int
    output: bytes
    console: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Machine:
    """`words` are appended to the kernel's command line; `root` is the folder of the host that becomes the
    guest's root."""

    kernel: Kernel
    words: tuple[str, ...] = ()
    root: Path = Path("/")
    memory: int = 1024  # MiB

    def run(
        self,
        command: Sequence[str],
        cwd: Path = Path("/"),
        env: Mapping[str, str] | None = None,
        seconds: float = 120.0,
    ) -> Outcome:
        """Boot a machine and run `command` in it. Raises MachineError if it does not end in time."""
        begun = time.monotonic()
        with ExitStack() as ends:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="slimtrace-vm-")))
            busybox = _busybox(self.root)
            values = {"PATH": ROOT_PATH, "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
            archive = initramfs.build(self.kernel, busybox, self.kernel.modules, command, str(cwd), values)
            (folder / "initramfs").write_bytes(archive)
            _make_disk(folder / "disk")
            ends.enter_context(_running(self._virtiofsd(folder), folder / "virtiofsd.log"))
            _wait_for(folder / "root.sock")
            qemu = ends.enter_context(_running(self._qemu(folder), folder / "qemu.log"))
            try:
                qemu.wait(seconds)
            except subprocess.TimeoutExpired:
                raise MachineError(f"cannot wait longer than {seconds:.0f} s; {_last_words(folder)}") from None
            status = _read(folder / "status").strip()
            if not status:
                raise MachineError(f"cannot run a command on {self.kernel.release}; {_last_words(folder)}")
            return Outcome(
                int(status),
                (folder / "output").read_bytes(),
                _read(folder / "console"),
                time.monotonic() - begun,
            )

    def _virtiofsd(self, folder: Path) -> list[str]:
        options = [f"source={self.root}", "cache=always", "sandbox=chroot"]
        socket = f"--socket-path={folder / 'root.sock'}"
        return [str(_virtiofsd()), socket, *(word for option in options for word in ("-o", option))]

    def _qemu(self, folder: Path) -> list[str]:
        platform = PLATFORMS[self.kernel.architecture]
        words = ("panic=-1", f"console={platform.console}", "mitigations=off", *self.words)

        def port(name: str, number: int) -> list[str]:
            chardev = f"file,id={name},path={folder / name}"
            return ["-chardev", chardev, "-device", f"virtserialport,chardev={name},nr={number}"]

        return [
            platform.qemu,
            *platform.options,
            *("-accel", "tcg,thread=multi", "-smp", "2", "-m", f"{self.memory}M"),
            *("-object", f"memory-backend-memfd,id=memory,size={self.memory}M,share=on"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(self.kernel.image), "-initrd", str(folder / "initramfs")),
            *("-append", " ".join(words), "-serial", f"file:{folder / 'console'}"),
            *("-chardev", f"socket,id=root,path={folder / 'root.sock'}"),
            *("-device", f"vhost-user-fs-pci,chardev=root,tag={initramfs.ROOT_TAG}"),
            *("-drive", f"file={folder / 'disk'},format=raw,if=none,id=disk,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-serial-pci"),
            *port("output", initramfs.OUTPUT_PORT),
            *port("status", initramfs.STATUS_PORT),
        ]


def missing(architecture: str = "amd64") -> str:
    """The reason why no machine can run here; empty if one can."""
    if os.geteuid() != 0:
        return "not root"
    path = os.pathsep.join([os.environ.get("PATH", ""), ROOT_PATH])
    for command in (PLATFORMS[architecture].qemu, "mkfs.ext4", "depmod", "dpkg-deb", "apt-get", "setpriv"):
        if shutil.which(command, path=path) is None:
            return f"no {command} command"
    try:
        _virtiofsd()
        _busybox(Path("/"))
    except MachineError as reason:
        return str(reason)
    return ""


def _virtiofsd() -> Path:
    found = next((path for path in VIRTIOFSD if path.exists()), None)
    if found is None:
        raise MachineError("no virtiofsd (qemu-system-common, from Debian 13 on virtiofsd)")
    return found


def _busybox(root: Path) -> Path:
    """A busybox that needs no library."""
    found = next((path for at in ("bin", "usr/bin") if (path := root / at / "busybox").exists()), None)
    if found is None:
        raise MachineError("no busybox (busybox-static)")
    with found.open("rb") as file:
        if any(segment["p_type"] == "PT_INTERP" for segment in ELFFile(file).iter_segments()):
            raise MachineError("the busybox here is not static (busybox-static)")
    return found


def _make_disk(disk: Path) -> None:
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, env={**os.environ, "PATH": ROOT_PATH})


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, also where this process is killed before (PR_SET_PDEATHSIG)."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", ""), ROOT_PATH])},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(socket: Path, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not socket.exists():
        if time.monotonic() > deadline:
            raise MachineError(f"cannot export the root: {_last_words(socket.parent)}")
        time.sleep(0.01)


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def _last_words(folder: Path) -> str:
    """The ends of all logs, for an error message."""
    logs = ("virtiofsd.log", "qemu.log", "console", "output")
    return "\n".join(f"{name}: {text[-2000:]}" for name in logs if (text := _read(folder / name).strip()))


def main(arguments: Sequence[str]) -> int:
    """The command line of the module's docstring; the exit code is the command's."""
    if "--" not in arguments[1:-1]:
        print("usage: python -m vm.machine KERNEL [WORD…] -- COMMAND [ARGUMENT…]", file=sys.stderr)
        return 2
    at = arguments.index("--")
    name, *words = arguments[:at]
    try:
        outcome = Machine(obtain(name), tuple(words)).run(arguments[at + 1 :], cwd=Path.cwd())
    except (Unobtainable, MachineError) as problem:
        print(problem, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(outcome.output)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
