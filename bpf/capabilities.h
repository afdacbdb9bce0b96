/* Which capabilities the kernel checks, and with what verdict, as bytes by phase and origin. There are two ways to see
 * a check, of which slimtrace/observe/kernel/programs.py takes the one that this kernel has: capabilities_tracepoint.c
 * (Linux 6.14, commit d48da4d5ed7b) or capabilities_kprobe.c. */

#define CAPABILITIES 64

struct capability_row {
	u8 granted[CAPABILITIES];
	u8 denied[CAPABILITIES];
};
BPF_ARRAY(capabilities, struct capability_row, 6);

static __always_inline void mark_capability(u32 state, u32 capability, int denied)
{
	/* overlayfs copies a file up with the mounter's credentials: that check is not the program's doing */
	kernel_ptr task = bpf_get_current_task();
	if (PEEK(u64, task, AT_TASK_CRED) != PEEK(u64, task, AT_TASK_REAL_CRED))
		return;
	u32 index = origin_of(state) * 3 + phase_of(state);
	struct capability_row *row = capabilities.lookup(&index);
	if (!row)
		return;
	capability &= CAPABILITIES - 1;
	if (denied)
		row->denied[capability] = 1;
	else
		row->granted[capability] = 1;
}
