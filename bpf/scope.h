/* Whom we watch: the one cgroup filter, and how far each process has come.
 *
 * The container's cgroup enters the filter inside the kernel, when it is made (cgroup.c), so there is no moment
 * at which a process could be in it unseen. Nested cgroups follow in the same way. */
#ifndef SLIMTRACE_SCOPE_H
#define SLIMTRACE_SCOPE_H

struct needle { /* the first 16 characters of the container's id, which its cgroup is named by; see cgroup.c */
	u64 low;
	u64 high;
};

struct session {
	u32 started;      /* the container's program runs: whoever enters from now on is an exec */
	u32 creator_ns;   /* mount namespace of the runtime, which made the cgroup */
	u32 host_ns;      /* mount namespace of the host's pid 1 */
	u32 armed;        /* 0: let no further cgroup in */
	u64 root_dev;     /* device of the container's root file system; 0 until its program runs */
	struct needle needle;
};

struct standing { /* of one process */
	u8 phase;
	u8 origin;
};

struct seen_key {
	u64 text;
	u64 file;
};

BPF_HASH(scope, u64, u8, 4096);               /* cgroup id -> 1 */
BPF_HASH(standings, u32, struct standing, 65536); /* process -> standing; absent: still the runtime */
BPF_ARRAY(sessions, struct session, 1);
BPF_ARRAY(losses, u64, 2);
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

static __always_inline struct session *session(void)
{
	int zero = 0;
	return sessions.lookup(&zero);
}

static __always_inline int in_scope(void)
{
	u64 id = bpf_get_current_cgroup_id();
	return scope.lookup(&id) != NULL;
}

static __always_inline u32 current_process(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* A process without an entry came in from outside: it is the runtime, setting the container or an exec up. */
static __always_inline struct standing standing_of(u32 pid)
{
	struct standing *known = standings.lookup(&pid);
	if (known)
		return *known;
	struct session *now = session();
	struct standing fresh = {
		.phase = PHASE_RUNTIME,
		.origin = now && now->started ? ORIGIN_EXEC : ORIGIN_CONTAINER,
	};
	return fresh;
}

enum loss {
	LOST_RECORD = 0, /* something happened that could not be told */
	LOST_TEXT = 1,   /* a call reached for a path whose text could not be read */
};

static __always_inline void count_loss(int kind)
{
	u64 *lost = losses.lookup(&kind);
	if (lost)
		__sync_fetch_and_add(lost, 1);
}

static __always_inline void set_standing(u32 pid, struct standing *standing)
{
	if (standings.update(&pid, standing))
		count_loss(LOST_RECORD);
}

/* Whether a file on the device `dev` is no file of the container's own: it lies on a volume, /proc, a tmpfs. Until
 * its program runs, or where one was attached to, the process's root has to do, which chroot may have changed. */
static __always_inline int is_foreign(u64 dev, kernel_ptr root)
{
	struct session *now = session();
	u64 own = now ? now->root_dev : 0;
	return dev != (own ? own : device_of(root));
}

static __always_inline int hand_over(void *record, u64 length)
{
	int failed = records.ringbuf_output(record, length, 0);
	if (failed)
		count_loss(LOST_RECORD);
	return failed;
}

#endif
