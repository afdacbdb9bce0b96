"""The beginning and end of every profile: the rules that any container needs, and what Docker's own template
denies (github.com/moby/profiles, apparmor/template.go)."""

from slimtrace.reason.confine.apparmor.pathnames import PID_VARIABLE

# The programs that start, stop and exec: unconfined on most hosts, under a name of their own on some (Ubuntu
# 24.04 has profiles "runc" and "crun", snap its own).
_ENGINES = "{,/usr{,/local}/{s,}bin/}{runc,crun*,podman,conmon*,docker*,containerd*}"

_HEAD = """\
# Made by slimtrace from what the container did. Load it: apparmor_parser -r FILE; use it:
# docker run --security-opt apparmor={name}
abi <abi/3.0>,

{pid}={{[1-9],[1-9][0-9],[1-9][0-9][0-9],[1-9][0-9][0-9][0-9],[1-9][0-9][0-9][0-9][0-9],[1-9][0-9][0-9]\
[0-9][0-9][0-9],[1-9][0-9][0-9][0-9][0-9][0-9][0-9]}}

profile "{name}" flags=(attach_disconnected,mediate_deleted) {{
"""

_TAIL = """\
  # What any program may read at any time: the C library and the language runtimes ask how large the machine is.
  "/proc/{{cpuinfo,filesystems,loadavg,meminfo,stat,uptime,version}}" r,
  "/proc/sys/kernel/{{cap_last_cap,ngroups_max,osrelease,pid_max,random/boot_id,random/uuid}}" r,
  "/proc/sys/net/core/somaxconn" r,
  "/proc/sys/vm/{{max_map_count,overcommit_memory}}" r,
  "/proc/{pid}/{{,task/,task/{pid}/,fd/}}" r,
  "/proc/{pid}/{{,task/{pid}/}}{{auxv,cgroup,cmdline,comm,io,limits,maps,smaps,smaps_rollup}}" r,
  "/proc/{pid}/{{,task/{pid}/}}{{mountinfo,mounts,oom_score,oom_score_adj,stat,statm,status}}" r,
  "/sys/devices/system/cpu/{{,online,possible,present}}" r,
  "/sys/fs/cgroup/{{,**}}" r,
  "/sys/kernel/mm/transparent_hugepage/{{enabled,hpage_pmd_size}}" r,

  # What the engine hands over: its files, the devices that every container has, terminals, its --init.
  "/etc/{{hostname,hosts,resolv.conf}}" r,
  "/dev/{{null,zero,full,random,urandom,tty,console,ptmx}}" rw,
  "/dev/pts/{{,ptmx,[0-9]*}}" rw,
  "/dev/{{shm,mqueue}}/{{,**}}" rwkl,
  "/{{dev/init,sbin/docker-init,run/podman-init}}" rmix,

  # Huge pages without a file: the kernel maps one of its own, whose name is this (mm/hugetlb, MAP_HUGETLB).
  "/{{,anon_hugepage}}" rw,

  # docker stop and docker kill, by the engine or the runtime; the container's processes among themselves.
  signal (receive) peer=unconfined,
  signal (receive) peer="{engines}",
  signal (receive) peer="snap.docker.*",
  signal (send,receive) peer="{name}",
  ptrace (trace,tracedby,read,readby) peer="{name}",

  # As Docker's own profile denies; without a word in the kernel's log.
  deny mount,
  deny /proc/* w,
  deny /proc/{{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


def head(name: str) -> str:
    """The profile up to the first learned rule."""
    return _HEAD.format(name=name, pid=PID_VARIABLE)


def tail(name: str) -> str:
    """The profile after the last learned rule."""
    return _TAIL.format(name=name, pid=PID_VARIABLE, engines=_ENGINES)
