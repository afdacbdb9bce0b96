/* Reading the kernel's structures without its headers.
 *
 * Every AT_* constant is an offset in bytes that slimtrace/observe/kernel/running_kernel.py took from the running kernel's BTF
 * and handed in with -D, so one text serves every kernel. Nothing here knows a kernel version. */
#ifndef SLIMTRACE_KERNEL_H
#define SLIMTRACE_KERNEL_H

typedef u64 kernel_ptr;

/* The value of `type` at `offset` from the kernel pointer `base`; 0 where it cannot be read. */
#define PEEK(type, base, offset)                                                        \
	({                                                                              \
		type _value = 0;                                                        \
		bpf_probe_read_kernel(&_value, sizeof(_value), (void *)(base) + (offset)); \
		_value;                                                                 \
	})

/* The same by a plain load, where the verifier knows what `base` points to: from the current task on, as long as
 * the pointer was not in a map meanwhile. A helper call costs some thirty times as much on processors that pay for
 * every return (speculative return stack overflow). TYPED is 0 for kernels before bpf_get_current_task_btf (5.11)
 * and bpf_task_pt_regs (5.15); slimtrace/observe/kernel/programs.py finds out by loading. Inline assembly, since bcc would
 * make a helper call of a load that is written in C. */
#if TYPED
#define FOLLOW(type, base, offset)                                                      \
	({                                                                              \
		u64 _value;                                                             \
		asm volatile("%0 = *(" #type " *)(%1 + %2)"                             \
			     : "=r"(_value)                                             \
			     : "r"((u64)(base)), "i"(offset));                          \
		(type) _value;                                                          \
	})
#else
#define FOLLOW PEEK
#endif

/* From any other kernel pointer on, LOOK is such a load where the kernel believes us what AS says that it points to:
 * bpf_rdonly_cast (6.2), a function of the kernel for which the verifier puts a move of a register. bcc knows the calls
 * of helpers only; so it is written as one of the helper with the number that the function has in the BTF, and
 * slimtrace/observe/kernel/programs.py makes of it a call of the function. IS_* are the numbers of types. As with PEEK what
 * cannot be read is 0. */
#ifdef CAST_FUNCTION
static kernel_ptr (*cast)(kernel_ptr, u64) = (void *)CAST_FUNCTION;
#define AS(kind, pointer) cast(pointer, kind)
#define LOOK FOLLOW
#else
#define AS(kind, pointer) (pointer)
#define LOOK PEEK
#endif

static __always_inline kernel_ptr current_task(void)
{
#if TYPED
	return (kernel_ptr)bpf_get_current_task_btf();
#else
	return bpf_get_current_task();
#endif
}

#if TYPED
static __always_inline kernel_ptr registers_of(kernel_ptr task)
{
	return (kernel_ptr)bpf_task_pt_regs((void *)task);
}
#endif

/* The struct file behind descriptor `fd` of the current task, for LOOK; 0 where there is none. */
static __always_inline kernel_ptr file_of(kernel_ptr task, u32 fd)
{
	kernel_ptr files = FOLLOW(u64, task, AT_TASK_FILES);
	if (!files)
		return 0;
	kernel_ptr table = FOLLOW(u64, files, AT_FILES_FDT);
	if (!table || fd >= FOLLOW(u32, table, AT_FDT_MAX_FDS))
		return 0;
	kernel_ptr slots = FOLLOW(u64, table, AT_FDT_FD);
	kernel_ptr file = LOOK(u64, AS(IS_LIST_HEAD, slots + (u64)fd * 8), 0); /* any struct that begins with a pointer */
	return file ? AS(IS_FILE, file) : 0;
}

static __always_inline u32 mount_namespace(kernel_ptr task)
{
	kernel_ptr nsproxy = PEEK(u64, task, AT_TASK_NSPROXY);
	kernel_ptr ns = PEEK(u64, nsproxy, AT_NSPROXY_MNT_NS);
	return ns ? PEEK(u32, ns, AT_MNT_NS_INUM) : 0;
}

static __always_inline u64 device_of(kernel_ptr dentry)
{
	kernel_ptr sb = PEEK(u64, dentry, AT_DENTRY_SB);
	return PEEK(u32, sb, AT_SB_DEV);
}

#endif
