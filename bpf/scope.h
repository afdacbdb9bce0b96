/* Whom we watch, and how far each process has come.
 *
 * The container's cgroup enters `scope` inside the kernel, when it is made (cgroup.c), so there is no moment at
 * which a process could be in it unseen. Nested cgroups follow in the same way. A process is looked for in it only
 * when it may have come in: moved there, forked into it, executing. From then on one load tells: `standings` has a
 * word for every process that the machine can have, and a system call of a stranger costs no more than that. */
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
	u32 first;        /* the process that became the container's program */
	u32 unused;
	u64 root_dev;     /* device of the container's root file system; 0 until its program runs */
	struct needle needle;
};

/* A process's word in `standings`. slimtrace/facts/wire.py knows the lowest four bits. */
#define IN_SCOPE 1
#define PHASE_SHIFT 1
#define ORIGIN_SHIFT 3
#define EXECUTED 16    /* its execve has not returned yet */
#define BEFORE_SHIFT 5 /* the phase that it was in before that */
#define PROGRAM_SHIFT 8 /* 24 bits that tell its program from others; 0 before it has one */

#define PROCESSES_IN_A_ROW 1024
struct standing_row {
	u32 of[PROCESSES_IN_A_ROW];
};

#define IN_USER_SPACE_TOO 1024 /* BPF_F_MMAPABLE */

BPF_HASH(scope, u64, u8, 4096); /* cgroup id -> 1 */
BPF_F_TABLE("array", u32, struct standing_row, standings, STANDING_ROWS, IN_USER_SPACE_TOO);
BPF_ARRAY(sessions, struct session, 1);
BPF_ARRAY(losses, u64, 2);
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

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

static __always_inline struct session *session(void)
{
	int zero = 0;
	return sessions.lookup(&zero);
}

static __always_inline u32 phase_of(u32 standing)
{
	return standing >> PHASE_SHIFT & 3;
}

static __always_inline u32 origin_of(u32 standing)
{
	return standing >> ORIGIN_SHIFT & 1;
}

static __always_inline u32 in_phase(u32 standing, u32 phase)
{
	return (standing & ~(3u << PHASE_SHIFT)) | phase << PHASE_SHIFT;
}

/* The word of a process. None for a pid beyond the pid_max at the time the programs were loaded. */
static __always_inline u32 *standing_of(u32 pid)
{
	u32 row = pid / PROCESSES_IN_A_ROW;
	struct standing_row *found = standings.lookup(&row);
	return found ? &found->of[pid % PROCESSES_IN_A_ROW] : NULL;
}

static __always_inline u32 current_process(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* The standing of the current process, 0 for a stranger. */
static __always_inline u32 current_standing(void)
{
	u32 *standing = standing_of(current_process());
	return standing && *standing & IN_SCOPE ? *standing : 0;
}

static __always_inline void set_standing(u32 pid, u32 standing)
{
	u32 *known = standing_of(pid);
	if (known)
		*known = standing;
	else
		count_loss(LOST_RECORD);
}

/* Of a process that came in from outside: it is the runtime, setting the container or an exec up. */
static __always_inline u32 newcomer(void)
{
	struct session *now = session();
	u32 origin = now && now->started ? ORIGIN_EXEC : ORIGIN_CONTAINER;
	return IN_SCOPE | PHASE_RUNTIME << PHASE_SHIFT | origin << ORIGIN_SHIFT;
}

static __always_inline void sign(struct record *head, u32 type, u32 pid, u32 standing)
{
	head->type = type;
	head->pid = pid;
	head->phase = phase_of(standing);
	head->origin = origin_of(standing);
}

/* Whether a file on the device `dev` is no file of the container's own: it lies on a volume, /proc, a tmpfs. Until
 * its program runs, or where one was attached to, the process's root has to do, which chroot may have changed. */
static __always_inline int is_foreign(u64 dev, kernel_ptr root)
{
	struct session *now = session();
	u64 own = now ? now->root_dev : 0;
	return dev != (own ? own : device_of(root));
}

/* What was told, by two hashes over all of it, in sets of one cache line each: in the set that its maker finds `near` to
 * what else is told about then, or if that is full in one of its own. A full set forgets one: then something is told
 * twice, never not at all. (An LRU hash would cost a helper call and several cache lines for each look.) */
struct seen_key {
	u64 text;
	u64 file;
};
#define WAYS 4
struct seen_set {
	struct seen_key of[WAYS];
};
BPF_ARRAY(told, struct seen_set, TOLD_SETS); /* a power of two */

/* The set for what is told about `name` at `place`. Sets of one place lie in four pages: the table is larger than what a
 * processor has at hand of any, and what it has to fetch from memory costs more than all the rest. */
#define SETS_OF_A_PLACE 256
static __always_inline u32 near_set(u64 place, u64 name)
{
	return (place >> 32 & (TOLD_SETS - 1) & ~(SETS_OF_A_PLACE - 1)) | (name >> 32 & (SETS_OF_A_PLACE - 1));
}

static __always_inline u32 own_set(struct seen_key *key)
{
	return (key->text ^ key->file >> 32) & (TOLD_SETS - 1);
}

/* The way of a set that has the key, else WAYS; `free` becomes one that has none, if there is any. */
static __always_inline u32 way_of(struct seen_set *set, struct seen_key *key, u32 *free)
{
#pragma unroll
	for (u32 way = 0; way < WAYS; way++) {
		if (set->of[way].text == key->text && set->of[way].file == key->file)
			return way;
		if (!set->of[way].text)
			*free = way;
	}
	return WAYS;
}

/* Whether it was told before; if not it is remembered, and about to be told. */
static __always_inline int was_told(struct seen_key *key, u32 near)
{
	u32 own = own_set(key), free = WAYS, victim = key->file & (WAYS - 1);
	struct seen_set *set = told.lookup(&near);
	if (!set)
		return 0;
	if (way_of(set, key, &free) < WAYS)
		return 1;
	struct seen_set *other = told.lookup(&own);
	if (!other)
		return 0;
	if (way_of(other, key, &victim) < WAYS)
		return 1;
	if (free < WAYS)
		set->of[free & (WAYS - 1)] = *key;
	else
		other->of[victim & (WAYS - 1)] = *key;
	return 0;
}

/* It could not be told: it will be when it happens again. */
static __always_inline void forget(struct seen_key *key, u32 index)
{
	u32 ignored;
	struct seen_set *set = told.lookup(&index);
	u32 way = set ? way_of(set, key, &ignored) : WAYS;
	if (set && way < WAYS)
		set->of[way & (WAYS - 1)].text = 0;
}

static __always_inline void untell(struct seen_key *key, u32 near)
{
	forget(key, near);
	forget(key, own_set(key));
}

/* What the reader is woken for at once: what steers the recording. All else waits for its next look at the ring, or
 * until there are WAKE_BYTES on one processor; waking it for every file would cost the container more than the rest. */
#define WAKE 2 /* BPF_RB_FORCE_WAKEUP */
#define LET_SLEEP 1 /* BPF_RB_NO_WAKEUP */
BPF_PERCPU_ARRAY(unread, u64, 1);

static __always_inline int hand_over(void *record, u64 length, u64 wake)
{
	int zero = 0;
	u64 *waiting = unread.lookup(&zero);
	if (waiting) {
		*waiting += length;
		if (*waiting > WAKE_BYTES)
			wake = WAKE;
		if (wake == WAKE)
			*waiting = 0;
	}
	int failed = records.ringbuf_output(record, length, wake);
	if (failed)
		count_loss(LOST_RECORD);
	return failed;
}

#endif
