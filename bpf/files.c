/* The files that system calls reached for: by path, by descriptor, by the path in a socket's address.
 *
 * All is read at exit: the path's page may not be there at entry, the arguments still are in pt_regs, and the result
 * tells which file it was. */

BPF_ARRAY(call_shapes, struct call_shape, 3 * CALL_NUMBERS); /* abi * CALL_NUMBERS + number */

#define MAX_ERRNO 4095 /* include/linux/err.h */
#define ENOSYS 38      /* asm-generic/errno.h */
#define EFAULT 14      /* asm-generic/errno-base.h */
#define EINTR 4
#define AT_FDCWD -100 /* uapi/linux/fcntl.h */

static __always_inline struct call_shape *shape_of(struct path_record *record)
{
	u32 index = record->abi * CALL_NUMBERS + record->call;
	return call_shapes.lookup(&index);
}

static __always_inline u64 argument(struct job *job, u32 position)
{
	return job->args[position & 7];
}

/* Whether the job's fact was reported before; if not it is remembered, since it is about to be reported. The fact is
 * about `name` in `directory`, as far as that can be known: facts about one directory's files lie together
 * (scope.h). */
static __always_inline int is_repeat(struct job *job, u64 text, u64 directory, u64 name)
{
	struct path_record *record = &job->record;
	u64 file = job->opened.dentry ? file_identity(&job->opened, job->opened_name) : 0;
	u64 how = record->open_flags << 32 | record->call << 16 | record->abi << 12 | ((-record->error) & 0xfff);
	u64 who = job->state & ~(u64)(WATCHED | IN_EXECVE | 7 << EARLIER_PHASE_SHIFT);
	job->key.text = text ? text : 1;
	job->key.file = mix(mix(file, how), who);
	job->near = near_set(mix(directory, who), name);
	return was_reported(&job->key, job->near);
}

static __always_inline void begin_record(struct job *job, u32 flags)
{
	struct path_record *record = &job->record;
	record->head.flags = flags;
	record->ino = 0;
	record->dev = 0;
	record->magic = 0;
	record->file_mode = 0;
	record->base_length = 0;
	record->asked_length = 0;
	job->opened.dentry = 0;
}

/* A text of `asked` bytes and the directory that it is relative to are known: walk, unless that was reported before. */
static __always_inline int report_name(struct bpf_raw_tracepoint_args *ctx, struct job *job, u32 kind, u32 asked)
{
	job->based = job->base.dentry != 0;
	u64 base = job->based ? file_identity(&job->base, job->base_name) : 0;
	u64 text = hash_text(job, asked);
	if (is_repeat(job, mix(text, base), job->text[0] == '/' ? text : job->base.dentry, text))
		return 0;
	job->record.asked_length = asked;
	job->cursor = asked;
	job->base_done = 0;
	start_walk(job, &job->base);
	tail_call(ctx, kind, STEP_WALK + kind);
	count_loss(LOST_RECORD);
	return 0;
}

/* Put the directory that the text is relative to into job->base: the root, the working directory, or `dirfd`. Gives
 * whether the task still has a root and a working directory. */
static __always_inline int find_base(struct job *job, kernel_ptr task, int dirfd)
{
	kernel_ptr fs = LOAD(u64, task, AT_TASK_FS);
	if (!fs) /* a thread at its end */
		return 0;
	if (job->text[0] == '/') {
		READ_BASE(job, fs, AT_FS_ROOT); /* a process may have changed its root */
	} else if (dirfd == AT_FDCWD) {
		READ_BASE(job, fs, AT_FS_PWD);
	} else {
		kernel_ptr directory = file_of(task, dirfd);
		if (directory)
			job->base_name = read_file_path(&job->base, directory);
		else
			job->base.dentry = 0; /* dirfd is no descriptor */
	}
	return 1;
}

/* For a call that changed the working directory or the root: its path was relative to what these were before. */
static __always_inline void take_root_and_pwd_before(struct job *job, u8 what)
{
	kernel_ptr fs = PEEK(u64, bpf_get_current_task(), AT_TASK_FS);
	struct root_and_pwd *left = fs_before_chdir.lookup(&fs);
	int absolute = job->text[0] == '/';
	if (left) {
		job->base = absolute ? left->root : left->pwd;
		job->base_name = 0;
	} else if (what & (absolute ? 2 : 1)) {
		job->base.dentry = 0; /* the task's is the new one by now, and the old one is not known */
	}
	if (what != 3) {
		job->opened = read_vfs_path(fs + (what == 1 ? AT_FS_PWD : AT_FS_ROOT));
		job->opened_name = PEEK(u32, job->opened.dentry, AT_DENTRY_NAME + AT_QSTR_HASH);
	}
	if (!job->names_left)
		remember_root_and_pwd(fs);
}

/* Report the file behind descriptor `fd`, without a path. */
static __always_inline int report_descriptor(struct bpf_raw_tracepoint_args *ctx, struct job *job, u32 fd)
{
	begin_record(job, 0);
	job->names_left = 0;
	kernel_ptr file = file_of(current_task(), fd);
	if (!file)
		return 0;
	job->opened_name = read_file_path(&job->opened, file);
	/* through memory: what the verifier reads back from there is to it a number, which can be hashed */
	*(volatile u64 *)&job->parent = LOAD_CAST(u64, CAST(BTF_ID_DENTRY, job->opened.dentry), AT_DENTRY_PARENT);
	if (is_repeat(job, 0, *(volatile u64 *)&job->parent, job->opened_name << 32))
		return 0;
	job->based = 0;
	job->text[0] = '/'; /* there is no text that could be relative to a directory */
	job->cursor = 0;
	job->base_done = 1;
	start_walk(job, &job->opened);
	tail_call(ctx, JOB_SYSCALL, STEP_WALK);
	count_loss(LOST_RECORD);
	return 0;
}

int take_descriptor(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(JOB_SYSCALL);
	if (!job)
		return 0;
	struct call_shape *shape = shape_of(&job->record);
	if (!shape)
		return 0;
	if (shape->fs_change)
		remember_root_and_pwd(PEEK(u64, bpf_get_current_task(), AT_TASK_FS));
	return report_descriptor(ctx, job, shape->opens ? job->result : argument(job, shape->dirfd));
}

#define AF_UNIX 1 /* include/linux/socket.h */
#define UNIX_PATH_MAX 108 /* uapi/linux/un.h */

/* Where the path in the address of a socket is, and in `limit` how long it can be at most; 0 where the address has no
 * path. Another family's address is reported at once. */
static __always_inline u64 path_in_address(struct job *job, struct call_shape *shape, u64 address, u32 *limit)
{
	u64 length = argument(job, shape->flags);
	if (shape->how != NO_ARGUMENT) { /* a struct msghdr, which begins with the address and its length */
		u64 header[2] = {};
		bpf_probe_read_user(header, sizeof(header), (void *)address);
		address = header[0];
		length = header[1] & 0xffffffff;
		if (job->record.abi == ABI_COMPAT) {
			length = header[0] >> 32;
			address &= 0xffffffff;
		}
	}
	u16 family = 0;
	if (!address || length < 3 || bpf_probe_read_user(&family, sizeof(family), (void *)address))
		return 0;
	if (family != AF_UNIX) {
		report_address(job, argument(job, shape->dirfd), family, address, length);
		return 0;
	}
	char first = 0;
	bpf_probe_read_user(&first, 1, (void *)address + 2);
	if (!first) /* an abstract name, without a file (unix(7)) */
		return 0;
	*limit = (length - 2 < UNIX_PATH_MAX ? length - 2 : UNIX_PATH_MAX) + 1;
	return address + 2;
}

/* One path of one call, as the program gave it, relative to a descriptor or the working directory. For rename, link and
 * their kin this runs a second time, for their other path. */
int take_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(JOB_SYSCALL);
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	struct call_shape *shape = shape_of(record);
	if (!shape)
		return 0;
	int second = job->second_name;
	u32 path_at = second ? shape->path2 : shape->path;
	u32 dirfd_at = second ? shape->dirfd2 : shape->dirfd;
	job->names_left = !second && shape->path2 != NO_ARGUMENT;
	job->second_name = 1;
	u64 address = argument(job, path_at);
	u32 limit = TEXT_SIZE + 1;
	if (shape->act == ACT_ADDRESS) {
		address = path_in_address(job, shape, address, &limit);
		dirfd_at = NO_ARGUMENT;
		if (!address)
			return 0;
	}
	if (limit > TEXT_SIZE + 1)
		return 0;
	int length = address ? bpf_probe_read_user_str(job->text, limit, (void *)address) : 1;
	if (length <= 1) { /* unreadable; or none, or empty as in fstat's newfstatat(fd, "") */
		if (length < 0 && job->result != -EFAULT)
			count_loss(LOST_TEXT);
		/* for an empty text most kernels give 0, younger ones count its NUL as that of any other */
		if (length >= 0 && shape->empty_path && job->result >= 0)
			return report_descriptor(ctx, job, argument(job, dirfd_at));
		if (job->names_left)
			tail_call(ctx, JOB_SYSCALL, STEP_NAME);
		return 0;
	}
	int too_long = length > TEXT_SIZE;
	u32 asked = too_long ? TEXT_SIZE - 1 : (length - 1) & (TEXT_SIZE - 1);
	begin_record(job, too_long ? FLAG_TRUNCATED : 0);

	kernel_ptr task = current_task();
	if (!find_base(job, task, dirfd_at == NO_ARGUMENT ? AT_FDCWD : argument(job, dirfd_at)))
		return 0;
	if (shape->opens && job->result >= 0) {
		kernel_ptr file = file_of(task, job->result);
		if (file)
			job->opened_name = read_file_path(&job->opened, file);
	}
	if (shape->fs_change && job->result == 0)
		take_root_and_pwd_before(job, shape->fs_change);
	report_name(ctx, job, JOB_SYSCALL, asked);
	if (job->names_left) /* this name was reported before, the other may not have been */
		tail_call(ctx, JOB_SYSCALL, STEP_NAME);
	return 0;
}
