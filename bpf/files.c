/* sys_exit: what system calls reached for, by path; and when the runtime's seccomp filter goes on.
 *
 * All at exit: the path's page may not be there at entry, the arguments still are in pt_regs, and the result tells
 * which file it was. */

BPF_ARRAY(calls, struct call_shape, CALL_NUMBERS);

#define NO_SUCH_CALL 38 /* ENOSYS */
#define BAD_ADDRESS 14  /* EFAULT */
#define INTERRUPTED 4   /* EINTR */
#define AT_THE_CWD -100 /* AT_FDCWD */
#define WORDS (TEXT_SIZE / 8)

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
	return hash ^ (hash >> 29);
}

/* Over whole words: what is left of an older text behind the end is cleared first. */
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

static __always_inline u64 identity(kernel_ptr dentry)
{
	kernel_ptr inode = PEEK(u64, dentry, AT_DENTRY_INODE);
	return mix(PEEK(u64, inode, AT_INODE_INO), device_of(dentry));
}

/* One name of one call, as the program gave it, relative to a descriptor or the working directory: the first
 * time for its own sake, a second time for the other name of rename, link and their kin. Goes on to the walk when
 * this was never told before. */
int take_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job();
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	u32 index = record->call;
	struct call_shape *shape = calls.lookup(&index);
	if (!shape)
		return 0;
	u16 path_at = job->second_name ? shape->path2 : shape->path;
	u16 dirfd_at = job->second_name ? shape->dirfd2 : shape->dirfd;
	job->names_left = !job->second_name && shape->path2 != NO_ARGUMENT;
	job->second_name = 1;
	u64 address = PEEK(u64, job->regs, path_at);
	if (!address) /* utimensat(fd, NULL) and its kin: the descriptor alone */
		return 0;
	int length = bpf_probe_read_user_str(job->text, TEXT_SIZE + 1, (void *)address);
	if (length <= 1) { /* unreadable, or empty as in fstat's newfstatat(fd, "") */
		if (length < 0 && job->result != -BAD_ADDRESS)
			count_loss(LOST_TEXT);
		return 0;
	}
	int too_long = length > TEXT_SIZE;
	u32 asked = too_long ? TEXT_SIZE - 1 : (length - 1) & (TEXT_SIZE - 1);

	kernel_ptr task = bpf_get_current_task();
	kernel_ptr fs = PEEK(u64, task, AT_TASK_FS);
	struct place root = place_at(fs + AT_FS_ROOT);
	struct place base = {}; /* stays so where dirfd is no descriptor */
	int absolute = job->text[0] == '/';
	int dirfd = dirfd_at == NO_ARGUMENT ? AT_THE_CWD : PEEK(u32, job->regs, dirfd_at);
	if (absolute) {
		base = root; /* a process may have changed its root */
	} else if (dirfd == AT_THE_CWD) {
		base = place_at(fs + AT_FS_PWD);
	} else {
		kernel_ptr directory = file_of(task, dirfd);
		if (directory)
			base = place_at(directory + AT_FILE_PATH);
	}
	record->ino = 0;
	record->dev = 0;
	record->file_mode = 0;
	job->opened.dentry = 0;
	record->head.flags = too_long ? FLAG_TRUNCATED : 0;
	if (shape->opens && job->result >= 0) {
		kernel_ptr file = file_of(task, job->result);
		if (file)
			job->opened = place_at(file + AT_FILE_PATH);
	}
	if (index == NR_CHDIR || index == NR_CHROOT) {
		u64 thread = bpf_get_current_pid_tgid();
		struct place *left = departures.lookup(&thread);
		if (left && absolute == (index == NR_CHROOT))
			base = *left;
		if (job->result == 0)
			job->opened = place_at(fs + (index == NR_CHDIR ? AT_FS_PWD : AT_FS_ROOT));
	}
	if (job->opened.dentry) {
		kernel_ptr inode = PEEK(u64, job->opened.dentry, AT_DENTRY_INODE);
		record->ino = PEEK(u64, inode, AT_INODE_INO);
		record->file_mode = PEEK(u16, inode, AT_INODE_MODE);
		record->dev = device_of(job->opened.dentry);
		record->head.flags |= FLAG_OPENED;
		if (is_foreign(record->dev, root.dentry))
			record->head.flags |= FLAG_FOREIGN;
	}
	job->based = base.dentry != 0;
	job->key.text = mix(hash_text(job, asked), absolute ? root.dentry : identity(base.dentry));
	job->key.file = mix(mix(record->ino, record->dev),
			    record->open_flags << 32 | (u64)record->call << 16 | (u64)record->head.origin << 15 |
				    (u64)((-record->error) & 0xfff));
	if (told.lookup(&job->key)) {
		if (job->names_left)
			steps.call(ctx, STEP_NAME);
		return 0;
	}
	u8 one = 1;
	told.update(&job->key, &one);
	record->asked_length = asked;
	job->cursor = asked;
	job->base_done = 0;
	walk_next(job, base);
	steps.call(ctx, STEP_WALK);
	count_loss(LOST_RECORD);
	return 0;
}

static __always_inline void filter_is_on(u32 pid, kernel_ptr regs, u64 number, struct standing standing)
{
	u64 first = PEEK(u64, regs, AT_ARG0);
	int by_seccomp = number == NR_SECCOMP && first == 1;                                /* SET_MODE_FILTER */
	int by_prctl = number == NR_PRCTL && first == 22 && PEEK(u64, regs, AT_ARG1) == 2; /* PR_SET_SECCOMP */
	if (by_seccomp || by_prctl) {
		standing.phase = PHASE_FILTERED;
		set_standing(pid, &standing);
	}
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	if (!in_scope())
		return 0;
	kernel_ptr regs = ctx->args[0];
	s64 result = ctx->args[1];
	u64 number = PEEK(u64, regs, AT_CALL_NUMBER);
	if (number >= CALL_NUMBERS)
		return 0;
	u32 pid = current_process();
	struct standing standing = standing_of(pid);
	if (result == -NO_SUCH_CALL && !other_abi())
		mark(REFUSED_ROWS + standing.origin * 3 + standing.phase, number);
	if (standing.phase == PHASE_RUNTIME && result == 0 && (number == NR_SECCOMP || number == NR_PRCTL))
		filter_is_on(pid, regs, number, standing);
	if (standing.phase != PHASE_APP)
		return 0;
	if (number == NR_LISTEN && result == 0)
		tell_unnamed(pid, standing);
	u32 index = number;
	struct call_shape *shape = calls.lookup(&index);
	if (!shape || !shape->known || (shape->known == KNOWN_BY_FAILURE && result >= 0))
		return 0;
	struct job *job = current_job();
	if (!job || other_abi())
		return 0;
	struct path_record *record = &job->record;
	record->open_flags = 0;
	if (shape->flags != NO_ARGUMENT)
		record->open_flags = PEEK(u64, regs, shape->flags);
	else if (shape->how != NO_ARGUMENT)
		bpf_probe_read_user(&record->open_flags, 8, (void *)PEEK(u64, regs, shape->how));
	record->head.type = RECORD_FILE;
	record->head.pid = pid;
	record->head.phase = standing.phase;
	record->head.origin = standing.origin;
	/* ERESTARTSYS and its kin (512 to 516): a signal came; they never reach a program */
	record->error = result < -511 && result > -517 ? -INTERRUPTED : result < 0 ? result : 0;
	record->call = number;
	record->unused = 0;
	job->args = 0;
	job->regs = regs;
	job->result = result;
	job->second_name = 0;
	job->walks = 0;
	steps.call(ctx, STEP_NAME);
	count_loss(LOST_RECORD);
	return 0;
}
