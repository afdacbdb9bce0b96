"""Calls that are allowed without having been seen, and why.

The calls of the runtime behind its filter are measured. The runtime is a Go program with threads, or C, though:
some of its calls depend on timing, and where they could not be measured those that are known of it are allowed.
"""

from collections.abc import Mapping

# What any program may need at any time; what Go's runtime (runtime/os_linux.go, netpoll_epoll.go,
# mem_linux.go), and the C library when it starts a thread for it (runc is linked with cgo;
# nptl/pthread_create.c), may call while runc goes from the filter to execve.
MARGIN: Mapping[str, str] = {
    "exit": "a thread's end, also one of the runtime's",
    "exit_group": "a process's end",
    "rt_sigreturn": "the return from any signal handler",
    "restart_syscall": "the kernel resumes a stopped call by it (restart_syscall(2))",
    "execve": "the runtime's last call, and the first thing the filter would refuse",
    "brk": "the C library's memory for a new thread of Go's",
    "clone": "Go starts a thread when another blocks; never with new namespaces",
    "close": "Go's finalizers",
    "epoll_ctl": "Go's network poller",
    "epoll_pwait": "Go's network poller",
    "fchown": "runc gives standard input and output to the container's user, where they are another's",
    "futex": "Go's scheduler parks and wakes threads",
    "getpid": "Go's preemption signal",
    "gettid": "a new Go thread",
    "madvise": "Go's heap",
    "mmap": "Go's heap and thread stacks",
    "mprotect": "the stack of a new thread of Go's",
    "munmap": "Go's heap",
    "nanosleep": "Go's scheduler and system monitor",
    "read": "Go's network poller wakes by a pipe or an eventfd",
    "rseq": "the C library in a new thread of Go's",
    "rt_sigaction": "Go resets handlers before execve",
    "rt_sigprocmask": "a new Go thread",
    "sched_yield": "Go's scheduler",
    "set_robust_list": "the C library in a new thread of Go's",
    "sigaltstack": "a new Go thread's signal stack",
    "tgkill": "Go's preemption signal",
    "write": "Go wakes its network poller; the runtime tells of a failure",
}

# The calls of the runtime after the filter is on, without no-new-privileges. With that the filter goes on
# later, and fewer of these calls come after it. Measured with runc 1.1.5, which agrees with
# libcontainer/standard_init_linux.go and setns_init_linux.go (finalizeNamespace and what follows it) and with
# security-profiles-operator's baseprofile-runc.yaml; close_range is of newer ones. And with crun 1.8.1
# (src/libcrun/container.c).
RUNTIME_CALLS = (
    *("capget", "capset", "chdir", "close_range", "faccessat2", "fcntl", "fstat", "fstatfs"),
    *("getcwd", "getdents64", "getppid", "newfstatat", "openat", "prctl", "setgid", "setgroups", "setuid"),
    *("setresgid", "setresuid"),
)
# Its further calls when it execs into a container: runc makes none, crun these. Needed where nothing was
# exec'd, as in a container that ends by itself.
RUNTIME_EXEC_CALLS = ("ioctl", "openat", "setgroups", "statx")
# A runtime that drops capabilities behind the filter makes this call: where it was seen the rest was seen too.
_CAPABILITY_DROP = "capset"


def was_measured(filtered: frozenset[str]) -> bool:
    """Whether the calls `filtered`, which the runtime made behind the filter, are all that it makes there."""
    return _CAPABILITY_DROP in filtered
