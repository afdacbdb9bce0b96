/* From a path that a program named to a record: remember, walk, hand over.
 *
 * The path of a directory or an open file is taken from the kernel's own tree: dentry by dentry, mount by mount, up
 * to the root of the mount namespace, which is the container's root also for a process that has changed its own.
 * dirfd, working directory, symlinks, bind mounts and chroot are right by construction. What d_path (fs/d_path.c,
 * prepend_path) does under locks is done here without: a rename in the middle can give a path that never was.
 *
 * The work is split into programs that call one another by tail call, with the job kept in per-CPU memory: each stays
 * small for the verifier, and a deep path is walked WALK_NAMES names at a time. */

#define NAME_SIZE 256       /* NAME_MAX and the NUL */
#define TEXT_SIZE 4096      /* PATH_MAX */
#define STRINGS_SIZE 16384  /* a power of two: the cursor is masked with it */
#define CURSOR_MASK (STRINGS_SIZE - 1)
#define WALK_NAMES 160 /* names that one call of walk() takes */
#define MOST_WALKS 28 /* of them for one system call: two paths of 2,048 names, as many as fit into 4,095 bytes */

enum step { STEP_NAME, STEP_WALK, STEP_FINISH };
BPF_PROG_ARRAY(steps, 4);

struct place { /* struct path of the kernel */
	kernel_ptr mnt;
	kernel_ptr dentry;
};

struct job {
	struct path_record record;
	char text[STRINGS_SIZE + TEXT_SIZE]; /* a write may start at the last masked position */
	/* what is still to walk, and how far it has come */
	kernel_ptr mount;
	kernel_ptr dentry;
	struct place opened;
	u32 cursor;
	u32 base_done;
	/* what to do at the end */
	struct seen_key key;
	u64 args;
	kernel_ptr regs;
	s64 result;
	u32 walks;      /* tail calls of walk() so far, over both names */
	u8 based;       /* the directory that the text is relative to is known */
	u8 second_name; /* the call's other name is next, or being told */
	u8 names_left;
};
BPF_PERCPU_ARRAY(jobs, struct job, 1);
/* LRU: when it overflows something is told twice, never not at all. */
BPF_TABLE("lru_hash", struct seen_key, u8, told, TOLD_SIZE);

static __always_inline struct job *current_job(void)
{
	int zero = 0;
	return jobs.lookup(&zero);
}

static __always_inline struct place place_at(kernel_ptr address)
{
	struct place place = {
		.mnt = PEEK(u64, address, AT_PATH_MNT),
		.dentry = PEEK(u64, address, AT_PATH_DENTRY),
	};
	return place;
}

static __always_inline void walk_next(struct job *job, struct place place)
{
	job->mount = place.mnt - AT_MOUNT_MNT;
	job->dentry = place.dentry;
}

/* chdir and chroot are looked at when they are done, and then what their path was relative to is no longer the
 * task's: it is kept from the call's beginning. Its directory can be gone by then only if it was removed. */
BPF_TABLE("lru_hash", u64, struct place, departures, 4096);

static __always_inline void remember_departure(u64 number)
{
	kernel_ptr fs = PEEK(u64, bpf_get_current_task(), AT_TASK_FS);
	struct place left = place_at(fs + (number == NR_CHDIR ? AT_FS_PWD : AT_FS_ROOT));
	u64 thread = bpf_get_current_pid_tgid();
	departures.update(&thread, &left);
}

/* Whether the walk has to end here, so that what was walked can still be told: the kernel follows 33 tail calls
 * (MAX_TAIL_CALL_CNT, include/linux/bpf.h) and no more. */
static __always_inline int out_of_walks(struct job *job)
{
	return ++job->walks >= (job->names_left ? MOST_WALKS / 2 : MOST_WALKS);
}

/* Appends the names from job->dentry upwards, leaf first. */
int walk(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job();
	if (!job)
		return 0;
	kernel_ptr mount = job->mount;
	kernel_ptr dentry = job->dentry;
	u32 cursor = job->cursor & CURSOR_MASK;
	int at_root = 0;
#pragma clang loop unroll(disable)
	for (int turn = 0; turn < WALK_NAMES; turn++) {
		kernel_ptr top = PEEK(u64, mount, AT_MOUNT_MNT + AT_VFSMOUNT_ROOT);
		kernel_ptr parent = PEEK(u64, dentry, AT_DENTRY_PARENT);
		if (dentry == top || dentry == parent) {
			kernel_ptr above = PEEK(u64, mount, AT_MOUNT_PARENT);
			if (above == mount || !above) {
				at_root = 1;
				break;
			}
			dentry = PEEK(u64, mount, AT_MOUNT_MOUNTPOINT);
			mount = above;
		} else {
			kernel_ptr name = PEEK(u64, dentry, AT_DENTRY_NAME + AT_QSTR_NAME);
			int length = bpf_probe_read_kernel_str(&job->text[cursor & CURSOR_MASK], NAME_SIZE,
							       (void *)name);
			if (length <= 0 || cursor > STRINGS_SIZE - 2 * NAME_SIZE) {
				job->record.head.flags |= FLAG_TRUNCATED;
				at_root = 1;
				break;
			}
			cursor = (cursor + length) & CURSOR_MASK;
			dentry = parent;
		}
	}
	job->cursor = cursor;
	if (!at_root) {
		job->mount = mount;
		job->dentry = dentry;
		if (!out_of_walks(job))
			steps.call(ctx, STEP_WALK);
		job->record.head.flags |= FLAG_TRUNCATED;
	}
	if (!job->base_done) {
		job->base_done = 1;
		job->record.base_length = cursor - job->record.asked_length;
		if (job->opened.dentry) {
			walk_next(job, job->opened);
			if (!out_of_walks(job))
				steps.call(ctx, STEP_WALK);
			job->record.head.flags |= FLAG_TRUNCATED;
		}
	}
	steps.call(ctx, STEP_FINISH);
	count_loss(LOST_RECORD);
	return 0;
}

/* An absolute path under the container's own root needs no base: nothing was walked for it. */
static __always_inline void mark_base(struct job *job)
{
	if (job->record.base_length || (job->based && job->text[0] != '/'))
		job->record.head.flags |= FLAG_BASED;
}

int finish(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job();
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	u32 end = job->cursor & CURSOR_MASK;
	record->resolved_length = end - record->asked_length - record->base_length;
	mark_base(job);
	u32 args = job->args & (TEXT_SIZE - 1);
	if (args) {
		kernel_ptr mm = PEEK(u64, bpf_get_current_task(), AT_TASK_MM);
		if (bpf_probe_read_user(&job->text[end], args, (void *)PEEK(u64, mm, AT_MM_ARG_START)))
			args = 0;
	}
	record->args_length = args;
	u64 size = sizeof(*record) + ((end + args) & (2 * STRINGS_SIZE - 1));
	if (size > sizeof(*record) + STRINGS_SIZE + TEXT_SIZE)
		return 0;
	record->head.length = size;
	if (hand_over(record, size) && record->head.type == RECORD_FILE)
		told.delete(&job->key); /* told again when it happens again */
	if (job->names_left)
		steps.call(ctx, STEP_NAME);
	return 0;
}
