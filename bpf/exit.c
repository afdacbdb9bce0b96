/* sys_exit: where everything about a system call begins.
 *
 * One tracepoint for all: each tracepoint on system calls makes every call on the machine slower, and at exit there is
 * everything: number, arguments and result. Calls that do not come back are told otherwise: exit by process.c;
 * rt_sigreturn, which leaves no number, by that; one in which a task is killed does come back, before it dies. */

static __always_inline void take_arguments(struct job *job, kernel_ptr regs, u32 abi)
{
	if (COMPAT_REGISTERS && abi == ABI_COMPAT) {
		job->args[0] = FOLLOW(u32, regs, AT_COMPAT_ARG0);
		job->args[1] = FOLLOW(u32, regs, AT_COMPAT_ARG1);
		job->args[2] = FOLLOW(u32, regs, AT_COMPAT_ARG2);
		job->args[3] = FOLLOW(u32, regs, AT_COMPAT_ARG3);
		job->args[4] = FOLLOW(u32, regs, AT_COMPAT_ARG4);
		job->args[5] = FOLLOW(u32, regs, AT_COMPAT_ARG5);
		return;
	}
	job->args[0] = FOLLOW(u64, regs, AT_ARG0);
	job->args[1] = FOLLOW(u64, regs, AT_ARG1);
	job->args[2] = FOLLOW(u64, regs, AT_ARG2);
	job->args[3] = FOLLOW(u64, regs, AT_ARG3);
	job->args[4] = FOLLOW(u64, regs, AT_ARG4);
	job->args[5] = FOLLOW(u64, regs, AT_ARG5);
}

/* What a profile may depend on. A filter sees registers alone; of what lies in memory another thread can make something
 * else between the call and now. */
static __always_inline void note_first_argument(struct call_shape *shape, kernel_ptr regs, u32 abi, u32 row, u32 number)
{
	u64 value;
	if (COMPAT_REGISTERS && abi == ABI_COMPAT)
		value = FOLLOW(u32, regs, AT_COMPAT_ARG0);
	else
		value = FOLLOW(u64, regs, AT_ARG0);
	if (shape->behind) {
		u64 word = 0;
		if (bpf_probe_read_user(&word, sizeof(word), (void *)value))
			return;
		value = word;
	}
	note_value(row, number, value & shape->noted);
}

/* The runtime's call that puts a seccomp filter on makes it filtered. */
static __always_inline void filter_is_on(u32 *standing, struct job *job, u64 number)
{
	int by_seccomp = number == NR_SECCOMP && job->args[0] == 1;                       /* SET_MODE_FILTER */
	int by_prctl = number == NR_PRCTL && job->args[0] == 22 && job->args[1] == 2; /* PR_SET_SECCOMP */
	if (by_seccomp || by_prctl)
		*standing = in_phase(*standing, PHASE_FILTERED);
}

/* execve comes back in the program that it made, whose ABI may be another; it is a call of the one before. */
static __always_inline void mark_exec(u32 pid, u32 standing, u64 number)
{
	u32 abi = ABI_NATIVE;
	if (number == NR_COMPAT_EXECVE || number == NR_COMPAT_EXECVEAT)
		abi = ABI_COMPAT;
	else if (number != NR_EXECVE && number != NR_EXECVEAT)
		abi = ABI_X32;
	u32 row = row_of(abi, origin_of(standing), standing >> BEFORE_SHIFT & 3);
	mark(row, number & ~X32_BIT, pid, standing);
}

/* The registers that the call came with. A raw tracepoint gives them, perf's does not; to ask for them takes a helper.
 * This and `result_of` are all that is read of `ctx`, here and in each step from here on. */
static __always_inline kernel_ptr registers_at(struct bpf_raw_tracepoint_args *ctx, kernel_ptr task, int by_perf)
{
#if TYPED && !defined(CAST_FUNCTION)
	return registers_of(task);
#elif TYPED
	return by_perf ? registers_of(task) : AS(IS_PT_REGS, ctx->args[0]);
#else
	return ctx->args[0];
#endif
}

/* The result is in the registers too; 32-bit calls may have left it without its upper half. */
static __always_inline s64 result_of(struct bpf_raw_tracepoint_args *ctx, kernel_ptr regs, u32 abi)
{
#if TYPED
	s64 result = FOLLOW(u64, regs, AT_FUNCTION_RESULT);
	return abi == ABI_COMPAT && (u32)result >= (u32)-MOST_ERRORS ? (s32)result : result;
#else
	return ctx->args[1];
#endif
}

#if TYPED && defined(AT_TASK_MIGRATION_DISABLED)
/* Whether a program on a raw tracepoint can be preempted: then it is kept on its processor meanwhile (migrate_disable),
 * else preemption is off and that is not necessary (kernel/trace/bpf_trace.c, __bpf_trace_run). */
BPF_ARRAY(preemption, u32, 1);

int ask_preemption(struct bpf_raw_tracepoint_args *ctx)
{
	int zero = 0;
	u32 *answer = preemption.lookup(&zero);
	if (answer)
		*answer = FOLLOW(u16, current_task(), AT_TASK_MIGRATION_DISABLED) != 0;
	return 0;
}
#endif

static __always_inline int take_call(struct bpf_raw_tracepoint_args *ctx, int by_perf)
{
	kernel_ptr task = current_task();
	u32 pid = FOLLOW(u32, task, AT_TASK_TGID);
	u32 *standing = standing_of(pid);
	if (!standing || !*standing)
		return 0;
	u32 now = *standing;
	kernel_ptr regs = registers_at(ctx, task, by_perf);
	u32 number = FOLLOW(u32, regs, AT_CALL_NUMBER);
	if (now & EXECUTED) {
		*standing = now & ~EXECUTED;
		mark_exec(pid, now, number);
		return 0;
	}
	u32 abi = abi_of(task, number == -1 ? 0 : number);
	s64 result = result_of(ctx, regs, abi);
	if (number == -1)
		number = abi == ABI_COMPAT ? NR_COMPAT_RT_SIGRETURN : NR_RT_SIGRETURN;
	else if (abi == ABI_X32)
		number &= ~X32_BIT;
	u32 row = row_of(abi, origin_of(now), phase_of(now));
	mark(row + (result == -NO_SUCH_CALL ? REFUSED_ROWS : 0), number, pid, now);
	if (number >= CALL_NUMBERS || result == -NO_SUCH_CALL) /* of the latter nobody saw the arguments */
		return 0;
	u32 index = abi * CALL_NUMBERS + number;
	struct call_shape *shape = calls.lookup(&index);
	if (!shape || !shape->act)
		return 0;
	if (shape->noted && phase_of(now) != PHASE_RUNTIME)
		note_first_argument(shape, regs, abi, row, number);
	if (shape->act == ACT_VALUE)
		return 0;
	if (phase_of(now) != PHASE_APP && shape->act != ACT_FILTER)
		return 0;
	if (result < 0 ? shape->outcome >= OUTCOME_SUCCESS : shape->outcome == OUTCOME_FAILURE)
		return 0;
	if (!result && shape->outcome == OUTCOME_SOMETHING)
		return 0;
	struct job *job = current_job(OF_CALL);
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
			filter_is_on(standing, job, number);
		return 0;
	}
	if (shape->act == ACT_PLACES) {
		remember_places(PEEK(u64, bpf_get_current_task(), AT_TASK_FS));
		return 0;
	}
	if (shape->act == ACT_LISTEN) {
		tell_unnamed(pid, now);
		return 0;
	}
	struct path_record *record = &job->record;
	record->open_flags = 0;
	if (shape->act == ACT_NAME && shape->flags != NO_ARGUMENT)
		record->open_flags = argument(job, shape->flags);
	else if (shape->act == ACT_NAME && shape->how != NO_ARGUMENT)
		bpf_probe_read_user(&record->open_flags, 8, (void *)argument(job, shape->how));
	sign(&record->head, RECORD_FILE, pid, now);
	/* ERESTARTSYS and its kin (512 to 516): a signal came; they never reach a program */
	record->error = result < -511 && result > -517 ? -INTERRUPTED : result < 0 ? result : 0;
	record->call = number;
	record->abi = abi;
	job->exec_args = 0;
	job->result = result;
	job->second_name = 0;
	job->walks = 0;
	job->standing = now;
	if (shape->act == ACT_DESCRIPTOR)
		go_on(ctx, OF_CALL, STEP_DESCRIPTOR);
	else if (shape->act == ACT_SOCKET)
		go_on(ctx, OF_CALL, STEP_SOCKET);
	else
		go_on(ctx, OF_CALL, STEP_NAME);
	count_loss(LOST_RECORD);
	return 0;
}

int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return take_call(ctx, 0);
}

#if TYPED
/* The same on perf's raw_syscalls:sys_exit. */
int on_sys_exit_by_perf(struct bpf_raw_tracepoint_args *ctx)
{
	return take_call(ctx, 1);
}
#endif
