/* cap_capable(cred, ns, cap, opts), for kernels without a tracepoint in it: the question at its beginning, the
 * verdict at its end. */

BPF_TABLE("lru_hash", u64, u32, questions, 1024);

int before_cap_capable(struct pt_regs *ctx)
{
	if (!current_standing())
		return 0;
	u64 thread = bpf_get_current_pid_tgid();
	u32 capability = PEEK(u32, ctx, AT_FUNCTION_ARG2);
	questions.update(&thread, &capability);
	return 0;
}

int after_cap_capable(struct pt_regs *ctx)
{
	u32 standing = current_standing();
	u64 thread = bpf_get_current_pid_tgid();
	u32 *capability = standing ? questions.lookup(&thread) : NULL;
	if (!capability)
		return 0;
	judged(standing, *capability, PEEK(u32, ctx, AT_FUNCTION_RESULT) != 0);
	questions.delete(&thread);
	return 0;
}
