/* Processes: fork hands the parent's state on to the child, exec turns the runtime into the container's program, exit
 * clears the state. */

int on_sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	kernel_ptr child_task = ctx->args[1];
	u32 parent = PEEK(u32, ctx->args[0], AT_TASK_TGID);
	u32 child = PEEK(u32, child_task, AT_TASK_TGID);
	u32 *known = process_state_of(parent);
	if (!known || !*known) {
		/* clone3 can put a child into a cgroup where its parent is not (CLONE_INTO_CGROUP) */
		if (parent != child && is_in_watched_cgroup(child_task))
			set_process_state(child, initial_state());
		return 0;
	}
	kernel_ptr fs = PEEK(u64, child_task, AT_TASK_FS);
	if (fs != PEEK(u64, ctx->args[0], AT_TASK_FS))
		remember_root_and_pwd(fs);
	if (parent == child) /* a thread */
		return 0;
	u32 state = *known & ~IN_EXECVE;
	set_process_state(child, state);
	if (phase_of(state) != PHASE_APP) /* a child of the runtime */
		return 0;
	struct fork_record record = {
		.head = {.length = sizeof(record)},
		.child = child,
	};
	fill_head(&record.head, RECORD_FORK, parent, state);
	hand_over(&record, sizeof(record), LET_SLEEP);
	return 0;
}

/* Whether an execve makes the process a program of the container. The runtime itself may execute (runc's copy of its
 * own binary) before it enters the container: it is then still in the mount namespace it came from. Without a seccomp
 * filter this is the only sign. */
static __always_inline int enters_program(u32 state, kernel_ptr task)
{
	if (phase_of(state) != PHASE_RUNTIME)
		return 1;
	struct session *now = session();
	u32 ns = mount_namespace(task);
	return now && ns != now->creator_ns && ns != now->host_ns;
}

/* The word of the process after its execve: it holds the program's 24 bits, and that the call is still to return. */
static __always_inline u32 state_after_exec(u32 state, u64 program)
{
	u32 before = phase_of(state);
	state = with_phase(state, PHASE_APP) & ((1 << EARLIER_PHASE_SHIFT) - 1);
	return state | IN_EXECVE | before << EARLIER_PHASE_SHIFT | (u32)(program >> 40) << PROGRAM_SHIFT;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	kernel_ptr task = ctx->args[0];
	u32 pid = current_process();
	u32 *known = process_state_of(pid);
	if (!known || !*known) {
		if (!is_in_watched_cgroup(task))
			return 0;
		set_process_state(pid, initial_state()); /* no tracepoint saw it come in */
		known = process_state_of(pid);
		if (!known)
			return 0;
	}
	u32 state = *known;
	if (!enters_program(state, task)) {
		*known = state | IN_EXECVE | phase_of(state) << EARLIER_PHASE_SHIFT;
		return 0;
	}
	kernel_ptr fs = PEEK(u64, task, AT_TASK_FS);
	struct vfs_path root = read_vfs_path(fs + AT_FS_ROOT);
	if (phase_of(state) != PHASE_APP) {
		struct session *now = session();
		if (now && origin_of(state) == ORIGIN_CONTAINER && !now->started) {
			now->started = 1;
			now->first = pid;
			now->root_dev = device_of(root.dentry);
		}
		remember_root_and_pwd(fs);
	}

	struct job *job = current_job(JOB_EXEC);
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	kernel_ptr program = ctx->args[2];
	kernel_ptr name = PEEK(u64, program, AT_BPRM_FILENAME);
	int length = bpf_probe_read_kernel_str(job->text, TEXT_SIZE, (void *)name);
	kernel_ptr mm = PEEK(u64, task, AT_TASK_MM);
	job->opened = read_vfs_path(PEEK(u64, mm, AT_MM_EXE_FILE) + AT_FILE_PATH);
	u32 asked = length > 1 ? (length - 1) & (TEXT_SIZE - 1) : 0;
	state = state_after_exec(state, mix(hash_text(job, asked), job->opened.dentry));
	*known = state;
	if (!asked)
		return 0;
	kernel_ptr parent = PEEK(u64, task, AT_TASK_PARENT);
	fill_head(&record->head, RECORD_EXEC, pid, state);
	record->head.flags = 0;
	record->parent = PEEK(u32, parent, AT_TASK_TGID);
	record->program = state >> PROGRAM_SHIFT;
	record->error = 0;
	record->call = 0;
	record->abi = 0;
	record->open_flags = 0;
	record->asked_length = asked;
	job->exec_args = PEEK(u64, mm, AT_MM_ARG_END) - PEEK(u64, mm, AT_MM_ARG_START);
	if (job->exec_args > TEXT_SIZE - 1)
		job->exec_args = TEXT_SIZE - 1;
	job->cursor = record->asked_length;
	job->base_done = 0;
	job->based = 1;
	job->walks = 0;
	job->names_left = 0;
	job->base = job->text[0] == '/' ? root : read_vfs_path(fs + AT_FS_PWD);
	start_walk(job, &job->base);
	tail_call(ctx, JOB_EXEC, STEP_WALK + JOB_EXEC);
	count_loss(LOST_RECORD);
	return 0;
}

/* exit and exit_group do not come back to sys_exit. Which of them a thread called its registers tell; or that it called
 * neither, as a thread that is killed and those that the kernel makes for io_uring. A seccomp filter that kills does so
 * in the call: before Linux 5.16 (commit d21918e5a94a) that call does not come back either. */
#define SIGSYS 31 /* asm-generic/signal.h */
#if PLAIN_LOADS
static __always_inline void mark_exit(kernel_ptr ending, u32 state, int last)
{
	kernel_ptr task = current_task();
	u32 number = LOAD(u32, registers_of(task), AT_CALL_NUMBER);
	u32 abi = abi_of(task, number);
	number &= ~X32_BIT;
	if (number == (abi == ABI_COMPAT ? NR_COMPAT_EXIT : NR_EXIT) ||
	    number == (abi == ABI_COMPAT ? NR_COMPAT_EXIT_GROUP : NR_EXIT_GROUP) ||
	    (PEEK(u32, ending, AT_TASK_EXIT_CODE) & 0x7f) == SIGSYS)
		mark_syscall(syscall_row_of(abi, origin_of(state), phase_of(state)), number, current_process(), state);
}
#else
/* Where the registers are not at hand: a thread that ends while others live has called exit, a process that was not
 * killed exit_group. */
#define PF_IO_WORKER 0x10 /* include/linux/sched.h: a thread that the kernel made for io_uring */
static __always_inline void mark_exit(kernel_ptr ending, u32 state, int last)
{
	if (PEEK(u32, ending, AT_TASK_EXIT_CODE) & 0x7f || PEEK(u32, ending, AT_TASK_FLAGS) & PF_IO_WORKER)
		return;
	u32 abi = abi_of(current_task(), 0);
	u32 number = abi == ABI_COMPAT ? (last ? NR_COMPAT_EXIT_GROUP : NR_COMPAT_EXIT) : (last ? NR_EXIT_GROUP : NR_EXIT);
	mark_syscall(syscall_row_of(abi, origin_of(state), phase_of(state)), number, current_process(), state);
}
#endif

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */
int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 pid = current_process();
	u32 *known = process_state_of(pid);
	if (!known || !*known)
		return 0;
	u32 state = *known;
	kernel_ptr task = ctx->args[0];
	kernel_ptr signal = PEEK(u64, task, AT_TASK_SIGNAL);
	int last = PEEK(u32, signal, AT_SIGNAL_LIVE) == 0; /* else other threads of the process live on */
	mark_exit(task, state, last);
	if (!last)
		return 0;
	*known = 0;
	if (phase_of(state) != PHASE_APP)
		return 0;
	/* of several threads that end at once any may come here last: the process's exit code goes before the thread's */
	int grouped = PEEK(u32, signal, AT_SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT;
	struct exit_record record = {
		.head = {.length = sizeof(record)},
		.code = grouped ? PEEK(u32, signal, AT_SIGNAL_GROUP_CODE) : PEEK(u32, task, AT_TASK_EXIT_CODE),
	};
	fill_head(&record.head, RECORD_EXIT, pid, state);
	struct session *now = session();
	hand_over(&record, sizeof(record), now && now->first == pid ? WAKE : LET_SLEEP);
	return 0;
}
