/* io_uring: requests are not system calls. Each is marked by its operation when it is submitted; one that names a file
 * holds the kernel's copy of the name by then, and is told by that. What becomes of it is not known. */

#ifdef RING_REQUEST
BPF_ARRAY(rings, struct ring_shape, 256); /* by operation, filled from slimtrace/observe/kernel/io_uring.py */

int take_ring_name(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(OF_RING);
	if (!job)
		return 0;
	int second = job->second_name;
	u32 name_at = second ? job->ring.name2 : job->ring.name;
	u32 dirfd_at = second ? job->ring.dirfd2 : job->ring.dirfd;
	kernel_ptr request = job->args[0];
	job->names_left = !second && job->ring.name2;
	job->second_name = 1;
	kernel_ptr name = PEEK(u64, PEEK(u64, request, name_at), AT_FILENAME_NAME);
	int length = bpf_probe_read_kernel_str(job->text, TEXT_SIZE, (void *)name);
	if (length > 1) {
		begin_record(job, 0);
		if (relate(job, current_task(), dirfd_at ? PEEK(u32, request, dirfd_at) : AT_THE_CWD))
			tell_name(ctx, job, OF_RING, (length - 1) & (TEXT_SIZE - 1));
	} else {
		count_loss(LOST_TEXT);
	}
	if (job->names_left)
		go_on(ctx, OF_RING, STEP_RING);
	return 0;
}

int walk_of_ring(struct bpf_raw_tracepoint_args *ctx)
{
	return walk(ctx, OF_RING, WALK_FEWER_NAMES);
}

int finish_ring(struct bpf_raw_tracepoint_args *ctx)
{
	return finish(ctx, OF_RING);
}
#endif

/* The tracepoint has had several names and arguments; slimtrace/observe/kernel/running_kernel.py finds them in the BTF. */
int on_io_uring(struct bpf_raw_tracepoint_args *ctx)
{
	u32 standing = current_standing();
	if (!standing)
		return 0;
#ifdef RING_REQUEST
	kernel_ptr request = ctx->args[RING_REQUEST];
	u32 operation = PEEK(u8, request, AT_RING_OPERATION);
#else
	u32 operation = ctx->args[RING_OPERATION] & 0xff;
#endif
	mark(RING_ROWS + origin_of(standing) * 3 + phase_of(standing), operation, current_process(), standing);
#ifdef RING_REQUEST
	struct ring_shape *shape = rings.lookup(&operation);
	struct job *job = current_job(OF_RING);
	if (phase_of(standing) != PHASE_APP || !shape || !shape->known || !job)
		return 0;
	job->ring = *shape;
	job->args[0] = request;
	struct path_record *record = &job->record;
	sign(&record->head, RECORD_FILE, current_process(), standing);
	record->open_flags = shape->flags ? PEEK(u32, request, shape->flags) : 0;
	record->error = 0;
	record->call = operation;
	record->abi = ABI_RING;
	job->exec_args = 0;
	job->result = 0;
	job->second_name = 0;
	job->walks = 0;
	job->standing = standing;
	go_on(ctx, OF_RING, STEP_RING);
	count_loss(LOST_RECORD);
#endif
	return 0;
}
