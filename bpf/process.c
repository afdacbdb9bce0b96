/* Processes: fork hands the standing on, exec turns the runtime into the program, exit forgets. */

RAW_TRACEPOINT_PROBE(sched_process_fork)
{
	if (!in_scope())
		return 0;
	u32 parent = PEEK(u32, ctx->args[0], AT_TASK_TGID);
	u32 child = PEEK(u32, ctx->args[1], AT_TASK_TGID);
	if (parent == child) /* a thread */
		return 0;
	struct standing *known = standings.lookup(&parent);
	if (!known)
		return 0;
	struct standing copy = *known;
	set_standing(child, &copy);
	struct fork_record record = {
		.head = {.type = RECORD_FORK, .pid = parent, .phase = copy.phase, .origin = copy.origin,
			 .length = sizeof(record)},
		.child = child,
	};
	hand_over(&record, sizeof(record));
	return 0;
}

/* The runtime itself may execute (runc's copy of its own binary) before it enters the container: it is then still
 * in the mount namespace it came from. Without a seccomp filter this is the only sign. */
static __always_inline int enters_program(struct standing standing, kernel_ptr task)
{
	if (standing.phase != PHASE_RUNTIME)
		return 1;
	struct session *now = session();
	u32 ns = mount_namespace(task);
	return now && ns != now->creator_ns && ns != now->host_ns;
}

RAW_TRACEPOINT_PROBE(sched_process_exec)
{
	if (!in_scope())
		return 0;
	kernel_ptr task = ctx->args[0];
	kernel_ptr program = ctx->args[2];
	u32 pid = current_process();
	struct standing standing = standing_of(pid);
	if (!enters_program(standing, task))
		return 0;
	kernel_ptr fs = PEEK(u64, task, AT_TASK_FS);
	struct place root = place_at(fs + AT_FS_ROOT);
	if (standing.phase != PHASE_APP) {
		standing.phase = PHASE_APP;
		set_standing(pid, &standing);
		struct session *now = session();
		if (now && standing.origin == ORIGIN_CONTAINER && !now->started) {
			now->started = 1;
			now->root_dev = device_of(root.dentry);
		}
	}

	struct job *job = current_job();
	if (!job)
		return 0;
	struct path_record *record = &job->record;
	kernel_ptr name = PEEK(u64, program, AT_BPRM_FILENAME);
	int length = bpf_probe_read_kernel_str(job->text, TEXT_SIZE, (void *)name);
	if (length <= 1)
		return 0;
	kernel_ptr mm = PEEK(u64, task, AT_TASK_MM);
	kernel_ptr parent = PEEK(u64, task, AT_TASK_PARENT);
	record->head.type = RECORD_EXEC;
	record->head.pid = pid;
	record->head.phase = standing.phase;
	record->head.origin = standing.origin;
	record->parent = PEEK(u32, parent, AT_TASK_TGID);
	record->error = 0;
	record->call = 0;
	record->open_flags = 0;
	record->asked_length = (length - 1) & (TEXT_SIZE - 1);
	job->opened = place_at(PEEK(u64, mm, AT_MM_EXE_FILE) + AT_FILE_PATH);
	record->head.flags = FLAG_OPENED;
	if (is_foreign(device_of(job->opened.dentry), root.dentry))
		record->head.flags |= FLAG_FOREIGN;
	job->args = PEEK(u64, mm, AT_MM_ARG_END) - PEEK(u64, mm, AT_MM_ARG_START);
	if (job->args > TEXT_SIZE - 1)
		job->args = TEXT_SIZE - 1;
	job->cursor = record->asked_length;
	job->base_done = 0;
	job->based = 1;
	job->walks = 0;
	job->names_left = 0;
	walk_next(job, job->text[0] == '/' ? root : place_at(fs + AT_FS_PWD));
	steps.call(ctx, STEP_WALK);
	count_loss(LOST_RECORD);
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_process_exit)
{
	if (!in_scope())
		return 0;
	kernel_ptr task = ctx->args[0];
	kernel_ptr signal = PEEK(u64, task, AT_TASK_SIGNAL);
	if (PEEK(u32, signal, AT_SIGNAL_LIVE) != 0) /* other threads of the process live on */
		return 0;
	u32 pid = current_process();
	struct standing *known = standings.lookup(&pid);
	if (!known)
		return 0;
	struct exit_record record = {
		.head = {.type = RECORD_EXIT, .pid = pid, .phase = known->phase, .origin = known->origin,
			 .length = sizeof(record)},
		.code = PEEK(u32, task, AT_TASK_EXIT_CODE),
	};
	standings.delete(&pid);
	hand_over(&record, sizeof(record));
	return 0;
}
