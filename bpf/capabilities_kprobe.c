/* cap_capable(cred, ns, cap, opts), for kernels without a tracepoint in it: the kprobe at its beginning sees the
 * capability, the kretprobe at its end the verdict. */

BPF_TABLE("lru_hash", u64, u32, pending_checks, 1024); /* thread -> the capability that is being checked */

int before_cap_capable(struct pt_regs *ctx)
{
	if (!current_process_state())
		return 0;
	u64 thread = bpf_get_current_pid_tgid();
	u32 capability = PEEK(u32, ctx, AT_FUNCTION_ARG2);
	pending_checks.update(&thread, &capability);
	return 0;
}

int after_cap_capable(struct pt_regs *ctx)
{
	u32 state = current_process_state();
	u64 thread = bpf_get_current_pid_tgid();
	u32 *capability = state ? pending_checks.lookup(&thread) : NULL;
	if (!capability)
		return 0;
	mark_capability(state, *capability, PEEK(u32, ctx, AT_FUNCTION_RESULT) != 0);
	pending_checks.delete(&thread);
	return 0;
}
