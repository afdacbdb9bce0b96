/* sys_exit: where everything about a system call begins.
 *
 * One tracepoint for all: each tracepoint on system calls makes every call on the machine slower, and at exit there is
 * everything: number, arguments and result. exit and exit_group do not come back: process.c sees them. rt_sigreturn
 * leaves no number, by which it is known. A call in which a task is killed does come back, before the task dies. */

static __always_inline void take_arguments(struct job *job, kernel_ptr regs, u32 abi)
{
	if (COMPAT_REGISTERS && abi == ABI_COMPAT) {
		job->args[0] = LOAD(u32, regs, AT_COMPAT_ARG0);
		job->args[1] = LOAD(u32, regs, AT_COMPAT_ARG1);
		job->args[2] = LOAD(u32, regs, AT_COMPAT_ARG2);
		job->args[3] = LOAD(u32, regs, AT_COMPAT_ARG3);
		job->args[4] = LOAD(u32, regs, AT_COMPAT_ARG4);
		job->args[5] = LOAD(u32, regs, AT_COMPAT_ARG5);
		return;
	}
	job->args[0] = LOAD(u64, regs, AT_ARG0);
	job->args[1] = LOAD(u64, regs, AT_ARG1);
	job->args[2] = LOAD(u64, regs, AT_ARG2);
	job->args[3] = LOAD(u64, regs, AT_ARG3);
	job->args[4] = LOAD(u64, regs, AT_ARG4);
	job->args[5] = LOAD(u64, regs, AT_ARG5);
}

/* The argument that a seccomp profile may depend on. A filter sees registers alone; what lies in memory another thread
 * can have changed between the call and now. */
static __always_inline void add_first_argument(struct call_shape *shape, kernel_ptr regs, u32 abi, u32 row, u32 number)
{
	u64 value;
	if (COMPAT_REGISTERS && abi == ABI_COMPAT)
		value = LOAD(u32, regs, AT_COMPAT_ARG0);
	else
		value = LOAD(u64, regs, AT_ARG0);
	if (shape->indirect) {
		u64 word = 0;
		if (bpf_probe_read_user(&word, sizeof(word), (void *)value))
			return;
		value = word;
	}
	add_argument_value(row, number, value & shape->value_bits);
}

/* The runtime's call that puts a seccomp filter on brings its process into PHASE_FILTERED. */
static __always_inline void filter_is_on(u32 *state, struct job *job, u64 number)
{
	int by_seccomp = number == NR_SECCOMP && job->args[0] == 1;                       /* SET_MODE_FILTER */
	int by_prctl = number == NR_PRCTL && job->args[0] == 22 && job->args[1] == 2; /* PR_SET_SECCOMP */
	if (by_seccomp || by_prctl)
		*state = with_phase(*state, PHASE_FILTERED);
}

/* execve comes back in the new program, whose ABI may be another; it counts as a call of the program before. */
static __always_inline void mark_exec(u32 pid, u32 state, u64 number)
{
	u32 abi = ABI_NATIVE;
	if (number == NR_COMPAT_EXECVE || number == NR_COMPAT_EXECVEAT)
		abi = ABI_COMPAT;
	else if (number != NR_EXECVE && number != NR_EXECVEAT)
		abi = ABI_X32;
	u32 row = syscall_row_of(abi, origin_of(state), state >> EARLIER_PHASE_SHIFT & 3);
	mark_syscall(row, number & ~X32_BIT, pid, state);
}

/* The registers that the call came with. A raw tracepoint gives them, perf's does not: there it takes a helper to get
 * them. `registers_at` and `result_of` are the only readers of `ctx`, here and in each step from here on. */
static __always_inline kernel_ptr registers_at(struct bpf_raw_tracepoint_args *ctx, kernel_ptr task, int by_perf)
{
#if PLAIN_LOADS && !defined(CAST_FUNCTION)
	return registers_of(task);
#elif PLAIN_LOADS
	return by_perf ? registers_of(task) : CAST(BTF_ID_PT_REGS, ctx->args[0]);
#else
	return ctx->args[0];
#endif
}

/* The call's result, which is in the registers too; 32-bit calls may have left it without its upper half. */
static __always_inline s64 result_of(struct bpf_raw_tracepoint_args *ctx, kernel_ptr regs, u32 abi)
{
#if PLAIN_LOADS
	s64 result = LOAD(u64, regs, AT_FUNCTION_RESULT);
	return abi == ABI_COMPAT && (u32)result >= (u32)-MAX_ERRNO ? (s32)result : result;
#else
	return ctx->args[1];
#endif
}

#if PLAIN_LOADS && defined(AT_TASK_MIGRATION_DISABLED)
/* Whether a program on a raw tracepoint can be preempted: if so the kernel keeps it on its processor meanwhile
 * (migrate_disable), else preemption is off and that is not necessary (kernel/trace/bpf_trace.c, __bpf_trace_run). */
BPF_ARRAY(preemption, u32, 1);

int ask_preemption(struct bpf_raw_tracepoint_args *ctx)
{
	int zero = 0;
	u32 *answer = preemption.lookup(&zero);
	if (answer)
		*answer = LOAD(u16, current_task(), AT_TASK_MIGRATION_DISABLED) != 0;
	return 0;
}
#endif

static __always_inline int take_call(struct bpf_raw_tracepoint_args *ctx, int by_perf)
{
	kernel_ptr task = current_task();
	u32 pid = LOAD(u32, task, AT_TASK_TGID);
	u32 *state = process_state_of(pid);
	if (!state || !*state)
		return 0;
	u32 now = *state;
	kernel_ptr regs = registers_at(ctx, task, by_perf);
	u32 number = LOAD(u32, regs, AT_CALL_NUMBER);
	if (now & IN_EXECVE) {
		*state = now & ~IN_EXECVE;
		mark_exec(pid, now, number);
		return 0;
	}
	u32 abi = abi_of(task, number == -1 ? 0 : number);
	s64 result = result_of(ctx, regs, abi);
	if (number == -1)
		number = abi == ABI_COMPAT ? NR_COMPAT_RT_SIGRETURN : NR_RT_SIGRETURN;
	else if (abi == ABI_X32)
		number &= ~X32_BIT;
	u32 row = syscall_row_of(abi, origin_of(now), phase_of(now));
	mark_syscall(row + (result == -ENOSYS ? REFUSED_ROWS : 0), number, pid, now);
	if (number >= CALL_NUMBERS || result == -ENOSYS) /* of a refused call nobody saw the arguments */
		return 0;
	u32 index = abi * CALL_NUMBERS + number;
	struct call_shape *shape = call_shapes.lookup(&index);
	if (!shape || !shape->act)
		return 0;
	if (shape->value_bits && phase_of(now) != PHASE_RUNTIME)
		add_first_argument(shape, regs, abi, row, number);
	if (shape->act == ACT_VALUE)
		return 0;
	if (phase_of(now) != PHASE_APP && shape->act != ACT_FILTER)
		return 0;
	if (result < 0 ? shape->outcome >= OUTCOME_SUCCESS : shape->outcome == OUTCOME_FAILURE)
		return 0;
	if (!result && shape->outcome == OUTCOME_SOMETHING)
		return 0;
	struct job *job = current_job(JOB_SYSCALL);
	if (!job)
		return 0;
	take_arguments(job, regs, abi);
	if (shape->needs != NO_ARGUMENT) {
		u64 needed = argument(job, shape->needs);
		if (!(shape->mask ? needed & shape->mask : needed))
			return 0;
	}
	if (shape->act == ACT_FILTER) {
		if (phase_of(now) == PHASE_RUNTIME)
			filter_is_on(state, job, number);
		return 0;
	}
	if (shape->act == ACT_FS) {
		remember_root_and_pwd(PEEK(u64, bpf_get_current_task(), AT_TASK_FS));
		return 0;
	}
	if (shape->act == ACT_LISTEN) {
		report_unbound_listen(pid, now);
		return 0;
	}
	struct path_record *record = &job->record;
	record->open_flags = 0;
	if (shape->act == ACT_NAME && shape->flags != NO_ARGUMENT)
		record->open_flags = argument(job, shape->flags);
	else if (shape->act == ACT_NAME && shape->how != NO_ARGUMENT)
		bpf_probe_read_user(&record->open_flags, 8, (void *)argument(job, shape->how));
	fill_head(&record->head, RECORD_FILE, pid, now);
	/* ERESTARTSYS and its kin (512 to 516): a signal interrupted the call; a program sees none of these */
	record->error = result < -511 && result > -517 ? -EINTR : result < 0 ? result : 0;
	record->call = number;
	record->abi = abi;
	job->exec_args = 0;
	job->result = result;
	job->second_name = 0;
	job->walks = 0;
	job->state = now;
	if (shape->act == ACT_DESCRIPTOR)
		tail_call(ctx, JOB_SYSCALL, STEP_DESCRIPTOR);
	else if (shape->act == ACT_SOCKET)
		tail_call(ctx, JOB_SYSCALL, STEP_SOCKET);
	else
		tail_call(ctx, JOB_SYSCALL, STEP_NAME);
	count_loss(LOST_RECORD);
	return 0;
}

int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return take_call(ctx, 0);
}

#if PLAIN_LOADS
/* The same as on_sys_exit, on perf's tracepoint raw_syscalls:sys_exit. */
int on_sys_exit_by_perf(struct bpf_raw_tracepoint_args *ctx)
{
	return take_call(ctx, 1);
}
#endif
