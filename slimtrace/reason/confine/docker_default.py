"""What Docker's default seccomp profile lets a container with Docker's default capabilities call.

Facts, from github.com/moby/profiles seccomp/default.json, v0.2.3: the calls that the profile allows without a
condition, for every architecture (a name that an architecture lacks means nothing there), and the conditions
of the calls that it allows in part. It denies all others: a profile of ours never allows more.
"""

from typing import Any

_UNCONDITIONAL_NAMES = """
_llseek _newselect accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range
bind breakpoint brk cacheflush cachestat capget capset chdir chmod chown chown32 chroot clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32
getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt
gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr
lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore
mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify
mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open
openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
removexattrat rename renameat renameat2 restart_syscall riscv_flush_icache riscv_hwprobe rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget
shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64
statfs statfs64 statmount statx swapcontext symlink symlinkat sync sync_file_range sync_file_range2
syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime
utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""
UNCONDITIONAL = frozenset(_UNCONDITIONAL_NAMES.split())

# MASKED_EQ on the flags of clone(2): none of the CLONE_NEW* of namespaces(7), in hexadecimal 0x7E020000.
_NEW_NAMESPACES = 2114060288


def condition(value: int, op: str, index: int = 0, value_two: int = 0) -> dict[str, Any]:
    """One condition on an argument, as Docker's JSON writes it. With MASKED_EQ `value` is the mask, and
    `value_two` what the masked argument has to equal."""
    return {"index": index, "value": value, "valueTwo": value_two, "op": f"SCMP_CMP_{op}"}


# Each condition is a rule of its own; a call is allowed if any of them holds. socket: not AF_ALG (38), not
# AF_VSOCK (40).
CONDITIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "clone": (condition(_NEW_NAMESPACES, "MASKED_EQ"),),
    "personality": tuple(condition(value, "EQ") for value in (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)),
    "socket": (condition(38, "LT"), condition(39, "EQ"), condition(40, "GT")),
}

DOCKER_ALLOWED = UNCONDITIONAL | CONDITIONS.keys()  # all that the profile allows, some calls under conditions


def default_profile(architecture: str, sub_architectures: list[str]) -> dict[str, Any]:
    """Docker's whole profile, for an architecture and the others whose calls its kernel accepts too."""
    rules: list[dict[str, Any]] = [{"names": sorted(UNCONDITIONAL), "action": "SCMP_ACT_ALLOW"}]
    for name, conditions in sorted(CONDITIONS.items()):
        rules += [{"names": [name], "action": "SCMP_ACT_ALLOW", "args": [one]} for one in conditions]
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [{"architecture": architecture, "subArchitectures": sub_architectures}],
        "syscalls": rules,
    }


# Names of DOCKER_ALLOWED that an architecture's own table of system calls does not have (libseccomp 2.5.4;
# include/uapi and arch/x86/entry/syscalls of Linux 6.18): they are of its 32-bit programs, or of other
# architectures.
_ON_NEITHER = """
_llseek _newselect arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush chown32 clock_adjtime64
clock_getres_time64 clock_gettime64 clock_nanosleep_time64 fadvise64_64 fchown32 fcntl64 fstat64 fstatat64
fstatfs64 ftruncate64 futex_time64 getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 getuid32
io_pgetevents_time64 ipc lchown32 lstat64 mmap2 mq_timedreceive_time64 mq_timedsend_time64 ppoll_time64
pselect6_time64 recv recvmmsg_time64 riscv_flush_icache riscv_hwprobe rt_sigtimedwait_time64
s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr sched_rr_get_interval_time64 semtimedop_time64
send sendfile64 set_tls setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32 setresuid32
setreuid32 setuid32 sigprocmask sigreturn socketcall stat64 statfs64 swapcontext sync_file_range2
timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit
utimensat_time64 waitpid
"""
_NOT_ON_ARM64 = """
access alarm arch_prctl chmod chown creat dup2 epoll_create epoll_ctl_old epoll_wait epoll_wait_old eventfd
fork futimesat get_thread_area getdents getpgrp inotify_init lchown link lstat mkdir mknod modify_ldt open
pause pipe poll readlink rename rmdir select set_thread_area signalfd stat symlink time unlink uretprobe utime
utimes vfork
"""
_ABSENT_ON = {
    "SCMP_ARCH_X86_64": frozenset(_ON_NEITHER.split()),
    "SCMP_ARCH_AARCH64": frozenset((_ON_NEITHER + _NOT_ON_ARM64).split()),
}


def absent_on(architecture: str) -> frozenset[str]:
    """The names of DOCKER_ALLOWED that mean nothing on `architecture`, which is named as seccomp names it; none
    for an architecture that is not known here."""
    return _ABSENT_ON.get(architecture, frozenset())
