/* Which system calls are made, by ABI, origin and phase: one byte for each, never an event for each; which process
 * made each first; and which values the first argument of some calls had. */

#define CALL_NUMBERS 1024
#define CALL_ROWS 18           /* (abi * 2 + origin) * 3 + phase */
#define REFUSED_ROWS CALL_ROWS /* the first of as many rows again, for calls answered with ENOSYS */
#define IO_URING_ROWS (2 * CALL_ROWS) /* the first row of io_uring's operations, by origin * 3 + phase */

struct syscall_row {
	u8 made[CALL_NUMBERS];
};
BPF_F_TABLE("array", u32, struct syscall_row, syscalls_made, IO_URING_ROWS + 6, MMAPABLE);
#define MADE 1
#define MORE_VALUES 2 /* values of its first argument were seen for which `argument_values` had no room */

/* The process that made a call first (upper half) and its program (lower half, scope.h). Of two processes that make it
 * at the same moment on two processors either stays. */
struct first_caller_row {
	u64 callers[CALL_NUMBERS];
};
BPF_F_TABLE("array", u32, struct first_caller_row, first_callers, IO_URING_ROWS + 6, MMAPABLE);

/* Values of first arguments, of the calls whose shape has `value_bits` (wire.h). */
struct argument_key {
	u32 row; /* of `syscalls_made` */
	u32 number;
	u64 value;
};
BPF_HASH(argument_values, struct argument_key, u8, ARGUMENT_VALUES);

static __always_inline void mark_syscall(u32 index, u32 number, u32 pid, u32 state)
{
	if (number >= CALL_NUMBERS)
		number = CALL_NUMBERS - 1; /* no kernel has so many calls: this number stays without a name */
	struct syscall_row *row = syscalls_made.lookup(&index);
	asm volatile("" : "+r"(number)); /* or clang leaves out the mask, without which the verifier refuses the access */
	number &= CALL_NUMBERS - 1;
	if (row && !row->made[number]) { /* a cache line that nobody writes stays shared between processors */
		struct first_caller_row *first = first_callers.lookup(&index);
		if (first)
			first->callers[number] = (u64)pid << 32 | state >> PROGRAM_SHIFT;
		row->made[number] = MADE;
	}
}

static __always_inline u32 syscall_row_of(u32 abi, u32 origin, u32 phase)
{
	return (abi * 2 + origin) * 3 + phase;
}

/* A task that runs 32-bit code numbers its calls otherwise (x86: TS_COMPAT in thread_info.status,
 * arch/x86/include/asm/thread_info.h; arm64: TIF_32BIT in thread_info.flags). x32 marks the number itself. */
static __always_inline u32 abi_of(kernel_ptr task, u64 number)
{
	if (LOAD(u32, task, AT_TASK_ABI) & ABI_MASK)
		return ABI_COMPAT;
	return number & X32_BIT ? ABI_X32 : ABI_NATIVE;
}

/* Add a value of the first argument of a call that was marked just now. */
static __always_inline void add_argument_value(u32 index, u32 number, u64 value)
{
	struct argument_key key = {.row = index, .number = number, .value = value};
	u8 yes = 1;
	if (argument_values.lookup(&key) || !argument_values.update(&key, &yes))
		return;
	struct syscall_row *row = syscalls_made.lookup(&index);
	asm volatile("" : "+r"(number)); /* see mark_syscall() */
	number &= CALL_NUMBERS - 1;
	if (row)
		row->made[number] = MADE | MORE_VALUES;
}
