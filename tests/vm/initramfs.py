"""The initramfs of a virtual machine: busybox, a few modules, and the script that mounts the host's root.

busybox does everything until the command runs, so that the root file system needs no program of its own for it.
"""

from __future__ import annotations

import lzma
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vm.kernels import Kernel

# Loaded with their dependencies; modules that are built into the kernel are left out.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtiofs", "overlay", "ext4")
ROOT_TAG = "root"  # virtiofs tag of the host's root
OUTPUT_PORT, STATUS_PORT = 1, 2  # of the virtio serial device
SCRATCH = "/run/scratch"  # a directory of the guest's, on an ext4 disk that is thrown away

# Stage 1, in the initramfs: the root is the host's, read-only, below a disk that is thrown away.
INIT = f"""#!/bin/busybox sh
die() {{
    echo "cannot $1"
    poweroff -f
}}
/bin/busybox mkdir -p /proc /sys /dev /host /disk /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || die "load $module"
done </modules/order
mount -t virtiofs -o ro {ROOT_TAG} /host || die "mount the host's root"
mount -t ext4 /dev/vda /disk || die "mount the disk"
mkdir /disk/upper /disk/work /disk/scratch
layers=lowerdir=/host,upperdir=/disk/upper,workdir=/disk/work
mount -t overlay -o "$layers" overlay /root || die "overlay the root"

cd /root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm
ln -s /proc/self/fd dev/fd
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs run run
for each in cgroup2=fs/cgroup securityfs=kernel/security tracefs=kernel/tracing debugfs=kernel/debug bpf=fs/bpf
do
    mount -t "${{each%=*}}" "${{each%=*}}" "sys/${{each#*=}}" || echo "no ${{each%=*}} here"
done
mkdir -p run/lock run{SCRATCH.removeprefix("/run")}
mount -o bind /disk/scratch run/scratch
modules=/host$(cat /modules/folder) release=$(uname -r)
if [ -d "$modules" ]; then # not where another root than the machine's own was chosen
    mkdir -p "lib/modules/$release"
    mount -o bind "$modules" "lib/modules/$release"
fi
ip link set lo up
cp /bin/busybox /stage2 run/
exec switch_root /root /run/busybox sh /run/stage2
"""

# Stage 2, in the host's root: run the command, write its exit code, power off.
STAGE2 = f"""
set -- /dev/vport*p{OUTPUT_PORT} /dev/vport*p{STATUS_PORT}
(
    cd {{cwd}} && exec env -i {{command}}
) >"$1" 2>&1 </dev/null
echo $? >"$2"
/run/busybox poweroff -f
"""


def build(
    kernel: Kernel, busybox: Path, modules_at: Path, command: Sequence[str], cwd: str, env: Mapping[str, str]
) -> bytes:
    """The cpio archive that runs `command`. `modules_at` is the path of the kernel's modules on the host."""
    modules = [kernel.modules / name for name in _with_dependencies(kernel)]
    words = [*(f"{key}={value}" for key, value in env.items()), *command]
    stage2 = STAGE2.format(cwd=shlex.quote(cwd), command=shlex.join(words))
    entries: list[tuple[str, int, bytes]] = [
        ("init", 0o100755, INIT.encode()),
        ("stage2", 0o100755, stage2.encode()),
        ("bin", 0o040755, b""),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("modules", 0o040755, b""),
        ("modules/order", 0o100644, "".join(f"{_plain(module)}.ko\n" for module in modules).encode()),
        ("modules/folder", 0o100644, str(modules_at).encode()),
        *((f"modules/{_plain(module)}.ko", 0o100644, _content(module)) for module in modules),
    ]
    return b"".join(_cpio(entries))


def _with_dependencies(kernel: Kernel) -> list[str]:
    """The files of MODULES and their dependencies, in the order in which they can be loaded."""
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        needs[_plain(Path(file))] = [*reversed(others.split()), file]
    built_in = {_plain(Path(line)) for line in (kernel.modules / "modules.builtin").read_text().split()}
    if absent := set(MODULES) - needs.keys() - built_in:
        raise ValueError(f"kernel {kernel.name} has no module {', '.join(sorted(absent))}")
    return list(dict.fromkeys(file for name in MODULES for file in needs.get(name, [])))


def _plain(module: Path) -> str:
    return module.name.partition(".")[0].replace("-", "_")


def _content(module: Path) -> bytes:
    # busybox's insmod hands the file to the kernel as it is, so it must not be compressed.
    match module.suffix:
        case ".xz":
            return lzma.decompress(module.read_bytes())
        case ".zst":
            return subprocess.run(["zstd", "-dcq", str(module)], check=True, capture_output=True).stdout
    return module.read_bytes()


def _cpio(entries: Sequence[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """The "newc" format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel."""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        yield head + bytes(-len(head) % 4)
        yield content + bytes(-len(content) % 4)
