/* Sockets that are made, bound, connected, or that something is sent from to an address; and through
 * inet_sock_set_state a TCP socket of the container that begins to listen, in the task that calls listen(2). */

#define TCP_LISTEN 10 /* include/net/tcp_states.h */
#define AF_INET 2 /* include/linux/socket.h */
#define AF_INET6 10
#define ENOTSOCK 88 /* asm-generic/errno.h */
#define SOCK_TYPE_MASK 15 /* include/linux/net.h */

static __always_inline void report_socket(struct job *job, struct socket_record *record)
{
	struct path_record *call = &job->record;
	fill_head(&record->head, RECORD_SOCKET, call->head.pid, job->state);
	record->head.length = sizeof(*record);
	record->call = call->call;
	record->abi = call->abi;
	record->error = call->error;
	u64 *address = (u64 *)record->address;
	u64 what = (u64)record->call << 48 | (u64)record->family << 32 | record->kind << 16 | record->protocol;
	u64 where = (u64)record->port << 32 | (u32)record->error;
	u64 who = job->state & ~(u64)(WATCHED | IN_EXECVE | 7 << EARLIER_PHASE_SHIFT);
	struct fact_key key = {
		.text = mix(mix(what, address[0]), address[1]),
		.file = mix(mix(~0ULL, where), who),
	};
	if (was_reported(&key, own_set(&key)))
		return;
	if (hand_over(record, sizeof(*record), LET_SLEEP))
		forget_reported(&key, own_set(&key));
}

/* socket(2) and socketpair(2). */
int take_socket(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(JOB_SYSCALL);
	if (!job)
		return 0;
	struct socket_record record = {
		.family = job->args[0],
		.kind = job->args[1] & SOCK_TYPE_MASK,
		.protocol = job->args[2],
	};
	report_socket(job, &record);
	return 0;
}

/* Report the socket address at `address` in user space, to which `fd` was bound, connected or sent. */
static __always_inline void report_address(struct job *job, u32 fd, u16 family, u64 address, u64 length)
{
	struct socket_record record = {.family = family};
	if (job->result == -ENOTSOCK)
		return;
	kernel_ptr file = file_of(current_task(), fd);
	kernel_ptr socket = file ? PEEK(u64, file, AT_FILE_PRIVATE) : 0;
	if (!socket)
		return;
	record.kind = PEEK(u16, socket, AT_SOCKET_TYPE);
	kernel_ptr sock = PEEK(u64, socket, AT_SOCKET_SK);
	record.protocol = PEEK(u16, sock, AT_SOCK_PROTOCOL);
	u16 port = 0;
	if (family == AF_INET && length >= 8) {
		bpf_probe_read_user(&port, 2, (void *)address + 2);
		bpf_probe_read_user(record.address, 4, (void *)address + 4);
	} else if (family == AF_INET6 && length >= 24) {
		bpf_probe_read_user(&port, 2, (void *)address + 2);
		bpf_probe_read_user(record.address, 16, (void *)address + 8);
	}
	record.port = (u16)(port >> 8 | port << 8);
	report_socket(job, &record);
}

/* Thread -> the socket on which it calls listen(2) without having bound it. Such a socket gets its port after the
 * tracepoint: it is reported when listen(2) returns. */
BPF_TABLE("lru_hash", u64, kernel_ptr, unbound_sockets, 1024);

static __always_inline void report_listen(u32 pid, u32 state, kernel_ptr sock)
{
	struct listen_record record = {
		.head = {.length = sizeof(record)},
		.family = PEEK(u16, sock, AT_SOCK_FAMILY),
		.port = PEEK(u16, sock, AT_SOCK_PORT),
	};
	fill_head(&record.head, RECORD_LISTEN, pid, state);
	if (record.family == AF_INET6)
		bpf_probe_read_kernel(record.address, 16, (void *)sock + AT_SOCK_ADDRESS6);
	else
		bpf_probe_read_kernel(record.address, 4, (void *)sock + AT_SOCK_ADDRESS4);
	hand_over(&record, sizeof(record), WAKE);
}

static __always_inline void report_unbound_listen(u32 pid, u32 state)
{
	u64 thread = bpf_get_current_pid_tgid();
	kernel_ptr *sock = unbound_sockets.lookup(&thread);
	if (!sock)
		return;
	report_listen(pid, state, *sock);
	unbound_sockets.delete(&thread);
}

int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	if ((int)ctx->args[2] != TCP_LISTEN)
		return 0;
	u32 state = current_process_state();
	if (!state)
		return 0;
	kernel_ptr sock = ctx->args[0];
	u64 thread = bpf_get_current_pid_tgid();
	if (PEEK(u16, sock, AT_SOCK_PORT))
		report_listen(current_process(), state, sock);
	else
		unbound_sockets.update(&thread, &sock);
	return 0;
}
