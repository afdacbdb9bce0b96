/* What system calls reached for: by path, by descriptor, by the path in a socket's address.
 *
 * All at exit: the path's page may not be there at entry, the arguments still are in pt_regs, and the result tells
 * which file it was. */

BPF_ARRAY(calls, struct call_shape, 3 * CALL_NUMBERS); /* abi * CALL_NUMBERS + number */

#define MOST_ERRORS 4095 /* MAX_ERRNO, include/linux/err.h */
#define NO_SUCH_CALL 38 /* ENOSYS */
#define BAD_ADDRESS 14  /* EFAULT */
#define INTERRUPTED 4   /* EINTR */
#define AT_THE_CWD -100 /* AT_FDCWD */

static __always_inline struct call_shape *shape_of(struct path_record *record)
{
	u32 index = record->abi * CALL_NUMBERS + record->call;
	return calls.lookup(&index);
}

static __always_inline u64 argument(struct job *job, u32 position)
{
	return job->args[position & 7];
}

/* Whether this was told before; if not it is remembered, and about to be told. It is about `name` in the directory
 * `place`, as far as that can be known: what is said of a directory's files lies together (scope.h). */
static __always_inline int is_old(struct job *job, u64 text, u64 place, u64 name)
{
	struct path_record *record = &job->record;
	u64 file = job->opened.dentry ? identity(&job->opened, job->opened_name) : 0;
	u64 how = record->open_flags << 32 | record->call << 16 | record->abi << 12 | ((-record->error) & 0xfff);
	u64 who = job->standing & ~(u64)(IN_SCOPE | EXECUTED | 7 << BEFORE_SHIFT);
	job->key.text = text ? text : 1;
	job->key.file = mix(mix(file, how), who);
	job->near = near_set(mix(place, who), name);
	return was_told(&job->key, job->near);
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

/* A text of `asked` bytes and what it is relative to are known: walk, unless it was told before. */
static __always_inline int tell_name(struct bpf_raw_tracepoint_args *ctx, struct job *job, u32 of, u32 asked)
{
	job->based = job->base.dentry != 0;
	u64 base = job->based ? identity(&job->base, job->base_name) : 0;
	u64 text = hash_text(job, asked);
	if (is_old(job, mix(text, base), job->text[0] == '/' ? text : job->base.dentry, text))
		return 0;
	job->record.asked_length = asked;
	job->cursor = asked;
	job->base_done = 0;
	walk_next(job, &job->base);
	go_on(ctx, of, STEP_WALK + of);
	count_loss(LOST_RECORD);
	return 0;
}

/* The directory that the text is relative to, into job->base: the root, the working directory, or `dirfd`. Whether the
 * task still has such things. */
static __always_inline int relate(struct job *job, kernel_ptr task, int dirfd)
{
	kernel_ptr fs = FOLLOW(u64, task, AT_TASK_FS);
	if (!fs) /* a thread at its end */
		return 0;
	if (job->text[0] == '/') {
		TAKE_BASE(job, fs, AT_FS_ROOT); /* a process may have changed its root */
	} else if (dirfd == AT_THE_CWD) {
		TAKE_BASE(job, fs, AT_FS_PWD);
	} else {
		kernel_ptr directory = file_of(task, dirfd);
		if (directory)
			job->base_name = take_file(&job->base, directory);
		else
			job->base.dentry = 0; /* dirfd is no descriptor */
	}
	return 1;
}

/* A call that changed the working directory or the root: its path was relative to what these were before. */
static __always_inline void depart(struct job *job, u8 what)
{
	kernel_ptr fs = PEEK(u64, bpf_get_current_task(), AT_TASK_FS);
	struct places *left = departures.lookup(&fs);
	int absolute = job->text[0] == '/';
	if (left) {
		job->base = absolute ? left->root : left->pwd;
		job->base_name = 0;
	} else if (what & (absolute ? 2 : 1)) {
		job->base.dentry = 0; /* it is the new one by now, and the old one is not known */
	}
	if (what != 3) {
		job->opened = place_at(fs + (what == 1 ? AT_FS_PWD : AT_FS_ROOT));
		job->opened_name = PEEK(u32, job->opened.dentry, AT_DENTRY_NAME + AT_QSTR_HASH);
	}
	if (!job->names_left)
		remember_places(fs);
}

/* The file behind descriptor `fd` alone. */
static __always_inline int tell_descriptor(struct bpf_raw_tracepoint_args *ctx, struct job *job, u32 fd)
{
	begin_record(job, 0);
	job->names_left = 0;
	kernel_ptr file = file_of(current_task(), fd);
	if (!file)
		return 0;
	job->opened_name = take_file(&job->opened, file);
	/* through memory, behind which the verifier takes it for the number that it is to be here */
	*(volatile u64 *)&job->parent = LOOK(u64, AS(IS_DENTRY, job->opened.dentry), AT_DENTRY_PARENT);
	if (is_old(job, 0, *(volatile u64 *)&job->parent, job->opened_name << 32))
		return 0;
	job->based = 0;
	job->text[0] = '/'; /* no text: nothing to be relative to */
	job->cursor = 0;
	job->base_done = 1;
	walk_next(job, &job->opened);
	go_on(ctx, OF_CALL, STEP_WALK);
	count_loss(LOST_RECORD);
	return 0;
}

int take_descriptor(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(OF_CALL);
	if (!job)
		return 0;
	struct call_shape *shape = shape_of(&job->record);
	if (!shape)
		return 0;
	if (shape->places)
		remember_places(PEEK(u64, bpf_get_current_task(), AT_TASK_FS));
	return tell_descriptor(ctx, job, shape->opens ? job->result : argument(job, shape->dirfd));
}

#define UNIX 1 /* AF_UNIX */
#define UNIX_PATH 108

/* Where the path in the address of a socket is, and in `limit` how long it can be at most; 0 where the address has
 * none. Another family's address is told at once. */
static __always_inline u64 path_in_address(struct job *job, struct call_shape *shape, u64 address, u32 *limit)
{
	u64 length = argument(job, shape->flags);
	if (shape->how != NO_ARGUMENT) { /* a struct msghdr, which begins with the two */
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
	if (family != UNIX) {
		tell_address(job, argument(job, shape->dirfd), family, address, length);
		return 0;
	}
	char first = 0;
	bpf_probe_read_user(&first, 1, (void *)address + 2);
	if (!first) /* a name without a file */
		return 0;
	*limit = (length - 2 < UNIX_PATH ? length - 2 : UNIX_PATH) + 1;
	return address + 2;
}

/* One name of one call, as the program gave it, relative to a descriptor or the working directory: the first
 * time for its own sake, a second time for the other name of rename, link and their kin. */
int take_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(OF_CALL);
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
		if (length < 0 && job->result != -BAD_ADDRESS)
			count_loss(LOST_TEXT);
		/* of an empty text most kernels say 0, younger ones count its NUL as that of any other */
		if (length >= 0 && shape->bare && job->result >= 0)
			return tell_descriptor(ctx, job, argument(job, dirfd_at));
		if (job->names_left)
			go_on(ctx, OF_CALL, STEP_NAME);
		return 0;
	}
	int too_long = length > TEXT_SIZE;
	u32 asked = too_long ? TEXT_SIZE - 1 : (length - 1) & (TEXT_SIZE - 1);
	begin_record(job, too_long ? FLAG_TRUNCATED : 0);

	kernel_ptr task = current_task();
	if (!relate(job, task, dirfd_at == NO_ARGUMENT ? AT_THE_CWD : argument(job, dirfd_at)))
		return 0;
	if (shape->opens && job->result >= 0) {
		kernel_ptr file = file_of(task, job->result);
		if (file)
			job->opened_name = take_file(&job->opened, file);
	}
	if (shape->places && job->result == 0)
		depart(job, shape->places);
	tell_name(ctx, job, OF_CALL, asked);
	if (job->names_left) /* this name is old, the other may not be */
		go_on(ctx, OF_CALL, STEP_NAME);
	return 0;
}
