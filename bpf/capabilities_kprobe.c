/* cap_capable(cred, ns, cap, opts), for kernels without a tracepoint in it: the question at its beginning, the
 * verdict at its end. */

BPF_TABLE("lru_hash", u64, u32, questions, 1024);

int kprobe__cap_capable(struct pt_regs *ctx)
{
	if (!in_scope())
		return 0;
	u64 thread = bpf_get_current_pid_tgid();
	u32 capability = PEEK(u32, ctx, AT_FUNCTION_ARG2);
	questions.update(&thread, &capability);
	return 0;
}

int kretprobe__cap_capable(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 *capability = questions.lookup(&thread);
	if (!capability)
		return 0;
	judged(*capability, PEEK(u32, ctx, AT_FUNCTION_RESULT) != 0);
	questions.delete(&thread);
	return 0;
}
