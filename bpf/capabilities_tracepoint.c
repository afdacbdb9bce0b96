/* cap_capable(cred, target_ns, capable_ns, cap, ret): the kernel gives the verdict once it is reached. */

int on_cap_capable(struct bpf_raw_tracepoint_args *ctx)
{
	u32 state = current_process_state();
	if (state)
		mark_capability(state, ctx->args[3], (int)ctx->args[4] != 0);
	return 0;
}
