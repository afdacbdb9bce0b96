/* cap_capable(cred, target_ns, capable_ns, cap, ret): the verdict, when it is reached. */

int on_cap_capable(struct bpf_raw_tracepoint_args *ctx)
{
	u32 standing = current_standing();
	if (standing)
		judged(standing, ctx->args[3], (int)ctx->args[4] != 0);
	return 0;
}
