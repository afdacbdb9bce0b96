/* Which processes are watched, how far each has come, and what was reported of them.
 *
 * The container's cgroup enters `watched_cgroups` inside the kernel, when it is made (cgroup.c), so there is no moment
 * at which a process could be in it unseen. Nested cgroups follow in the same way. Whether a process is in one of them
 * is asked only when it may have come in: when it is moved, forked or executes. From then on one load tells:
 * `process_states` has a word for every process that the machine can have, and a system call of a process that is not
 * watched costs no more than that load. */
#ifndef SLIMTRACE_SCOPE_H
#define SLIMTRACE_SCOPE_H

struct needle { /* the first 16 characters of the container's id, which its cgroup is named by; see cgroup.c */
	u64 low;
	u64 high;
};

struct session {
	u32 started;      /* the container's program runs: a process that enters from now on is an exec */
	u32 creator_ns;   /* mount namespace of the runtime, which made the cgroup */
	u32 host_ns;      /* mount namespace of the host's pid 1 */
	u32 armed;        /* 0: no further cgroup is watched */
	u32 first;        /* the process that became the container's program */
	u32 unused;
	u64 root_dev;     /* device of the container's root file system; 0 until its program runs */
	struct needle needle;
};

/* A process's word in `process_states`. slimtrace/facts/wire.py knows the lowest four bits. */
#define WATCHED 1
#define PHASE_SHIFT 1
#define ORIGIN_SHIFT 3
#define IN_EXECVE 16    /* its execve has not returned yet */
#define EARLIER_PHASE_SHIFT 5 /* the phase that it was in before that execve */
#define PROGRAM_SHIFT 8 /* 24 bits that tell its program from others; 0 before it has one */

#define PIDS_PER_ROW 1024
struct process_state_row {
	u32 states[PIDS_PER_ROW];
};

#define MMAPABLE 1024 /* BPF_F_MMAPABLE */

BPF_HASH(watched_cgroups, u64, u8, 4096); /* cgroup id -> 1 */
BPF_F_TABLE("array", u32, struct process_state_row, process_states, PROCESS_STATE_ROWS, MMAPABLE);
BPF_ARRAY(sessions, struct session, 1);
BPF_ARRAY(losses, u64, 2);
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

enum loss {
	LOST_RECORD = 0, /* something happened of which no record could be handed over */
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

static __always_inline u32 phase_of(u32 state)
{
	return state >> PHASE_SHIFT & 3;
}

static __always_inline u32 origin_of(u32 state)
{
	return state >> ORIGIN_SHIFT & 1;
}

static __always_inline u32 with_phase(u32 state, u32 phase)
{
	return (state & ~(3u << PHASE_SHIFT)) | phase << PHASE_SHIFT;
}

/* Where the word of a process is; NULL for a pid beyond the pid_max at the time the programs were loaded. */
static __always_inline u32 *process_state_of(u32 pid)
{
	u32 row = pid / PIDS_PER_ROW;
	struct process_state_row *found = process_states.lookup(&row);
	return found ? &found->states[pid % PIDS_PER_ROW] : NULL;
}

static __always_inline u32 current_process(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* The word of the current process, 0 where it is not watched. */
static __always_inline u32 current_process_state(void)
{
	u32 *state = process_state_of(current_process());
	return state && *state & WATCHED ? *state : 0;
}

static __always_inline void set_process_state(u32 pid, u32 state)
{
	u32 *known = process_state_of(pid);
	if (known)
		*known = state;
	else
		count_loss(LOST_RECORD);
}

/* The word of a process that came in from outside: it is the runtime, setting the container or an exec up. */
static __always_inline u32 initial_state(void)
{
	struct session *now = session();
	u32 origin = now && now->started ? ORIGIN_EXEC : ORIGIN_CONTAINER;
	return WATCHED | PHASE_RUNTIME << PHASE_SHIFT | origin << ORIGIN_SHIFT;
}

static __always_inline void fill_head(struct record *head, u32 type, u32 pid, u32 state)
{
	head->type = type;
	head->pid = pid;
	head->phase = phase_of(state);
	head->origin = origin_of(state);
}

/* Whether a file on the device `dev` is no file of the container's own: it lies on a volume, /proc, a tmpfs. Until
 * the container's program runs, and in a container that was attached to, `dev` is compared with the device of the
 * process's root directory, which chroot may have changed. */
static __always_inline int is_foreign(u64 dev, kernel_ptr root)
{
	struct session *now = session();
	u64 own = now ? now->root_dev : 0;
	return dev != (own ? own : device_of(root));
}

/* The facts that were reported already, so that each is reported once: a set-associative cache whose sets are one cache
 * line each. The key of a fact is two hashes over all of it. It is kept in the set `near`, which lies close to those of
 * other facts about the same directory, or if that set is full in one of its own. A full set forgets one key: that fact
 * is then reported twice, never not at all. (An LRU hash would cost a helper call and several cache lines for each
 * lookup.) */
struct fact_key {
	u64 text;
	u64 file;
};
#define WAYS 4
struct fact_set {
	struct fact_key facts[WAYS];
};
BPF_ARRAY(reported_facts, struct fact_set, REPORTED_SETS); /* a power of two */

/* The set for facts about `name` in `directory`. The sets of one directory lie in four pages: the table is larger than
 * a processor's caches, and what has to be fetched from memory costs more than all the rest. */
#define SETS_PER_DIRECTORY 256
static __always_inline u32 near_set(u64 directory, u64 name)
{
	return (directory >> 32 & (REPORTED_SETS - 1) & ~(SETS_PER_DIRECTORY - 1)) |
	       (name >> 32 & (SETS_PER_DIRECTORY - 1));
}

static __always_inline u32 own_set(struct fact_key *key)
{
	return (key->text ^ key->file >> 32) & (REPORTED_SETS - 1);
}

/* The way of a set that has the key, else WAYS; `free` becomes a way that has no key, if there is any. */
static __always_inline u32 way_of(struct fact_set *set, struct fact_key *key, u32 *free)
{
#pragma unroll
	for (u32 way = 0; way < WAYS; way++) {
		if (set->facts[way].text == key->text && set->facts[way].file == key->file)
			return way;
		if (!set->facts[way].text)
			*free = way;
	}
	return WAYS;
}

/* Whether the fact was reported before; if not its key is remembered, since it is about to be reported. */
static __always_inline int was_reported(struct fact_key *key, u32 near)
{
	u32 own = own_set(key), free = WAYS, victim = key->file & (WAYS - 1);
	struct fact_set *set = reported_facts.lookup(&near);
	if (!set)
		return 0;
	if (way_of(set, key, &free) < WAYS)
		return 1;
	struct fact_set *other = reported_facts.lookup(&own);
	if (!other)
		return 0;
	if (way_of(other, key, &victim) < WAYS)
		return 1;
	if (free < WAYS)
		set->facts[free & (WAYS - 1)] = *key;
	else
		other->facts[victim & (WAYS - 1)] = *key;
	return 0;
}

/* The fact could not be reported: without its key it will be when it happens again. */
static __always_inline void forget_in_set(struct fact_key *key, u32 index)
{
	u32 ignored;
	struct fact_set *set = reported_facts.lookup(&index);
	u32 way = set ? way_of(set, key, &ignored) : WAYS;
	if (set && way < WAYS)
		set->facts[way & (WAYS - 1)].text = 0;
}

static __always_inline void forget_reported(struct fact_key *key, u32 near)
{
	forget_in_set(key, near);
	forget_in_set(key, own_set(key));
}

/* The reader is woken at once for what steers the recording. All else waits for its next look at the ring buffer, or
 * until there are WAKE_BYTES on one processor; waking it for every file would cost the container more than the rest. */
#define WAKE 2 /* BPF_RB_FORCE_WAKEUP */
#define LET_SLEEP 1 /* BPF_RB_NO_WAKEUP */
BPF_PERCPU_ARRAY(unread_bytes, u64, 1); /* handed over since the reader was woken last */

static __always_inline int hand_over(void *record, u64 length, u64 wake)
{
	int zero = 0;
	u64 *waiting = unread_bytes.lookup(&zero);
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
