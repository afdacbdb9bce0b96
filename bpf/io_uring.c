/* io_uring: requests are not system calls. Each is marked by its operation when it is submitted. A request that names a
 * file holds the kernel's copy of the name by then, from which it is reported; its result is not known. */

#ifdef IO_URING_REQUEST
/* by operation, filled from slimtrace/observe/kernel/io_uring.py */
BPF_ARRAY(io_uring_shapes, struct io_uring_shape, 256);

int take_io_uring_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(JOB_IO_URING);
	if (!job)
		return 0;
	int second = job->second_name;
	u32 name_at = second ? job->request_shape.name2 : job->request_shape.name;
	u32 dirfd_at = second ? job->request_shape.dirfd2 : job->request_shape.dirfd;
	kernel_ptr request = job->args[0];
	job->names_left = !second && job->request_shape.name2;
	job->second_name = 1;
	kernel_ptr name = PEEK(u64, PEEK(u64, request, name_at), AT_FILENAME_NAME);
	int length = bpf_probe_read_kernel_str(job->text, TEXT_SIZE, (void *)name);
	if (length > 1) {
		begin_record(job, 0);
		if (find_base(job, current_task(), dirfd_at ? PEEK(u32, request, dirfd_at) : AT_FDCWD))
			report_name(ctx, job, JOB_IO_URING, (length - 1) & (TEXT_SIZE - 1));
	} else {
		count_loss(LOST_TEXT);
	}
	if (job->names_left)
		tail_call(ctx, JOB_IO_URING, STEP_IO_URING);
	return 0;
}

int walk_io_uring(struct bpf_raw_tracepoint_args *ctx)
{
	return walk(ctx, JOB_IO_URING, WALK_FEWER_NAMES);
}

int finish_io_uring(struct bpf_raw_tracepoint_args *ctx)
{
	return finish(ctx, JOB_IO_URING);
}
#endif

/* The tracepoint has had several names and arguments; slimtrace/observe/kernel/running_kernel.py finds them in the
 * BTF. */
int on_io_uring(struct bpf_raw_tracepoint_args *ctx)
{
	u32 state = current_process_state();
	if (!state)
		return 0;
#ifdef IO_URING_REQUEST
	kernel_ptr request = ctx->args[IO_URING_REQUEST];
	u32 operation = PEEK(u8, request, AT_KIOCB_OPCODE);
#else
	u32 operation = ctx->args[IO_URING_OPERATION] & 0xff;
#endif
	mark_syscall(IO_URING_ROWS + origin_of(state) * 3 + phase_of(state), operation, current_process(), state);
#ifdef IO_URING_REQUEST
	struct io_uring_shape *shape = io_uring_shapes.lookup(&operation);
	struct job *job = current_job(JOB_IO_URING);
	if (phase_of(state) != PHASE_APP || !shape || !shape->known || !job)
		return 0;
	job->request_shape = *shape;
	job->args[0] = request;
	struct path_record *record = &job->record;
	fill_head(&record->head, RECORD_FILE, current_process(), state);
	record->open_flags = shape->flags ? PEEK(u32, request, shape->flags) : 0;
	record->error = 0;
	record->call = operation;
	record->abi = ABI_IO_URING;
	job->exec_args = 0;
	job->result = 0;
	job->second_name = 0;
	job->walks = 0;
	job->state = state;
	tail_call(ctx, JOB_IO_URING, STEP_IO_URING);
	count_loss(LOST_RECORD);
#endif
	return 0;
}
