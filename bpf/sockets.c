/* Sockets: made, bound, connected, sent from to an address; and through inet_sock_set_state a TCP socket of the
 * container that begins to listen, in the task that calls listen(2). */

#define STATE_LISTEN 10 /* TCP_LISTEN, include/net/tcp_states.h */
#define FAMILY_INET 2
#define FAMILY_INET6 10
#define NO_SOCKET 88 /* ENOTSOCK */
#define KIND_MASK 15 /* SOCK_TYPE_MASK, include/linux/net.h */

static __always_inline void tell_socket(struct job *job, struct socket_record *record)
{
	struct path_record *call = &job->record;
	sign(&record->head, RECORD_SOCKET, call->head.pid, job->standing);
	record->head.length = sizeof(*record);
	record->call = call->call;
	record->abi = call->abi;
	record->error = call->error;
	u64 *address = (u64 *)record->address;
	u64 what = (u64)record->call << 48 | (u64)record->family << 32 | record->kind << 16 | record->protocol;
	u64 where = (u64)record->port << 32 | (u32)record->error;
	u64 who = job->standing & ~(u64)(IN_SCOPE | EXECUTED | 7 << BEFORE_SHIFT);
	struct seen_key key = {
		.text = mix(mix(what, address[0]), address[1]),
		.file = mix(mix(~0ULL, where), who),
	};
	if (was_told(&key, own_set(&key)))
		return;
	if (hand_over(record, sizeof(*record), LET_SLEEP))
		untell(&key, own_set(&key));
}

/* socket(2) and socketpair(2). */
int take_socket(struct bpf_raw_tracepoint_args *ctx)
{
	struct job *job = current_job(OF_CALL);
	if (!job)
		return 0;
	struct socket_record record = {
		.family = job->args[0],
		.kind = job->args[1] & KIND_MASK,
		.protocol = job->args[2],
	};
	tell_socket(job, &record);
	return 0;
}

/* An address at `address` in user space that `fd` was bound to, connected or sent to. */
static __always_inline void tell_address(struct job *job, u32 fd, u16 family, u64 address, u64 length)
{
	struct socket_record record = {.family = family};
	if (job->result == -NO_SOCKET)
		return;
	kernel_ptr file = file_of(current_task(), fd);
	kernel_ptr socket = file ? PEEK(u64, file, AT_FILE_PRIVATE) : 0;
	if (!socket)
		return;
	record.kind = PEEK(u16, socket, AT_SOCKET_TYPE);
	kernel_ptr sock = PEEK(u64, socket, AT_SOCKET_SK);
	record.protocol = PEEK(u16, sock, AT_SOCK_PROTOCOL);
	u16 port = 0;
	if (family == FAMILY_INET && length >= 8) {
		bpf_probe_read_user(&port, 2, (void *)address + 2);
		bpf_probe_read_user(record.address, 4, (void *)address + 4);
	} else if (family == FAMILY_INET6 && length >= 24) {
		bpf_probe_read_user(&port, 2, (void *)address + 2);
		bpf_probe_read_user(record.address, 16, (void *)address + 8);
	}
	record.port = (u16)(port >> 8 | port << 8);
	tell_socket(job, &record);
}

/* A socket that was never bound gets its port after this tracepoint: it is told when listen(2) returns. */
BPF_TABLE("lru_hash", u64, kernel_ptr, unnamed, 1024);

static __always_inline void tell_listen(u32 pid, u32 standing, kernel_ptr sock)
{
	struct listen_record record = {
		.head = {.length = sizeof(record)},
		.family = PEEK(u16, sock, AT_SOCK_FAMILY),
		.port = PEEK(u16, sock, AT_SOCK_PORT),
	};
	sign(&record.head, RECORD_LISTEN, pid, standing);
	if (record.family == FAMILY_INET6)
		bpf_probe_read_kernel(record.address, 16, (void *)sock + AT_SOCK_ADDRESS6);
	else
		bpf_probe_read_kernel(record.address, 4, (void *)sock + AT_SOCK_ADDRESS4);
	hand_over(&record, sizeof(record), WAKE);
}

static __always_inline void tell_unnamed(u32 pid, u32 standing)
{
	u64 thread = bpf_get_current_pid_tgid();
	kernel_ptr *sock = unnamed.lookup(&thread);
	if (!sock)
		return;
	tell_listen(pid, standing, *sock);
	unnamed.delete(&thread);
}

int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	if ((int)ctx->args[2] != STATE_LISTEN)
		return 0;
	u32 standing = current_standing();
	if (!standing)
		return 0;
	kernel_ptr sock = ctx->args[0];
	u64 thread = bpf_get_current_pid_tgid();
	if (PEEK(u16, sock, AT_SOCK_PORT))
		tell_listen(current_process(), standing, sock);
	else
		unnamed.update(&thread, &sock);
	return 0;
}
