"""The running kernel: its structure offsets from BTF, and the constants that bpf/ is compiled with.

bpf/kernel.h says what the constants are for.
"""

import contextlib
import mmap
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.observe.kernel.btf import Btf
from slimtrace.observe.kernel.io_uring import MEMBERS as IO_URING_MEMBERS

VMLINUX = Path("/sys/kernel/btf/vmlinux")

# -D constant of bpf/ -> structure.member(.member…) of the kernel, looked up through anonymous members.
OFFSETS: Mapping[str, str] = {
    "AT_PATH_MNT": "path.mnt",
    "AT_PATH_DENTRY": "path.dentry",
    "AT_TASK_CGROUPS": "task_struct.cgroups",
    "AT_CSS_SET_DFL_CGRP": "css_set.dfl_cgrp",
    "AT_TASK_FILES": "task_struct.files",
    "AT_TASK_FS": "task_struct.fs",
    "AT_TASK_MM": "task_struct.mm",
    "AT_TASK_NSPROXY": "task_struct.nsproxy",
    "AT_TASK_SIGNAL": "task_struct.signal",
    "AT_TASK_TGID": "task_struct.tgid",
    "AT_TASK_PARENT": "task_struct.real_parent",
    "AT_TASK_FLAGS": "task_struct.flags",
    "AT_TASK_EXIT_CODE": "task_struct.exit_code",
    "AT_TASK_CRED": "task_struct.cred",
    "AT_TASK_REAL_CRED": "task_struct.real_cred",
    "AT_SIGNAL_LIVE": "signal_struct.live",
    "AT_SIGNAL_FLAGS": "signal_struct.flags",
    "AT_SIGNAL_GROUP_CODE": "signal_struct.group_exit_code",
    "AT_FILES_FDT": "files_struct.fdt",
    "AT_FDT_MAX_FDS": "fdtable.max_fds",
    "AT_FDT_FD": "fdtable.fd",
    "AT_FS_ROOT": "fs_struct.root",
    "AT_FS_PWD": "fs_struct.pwd",
    "AT_FILE_PATH": "file.f_path",
    "AT_FILE_PRIVATE": "file.private_data",
    "AT_INODE_INO": "inode.i_ino",
    "AT_INODE_MODE": "inode.i_mode",
    "AT_DENTRY_PARENT": "dentry.d_parent",
    "AT_DENTRY_NAME": "dentry.d_name",
    "AT_DENTRY_INODE": "dentry.d_inode",
    "AT_DENTRY_SB": "dentry.d_sb",
    "AT_DENTRY_HASHED": "dentry.d_hash.pprev",
    "AT_QSTR_HASH": "qstr.hash_len",
    "AT_QSTR_NAME": "qstr.name",
    "AT_SB_DEV": "super_block.s_dev",
    "AT_SB_MAGIC": "super_block.s_magic",
    "AT_MOUNT_MNT": "mount.mnt",
    "AT_MOUNT_PARENT": "mount.mnt_parent",
    "AT_MOUNT_MOUNTPOINT": "mount.mnt_mountpoint",
    "AT_VFSMOUNT_ROOT": "vfsmount.mnt_root",
    "AT_NSPROXY_MNT_NS": "nsproxy.mnt_ns",
    "AT_MNT_NS_INUM": "mnt_namespace.ns.inum",
    "AT_MM_EXE_FILE": "mm_struct.exe_file",
    "AT_MM_ARG_START": "mm_struct.arg_start",
    "AT_MM_ARG_END": "mm_struct.arg_end",
    "AT_BPRM_FILENAME": "linux_binprm.filename",
    "AT_CGROUP_ROOT": "cgroup.root",
    "AT_CGROUP_KN": "cgroup.kn",
    "AT_CGROUP_ROOT_HIERARCHY": "cgroup_root.hierarchy_id",
    "AT_CGROUP_PARENT_CSS": "cgroup.self.parent",
    "AT_CSS_CGROUP": "cgroup_subsys_state.cgroup",
    "AT_KERNFS_ID": "kernfs_node.id",
    "AT_KERNFS_NAME": "kernfs_node.name",
    "AT_SOCK_FAMILY": "sock_common.skc_family",
    "AT_SOCK_PORT": "sock_common.skc_num",
    "AT_SOCK_ADDRESS4": "sock_common.skc_rcv_saddr",
    "AT_SOCK_ADDRESS6": "sock_common.skc_v6_rcv_saddr",
    "AT_SOCK_PROTOCOL": "sock.sk_protocol",
    "AT_SOCKET_TYPE": "socket.type",
    "AT_SOCKET_SK": "socket.sk",
}

# The same for bpf/io_uring.c, which a build can do without; a kernel has all of them, or they are not used.
IO_URING_OFFSETS: Mapping[str, str] = {
    "AT_KIOCB_OPCODE": "io_kiocb.opcode",
    "AT_KIOCB_CMD": "io_kiocb.cmd",
    "AT_FILENAME_NAME": "filename.name",
}
# -D constant -> what has that type id in the kernel's BTF; a kernel has all of them, or they are not used.
CASTS: Mapping[str, str] = {
    "CAST_FUNCTION": "bpf_rdonly_cast",
    "BTF_ID_DENTRY": "dentry",
    "BTF_ID_FILE": "file",
    "BTF_ID_LIST_HEAD": "list_head",
    "BTF_ID_PT_REGS": "pt_regs",
}
STRUCTS = frozenset(
    member.partition(".")[0] for member in (*OFFSETS.values(), *IO_URING_OFFSETS.values(), *IO_URING_MEMBERS)
) | frozenset(CASTS.values())
IO_URING_TRACEPOINTS = ("io_uring_submit_req", "io_uring_submit_sqe")  # the younger name first


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs between processor architectures.

    `registers` are where system call arguments and number are in struct pt_regs: an offset constant to
    (member, extra bytes); `compat_registers` where the six arguments of a 32-bit call are, where that differs.
    `abi` is the word of task_struct that marks a 32-bit task, `abi_mask` its bit; `x32_bit` is the bit of a
    call's number that marks an x32 call, 0 for none.
    """

    registers: Mapping[str, tuple[str, int]]
    abi: str
    abi_mask: int
    compat_registers: tuple[str, ...] = ()
    x32_bit: int = 0


MACHINES: Mapping[str, Machine] = {
    # arch/x86/include/asm/syscall.h, syscall_get_arguments; TS_COMPAT in asm/thread_info.h
    "x86_64": Machine(
        registers={
            "AT_ARG0": ("pt_regs.di", 0),
            "AT_ARG1": ("pt_regs.si", 0),
            "AT_ARG2": ("pt_regs.dx", 0),
            "AT_ARG3": ("pt_regs.r10", 0),
            "AT_ARG4": ("pt_regs.r8", 0),
            "AT_ARG5": ("pt_regs.r9", 0),
            "AT_CALL_NUMBER": ("pt_regs.orig_ax", 0),
            "AT_FUNCTION_ARG2": ("pt_regs.dx", 0),
            "AT_FUNCTION_RESULT": ("pt_regs.ax", 0),
        },
        abi="task_struct.thread_info.status",
        abi_mask=0x2,
        # arch/x86/entry/syscall_32.c; __X32_SYSCALL_BIT in uapi/asm/unistd.h
        compat_registers=("bx", "cx", "dx", "si", "di", "bp"),
        x32_bit=0x40000000,
    ),
    # arch/arm64/include/asm/syscall.h: x0 holds the result at exit, orig_x0 the first argument;
    # TIF_32BIT in asm/thread_info.h
    "aarch64": Machine(
        registers={
            "AT_ARG0": ("pt_regs.orig_x0", 0),
            "AT_ARG1": ("pt_regs.regs", 8),
            "AT_ARG2": ("pt_regs.regs", 16),
            "AT_ARG3": ("pt_regs.regs", 24),
            "AT_ARG4": ("pt_regs.regs", 32),
            "AT_ARG5": ("pt_regs.regs", 40),
            "AT_CALL_NUMBER": ("pt_regs.syscallno", 0),
            "AT_FUNCTION_ARG2": ("pt_regs.regs", 16),
            "AT_FUNCTION_RESULT": ("pt_regs.regs", 0),
        },
        abi="task_struct.thread_info.flags",
        abi_mask=1 << 22,
    ),
}


def read_btf(path: Path = VMLINUX) -> Btf:
    """The running kernel's BTF. Raises SlimtraceError (KERNEL) where there is none."""
    try:
        return Btf(path.read_bytes(), STRUCTS, IO_URING_TRACEPOINTS, (CASTS["CAST_FUNCTION"],))
    except (OSError, ValueError) as problem:
        raise SlimtraceError(
            f"cannot read the kernel's type information {path}: {problem}",
            "a kernel with CONFIG_DEBUG_INFO_BTF=y is needed; `slimtrace doctor` tells more",
            Exit.KERNEL,
        ) from problem


def machine() -> Machine:
    """This machine's entry of MACHINES. Raises SlimtraceError (KERNEL) on another architecture."""
    name = platform.machine()
    if name not in MACHINES:
        raise SlimtraceError(
            f"cannot trace on the architecture {name}", "x86_64 and aarch64 are supported", Exit.KERNEL
        )
    return MACHINES[name]


def architecture() -> str:
    """This machine's architecture by the name that images have for it (GOARCH)."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def constants(btf: Btf) -> dict[str, int]:
    """Every -D constant that bpf/ needs from this kernel. Raises SlimtraceError (KERNEL) naming what is
    missing."""
    here = machine()
    try:
        found = {constant: btf.offset(member) for constant, member in OFFSETS.items()}
        found |= {name: btf.offset(member) + extra for name, (member, extra) in here.registers.items()}
        found["AT_TASK_ABI"] = btf.offset(here.abi)
        with contextlib.suppress(KeyError):  # of kernels from 5.11 on
            found["AT_TASK_MIGRATION_DISABLED"] = btf.offset("task_struct.migration_disabled")
    except KeyError as missing:
        raise SlimtraceError(
            f"cannot find {missing.args[0]} in this kernel's type information",
            f"please report the kernel {platform.release()}",
            Exit.KERNEL,
        ) from missing
    found |= {
        f"AT_COMPAT_ARG{index}": btf.offset(f"pt_regs.{name}")
        for index, name in enumerate(here.compat_registers)
    }
    found["COMPAT_REGISTERS"] = int(bool(here.compat_registers))
    found |= {f"AT_COMPAT_ARG{index}": 0 for index in range(6) if not here.compat_registers}
    # one read gets a dentry's parent, name, inode and short name, if they follow one another
    at = found["AT_DENTRY_PARENT"]
    found["DENTRY_AT_ONCE"] = int(
        (found["AT_DENTRY_NAME"], found["AT_DENTRY_INODE"]) == (at + 8, at + 24)
        and (found["AT_QSTR_HASH"], found["AT_QSTR_NAME"]) == (0, 8)
    )
    found["ABI_MASK"] = here.abi_mask
    found["X32_BIT"] = here.x32_bit
    found["PAGE_SIZE"] = mmap.PAGESIZE
    return found


def cast_constants(btf: Btf) -> dict[str, int]:
    """The constants that CAST of bpf/kernel.h is compiled with; none where this kernel has no bpf_rdonly_cast
    (before 6.2)."""
    try:
        return {constant: btf.number(name) for constant, name in CASTS.items()}
    except KeyError:
        return {}


def io_uring_constants(btf: Btf) -> tuple[str, dict[str, int]]:
    """The tracepoint of io_uring's requests, and the constants that bpf/io_uring.c is compiled with; no name
    where this kernel has no such tracepoint. Without IO_URING_REQUEST only a request's operation is known."""
    for name in IO_URING_TRACEPOINTS:
        arguments = btf.tracepoint_arguments(name)
        if not arguments:
            continue
        found: dict[str, int] = {}
        if "io_kiocb" in arguments:
            try:
                found |= {constant: btf.offset(member) for constant, member in IO_URING_OFFSETS.items()}
                return name, found | {"IO_URING_REQUEST": arguments.index("io_kiocb")}
            except KeyError:
                pass  # before 6.0 the request's data lay elsewhere
        if "unsigned char" in arguments:
            return name, {"IO_URING_OPERATION": arguments.index("unsigned char")}
    return "", {}


def pid_max() -> int:
    """One more than the highest process id that this machine gives (proc(5), pid_max)."""
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def defines(values: Mapping[str, int]) -> list[str]:
    """The constants as compiler flags, sorted."""
    return [f"-D{name}={value}" for name, value in sorted(values.items())]


def host_mount_namespace() -> int:
    """The inode number of pid 1's mount namespace; of this process's own where pid 1 is out of reach (slimtrace
    itself in a container)."""
    for pid in ("1", "self"):
        try:
            return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
        except OSError:
            continue
    return 0


def require_root() -> None:
    """Raises SlimtraceError (NOT_ROOT) for anyone else: BPF programs and mounts need it."""
    if os.geteuid() != 0:
        raise SlimtraceError("cannot trace without root", "run it with sudo", Exit.NOT_ROOT)
