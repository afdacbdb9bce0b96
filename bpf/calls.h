/* Which system calls are made, by ABI, origin and phase: bits, never events; who made each first; and which values the
 * first argument of some had. */

#define CALL_NUMBERS 1024
#define CALL_ROWS 18           /* (abi * 2 + origin) * 3 + phase */
#define REFUSED_ROWS CALL_ROWS /* the same again for calls answered with ENOSYS */
#define RING_ROWS (2 * CALL_ROWS) /* io_uring's operations, by origin * 3 + phase */

struct call_row {
	u8 made[CALL_NUMBERS];
};
BPF_F_TABLE("array", u32, struct call_row, called, RING_ROWS + 6, IN_USER_SPACE_TOO);
#define MADE 1
#define MORE 2 /* values of its first argument were seen for which there was no room */

/* The process that made a call first (upper half) and its program (scope.h). Two that make it at the same moment on two
 * processors are both first: either stays. */
struct first_row {
	u64 of[CALL_NUMBERS];
};
BPF_F_TABLE("array", u32, struct first_row, firsts, RING_ROWS + 6, IN_USER_SPACE_TOO);

/* Values of first arguments, of the calls whose shape says so. */
struct noted_key {
	u32 row; /* of `called` */
	u32 number;
	u64 value;
};
BPF_HASH(noted, struct noted_key, u8, NOTED_VALUES);

static __always_inline void mark(u32 index, u32 number, u32 pid, u32 standing)
{
	if (number >= CALL_NUMBERS)
		number = CALL_NUMBERS - 1; /* no kernel has so many: it stays without a name */
	struct call_row *row = called.lookup(&index);
	asm volatile("" : "+r"(number)); /* or clang leaves out the mask, which the verifier needs to believe it */
	number &= CALL_NUMBERS - 1;
	if (row && !row->made[number]) { /* a cache line that nobody writes stays shared between processors */
		struct first_row *first = firsts.lookup(&index);
		if (first)
			first->of[number] = (u64)pid << 32 | standing >> PROGRAM_SHIFT;
		row->made[number] = MADE;
	}
}

static __always_inline u32 row_of(u32 abi, u32 origin, u32 phase)
{
	return (abi * 2 + origin) * 3 + phase;
}

/* A task that runs 32-bit code numbers its calls otherwise (x86: TS_COMPAT in thread_info.status,
 * arch/x86/include/asm/thread_info.h; arm64: TIF_32BIT in thread_info.flags). x32 marks the number itself. */
static __always_inline u32 abi_of(kernel_ptr task, u64 number)
{
	if (FOLLOW(u32, task, AT_TASK_ABI) & ABI_MASK)
		return ABI_COMPAT;
	return number & X32_BIT ? ABI_X32 : ABI_NATIVE;
}

/* A value of the first argument of a call that was marked just now. */
static __always_inline void note_value(u32 index, u32 number, u64 value)
{
	struct noted_key key = {.row = index, .number = number, .value = value};
	u8 yes = 1;
	if (noted.lookup(&key) || !noted.update(&key, &yes))
		return;
	struct call_row *row = called.lookup(&index);
	asm volatile("" : "+r"(number)); /* see mark() */
	number &= CALL_NUMBERS - 1;
	if (row)
		row->made[number] = MADE | MORE;
}
