/* cap_capable(cred, target_ns, capable_ns, cap, ret): the verdict, when it is reached. */

RAW_TRACEPOINT_PROBE(cap_capable)
{
	if (in_scope())
		judged(ctx->args[3], (int)ctx->args[4] != 0);
	return 0;
}
