/* From a path that a program named to a record: look whether it was reported before, walk, hand over.
 *
 * The path of a directory or an open file is taken from the kernel's own tree: dentry by dentry, mount by mount, up
 * to the root of the mount namespace, which is the container's root also for a process that has changed its own root.
 * dirfd, working directory, symlinks, bind mounts and chroot are right by construction. What d_path (fs/d_path.c,
 * prepend_path) does under locks is done here without them: a rename in the middle can give a path that never was.
 *
 * The work is split into programs that call one another by tail call, with the job kept in per-CPU memory: each stays
 * small for the verifier, and a deep path is walked WALK_NAMES names at a time. */

#define NAME_SIZE 256       /* NAME_MAX and the NUL */
#define TEXT_SIZE 4096      /* PATH_MAX */
#define STRINGS_SIZE 16384  /* a power of two: the cursor is masked with it */
#define CURSOR_MASK (STRINGS_SIZE - 1)
#define WALK_NAMES 160 /* names that one step of a walk takes */
#define WALK_FEWER_NAMES 48 /* where a path of 1,024 names is enough: the verifier takes its time for each name */
#define MAX_WALKS 28 /* steps for one system call: two paths of 2,048 names, as many as fit into 4,095 bytes */

/* What a job is for: a system call, an execve, an io_uring request. Each kind has memory and steps of its own. From
 * Linux 7.0 on (commit a46023d5616e) a program on a raw tracepoint can be preempted, and a program on another
 * tracepoint run meanwhile; never the same program: the kernel leaves that run out and counts it. See README.md for
 * what is done about it. */
enum job_kind { JOB_SYSCALL, JOB_EXEC, JOB_IO_URING, JOBS };
enum step {
	STEP_NAME,
	STEP_DESCRIPTOR,
	STEP_SOCKET,
	STEP_IO_URING,
	STEP_WALK,
	STEP_FINISH = STEP_WALK + JOBS,
	STEPS = STEP_FINISH + JOBS,
};
BPF_PROG_ARRAY(steps, STEPS);
BPF_PROG_ARRAY(syscall_steps, STEPS); /* an array holds programs of one type, and a system call's may be of another */

struct vfs_path { /* struct path of the kernel */
	kernel_ptr mnt;
	kernel_ptr dentry;
};

struct job {
	struct path_record record;
	char text[STRINGS_SIZE + TEXT_SIZE]; /* a write may start at the last masked position */
	u64 args[8]; /* the call's arguments */
	struct io_uring_shape request_shape;
	struct vfs_path base;
	u64 base_name; /* hash of the base's own name */
	struct vfs_path opened;
	u64 opened_name; /* hash of the opened file's own name */
	kernel_ptr parent; /* of a file that is reached by a descriptor alone */
	/* what is still to walk, and how far it has come */
	kernel_ptr mount;
	kernel_ptr dentry;
	u32 cursor;
	u32 base_done;
	/* what to do at the end */
	struct fact_key key; /* in `reported_facts` */
	u32 near;            /* and its set there */
	u64 exec_args; /* bytes of the arguments of an executed program */
	s64 result;
	u32 state;
	u32 walks;      /* tail calls of walk() so far, over both paths */
	u8 based;       /* the directory that the text is relative to is known */
	u8 second_name; /* the call's second path is next, or being reported */
	u8 names_left;  /* the call's second path is still to be reported */
};
BPF_PERCPU_ARRAY(job_scratch, struct job, JOBS);

static __always_inline struct job *current_job(u32 kind)
{
	return job_scratch.lookup(&kind);
}

static __always_inline void tail_call(struct bpf_raw_tracepoint_args *ctx, u32 kind, u32 step)
{
	if (kind == JOB_SYSCALL)
		syscall_steps.call(ctx, step);
	else
		steps.call(ctx, step);
}

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

#define WORDS (TEXT_SIZE / 8)

/* A hash over whole words: what is left of an older text behind the end is cleared first. */
static __always_inline u64 hash_text(struct job *job, u32 length)
{
	u64 hash = length;
	*(u64 *)&job->text[length & (TEXT_SIZE - 1)] = 0;
#pragma clang loop unroll(disable)
	for (u32 word = 0; word < WORDS; word++) {
		if (word * 8 >= length)
			break;
		hash = mix(hash, *(u64 *)&job->text[word * 8]);
	}
	return hash;
}

/* A hash that tells a file from all others for as long as it is remembered. A dentry's memory may come to be another's,
 * so `name` counts too, the kernel's hash over the parent's address and the file's name (fs/namei.c, hash_name). Only
 * these 32 bits of it are read: with the length behind them they are another member of a union (hash_len), and some
 * verifiers look at the first member only (6.1's does). */
static __always_inline u64 file_identity(struct vfs_path *path, u64 name)
{
	return mix(mix(path->dentry, path->mnt), name);
}

static __always_inline struct vfs_path read_vfs_path(kernel_ptr address)
{
	struct vfs_path path = {};
	bpf_probe_read_kernel(&path, sizeof(path), (void *)address);
	return path;
}

/* Put the working directory (AT_FS_PWD) or the root (AT_FS_ROOT) of `fs`, the current task's, into the job. */
#define READ_BASE(job, fs, which)                                                               \
	do {                                                                                    \
		kernel_ptr _dentry = LOAD(u64, fs, (which) + AT_PATH_DENTRY);                   \
		(job)->base.mnt = LOAD(u64, fs, (which) + AT_PATH_MNT);                         \
		(job)->base.dentry = _dentry;                                                   \
		(job)->base_name = _dentry ? LOAD(u32, _dentry, AT_DENTRY_NAME + AT_QSTR_HASH) : 0; \
	} while (0)

/* Put where an open file is into `path`. Gives the hash of its name. */
static __always_inline u64 read_file_path(struct vfs_path *path, kernel_ptr file)
{
	kernel_ptr dentry = LOAD_CAST(u64, file, AT_FILE_PATH + AT_PATH_DENTRY);
	path->mnt = LOAD_CAST(u64, file, AT_FILE_PATH + AT_PATH_MNT);
	path->dentry = dentry;
	return dentry ? LOAD_CAST(u32, dentry, AT_DENTRY_NAME + AT_QSTR_HASH) : 0;
}

static __always_inline void start_walk(struct job *job, struct vfs_path *path)
{
	job->mount = path->mnt - AT_MOUNT_MNT;
	job->dentry = path->dentry;
}

/* chdir and chroot are looked at when they are done, and then the directory that their path was relative to is no
 * longer the task's. So the root and working directory of each struct fs_struct are kept here, from the task's fork,
 * exec and each of these calls on. A directory that is kept here can be gone only if it was removed. */
struct root_and_pwd {
	struct vfs_path root;
	struct vfs_path pwd;
};
BPF_TABLE("lru_hash", kernel_ptr, struct root_and_pwd, fs_before_chdir, 8192);

static __always_inline void remember_root_and_pwd(kernel_ptr fs)
{
	struct root_and_pwd now = {};
#if AT_FS_PWD == AT_FS_ROOT + 16
	bpf_probe_read_kernel(&now, sizeof(now), (void *)fs + AT_FS_ROOT);
#else
	now.root = read_vfs_path(fs + AT_FS_ROOT);
	now.pwd = read_vfs_path(fs + AT_FS_PWD);
#endif
	fs_before_chdir.update(&fs, &now);
}

/* Whether the walk has to end here, so that what was walked can still be reported: the kernel follows 33 tail calls
 * (MAX_TAIL_CALL_CNT, include/linux/bpf.h) and no more. */
static __always_inline int out_of_walks(struct job *job)
{
	return ++job->walks >= (job->names_left ? MAX_WALKS / 2 : MAX_WALKS);
}

/* The members of a dentry that are read at once. A short name lies in the dentry itself. */
#define SHORT_NAME 32 /* DNAME_INLINE_LEN of the kernel that has the least */
struct name_and_parent {
	kernel_ptr parent;
	u32 hash;
	u32 length;
	kernel_ptr name;
	kernel_ptr inode;
	u64 short_name[SHORT_NAME / 8];
};

static __always_inline void read_dentry(struct name_and_parent *found, kernel_ptr dentry)
{
#if DENTRY_AT_ONCE
	bpf_probe_read_kernel(found, sizeof(*found), (void *)dentry + AT_DENTRY_PARENT);
#else
	found->parent = PEEK(u64, dentry, AT_DENTRY_PARENT);
	found->name = PEEK(u64, dentry, AT_DENTRY_NAME + AT_QSTR_NAME);
#endif
}

static __always_inline int append_name(struct job *job, u32 cursor, kernel_ptr dentry, struct name_and_parent *found)
{
#if DENTRY_AT_ONCE
	if (found->length < SHORT_NAME && found->name == dentry + AT_DENTRY_INODE + 8) {
#pragma unroll
		for (int word = 0; word < SHORT_NAME / 8; word++)
			*(u64 *)&job->text[(cursor & CURSOR_MASK) + word * 8] = found->short_name[word];
		return found->length + 1;
	}
#endif
	return bpf_probe_read_kernel_str(&job->text[cursor & CURSOR_MASK], NAME_SIZE, (void *)found->name);
}

/* Appends the names from job->dentry upwards, leaf first. */
static __always_inline int walk(struct bpf_raw_tracepoint_args *ctx, u32 kind, int names)
{
	struct job *job = current_job(kind);
	if (!job)
		return 0;
	kernel_ptr mount = job->mount;
	kernel_ptr dentry = job->dentry;
	kernel_ptr top = PEEK(u64, mount, AT_MOUNT_MNT + AT_VFSMOUNT_ROOT);
	u32 cursor = job->cursor & CURSOR_MASK;
	int at_root = 0;
	struct name_and_parent found = {};
#pragma clang loop unroll(disable)
	for (int turn = 0; turn < names; turn++) {
		read_dentry(&found, dentry);
		if (dentry == top || dentry == found.parent) {
			kernel_ptr above = PEEK(u64, mount, AT_MOUNT_PARENT);
			if (above == mount || !above) {
				at_root = 1;
				break;
			}
			dentry = PEEK(u64, mount, AT_MOUNT_MOUNTPOINT);
			mount = above;
			top = PEEK(u64, mount, AT_MOUNT_MNT + AT_VFSMOUNT_ROOT);
		} else {
			int length = append_name(job, cursor, dentry, &found);
			if (length <= 0 || cursor > STRINGS_SIZE - 2 * NAME_SIZE) {
				job->record.head.flags |= FLAG_TRUNCATED;
				at_root = 1;
				break;
			}
			cursor = (cursor + length) & CURSOR_MASK;
			dentry = found.parent;
		}
	}
	job->cursor = cursor;
	if (!at_root) {
		job->mount = mount;
		job->dentry = dentry;
		if (!out_of_walks(job))
			tail_call(ctx, kind, STEP_WALK + kind);
		job->record.head.flags |= FLAG_TRUNCATED;
	}
	if (!job->base_done) {
		job->base_done = 1;
		job->record.base_length = cursor - job->record.asked_length;
		if (job->opened.dentry) {
			start_walk(job, &job->opened);
			if (!out_of_walks(job))
				tail_call(ctx, kind, STEP_WALK + kind);
			job->record.head.flags |= FLAG_TRUNCATED;
		}
	}
	tail_call(ctx, kind, STEP_FINISH + kind);
	count_loss(LOST_RECORD);
	return 0;
}

/* Put into the record what the opened file's inode and file system say. */
static __always_inline void describe_opened(struct job *job, kernel_ptr root)
{
	struct path_record *record = &job->record;
	kernel_ptr dentry = job->opened.dentry;
	kernel_ptr inode = PEEK(u64, dentry, AT_DENTRY_INODE);
	kernel_ptr sb = PEEK(u64, dentry, AT_DENTRY_SB);
	record->ino = PEEK(u64, inode, AT_INODE_INO);
	record->file_mode = PEEK(u16, inode, AT_INODE_MODE);
	record->dev = PEEK(u32, sb, AT_SB_DEV);
	record->magic = PEEK(u64, sb, AT_SB_MAGIC);
	record->head.flags |= FLAG_OPENED;
	if (is_foreign(record->dev, root))
		record->head.flags |= FLAG_FOREIGN;
	/* not in the kernel's table of names: unlinked, unless it is a root (d_unhashed, IS_ROOT) */
	if (!PEEK(u64, dentry, AT_DENTRY_HASHED) && PEEK(u64, dentry, AT_DENTRY_PARENT) != dentry)
		record->head.flags |= FLAG_DELETED;
}

/* An absolute path under the container's own root needs no base: nothing was walked for it. */
static __always_inline void mark_base(struct job *job)
{
	if (job->record.base_length || (job->based && job->text[0] != '/'))
		job->record.head.flags |= FLAG_BASED;
}

static __always_inline int finish(struct bpf_raw_tracepoint_args *ctx, u32 kind)
{
	struct job *job = current_job(kind);
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	kernel_ptr task = bpf_get_current_task();
	u32 end = job->cursor & CURSOR_MASK;
	record->resolved_length = end - record->asked_length - record->base_length;
	mark_base(job);
	if (job->opened.dentry) {
		kernel_ptr fs = PEEK(u64, task, AT_TASK_FS);
		describe_opened(job, PEEK(u64, fs, AT_FS_ROOT + AT_PATH_DENTRY));
	}
	u32 args = job->exec_args & (TEXT_SIZE - 1);
	if (args) {
		kernel_ptr mm = PEEK(u64, task, AT_TASK_MM);
		if (bpf_probe_read_user(&job->text[end], args, (void *)PEEK(u64, mm, AT_MM_ARG_START)))
			args = 0;
	}
	record->args_length = args;
	u64 size = sizeof(*record) + ((end + args) & (2 * STRINGS_SIZE - 1));
	if (size > sizeof(*record) + STRINGS_SIZE + TEXT_SIZE)
		return 0;
	record->head.length = size;
	if (hand_over(record, size, LET_SLEEP) && record->head.type == RECORD_FILE)
		forget_reported(&job->key, job->near);
	if (job->names_left)
		tail_call(ctx, kind, kind == JOB_IO_URING ? STEP_IO_URING : STEP_NAME);
	return 0;
}

int walk_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	return walk(ctx, JOB_SYSCALL, WALK_NAMES);
}

int walk_exec(struct bpf_raw_tracepoint_args *ctx)
{
	return walk(ctx, JOB_EXEC, WALK_FEWER_NAMES);
}

int finish_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	return finish(ctx, JOB_SYSCALL);
}

int finish_exec(struct bpf_raw_tracepoint_args *ctx)
{
	return finish(ctx, JOB_EXEC);
}
