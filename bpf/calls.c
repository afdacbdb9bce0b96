/* sys_enter: which system calls are made, by phase and origin. Bits, never events. */

#define CALL_NUMBERS 512
#define CALL_ROWS 6            /* origin * 3 + phase */
#define REFUSED_ROWS CALL_ROWS /* the same again for calls answered with ENOSYS */
#define FOREIGN_ROW (2 * CALL_ROWS) /* calls of another ABI (32-bit, x32) or beyond the table */

struct call_row {
	u8 made[CALL_NUMBERS];
};
BPF_ARRAY(called, struct call_row, 2 * CALL_ROWS + 1);

static __always_inline void mark(u32 index, u32 number)
{
	struct call_row *row = called.lookup(&index);
	number &= CALL_NUMBERS - 1;
	if (row && !row->made[number]) /* a cache line that nobody writes stays shared between processors */
		row->made[number] = 1;
}

/* A task that runs 32-bit code numbers its calls otherwise (x86: TS_COMPAT in thread_info.status,
 * arch/x86/include/asm/thread_info.h; arm64: TIF_32BIT in thread_info.flags). */
static __always_inline int other_abi(void)
{
	return (PEEK(u32, bpf_get_current_task(), AT_TASK_ABI) & ABI_MASK) != 0;
}

RAW_TRACEPOINT_PROBE(sys_enter)
{
	if (!in_scope())
		return 0;
	u64 number = ctx->args[1];
	struct standing standing = standing_of(current_process());
	if (number >= CALL_NUMBERS || other_abi()) {
		mark(FOREIGN_ROW, number);
		return 0;
	}
	mark(standing.origin * 3 + standing.phase, number);
	if (number == NR_CHDIR || number == NR_CHROOT)
		remember_departure(number);
	return 0;
}
