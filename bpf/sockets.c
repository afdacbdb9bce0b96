/* inet_sock_set_state: a TCP socket of the container begins to listen. It runs in the task that calls listen(2). */

#define STATE_LISTEN 10 /* TCP_LISTEN, include/net/tcp_states.h */
#define FAMILY_INET6 10

/* A socket that was never bound gets its port after this tracepoint: it is told when listen(2) returns. */
BPF_TABLE("lru_hash", u64, kernel_ptr, unnamed, 1024);

static __always_inline void tell_listen(u32 pid, struct standing standing, kernel_ptr sock)
{
	struct listen_record record = {
		.head = {.type = RECORD_LISTEN, .pid = pid, .phase = standing.phase, .origin = standing.origin,
			 .length = sizeof(record)},
		.family = PEEK(u16, sock, AT_SOCK_FAMILY),
		.port = PEEK(u16, sock, AT_SOCK_PORT),
	};
	if (record.family == FAMILY_INET6)
		bpf_probe_read_kernel(record.address, 16, (void *)sock + AT_SOCK_ADDRESS6);
	else
		bpf_probe_read_kernel(record.address, 4, (void *)sock + AT_SOCK_ADDRESS4);
	hand_over(&record, sizeof(record));
}

static __always_inline void tell_unnamed(u32 pid, struct standing standing)
{
	u64 thread = bpf_get_current_pid_tgid();
	kernel_ptr *sock = unnamed.lookup(&thread);
	if (!sock)
		return;
	tell_listen(pid, standing, *sock);
	unnamed.delete(&thread);
}

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
	if ((int)ctx->args[2] != STATE_LISTEN || !in_scope())
		return 0;
	kernel_ptr sock = ctx->args[0];
	u32 pid = current_process();
	u64 thread = bpf_get_current_pid_tgid();
	if (PEEK(u16, sock, AT_SOCK_PORT))
		tell_listen(pid, standing_of(pid), sock);
	else
		unnamed.update(&thread, &sock);
	return 0;
}
