/* Reading the kernel's structures without its headers.
 *
 * Every AT_* constant is an offset in bytes that slimtrace/observe/kernel/running_kernel.py took from the running
 * kernel's BTF and handed in with -D, so one text serves every kernel. Nothing here knows a kernel version. */
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
 * every return (speculative return stack overflow). PLAIN_LOADS is 0 for kernels before bpf_get_current_task_btf
 * (5.11) and bpf_task_pt_regs (5.15); slimtrace/observe/kernel/programs.py finds out by loading. LOAD is inline
 * assembly, since bcc would make a helper call of a load that is written in C. */
#if PLAIN_LOADS
#define LOAD(type, base, offset)                                                        \
	({                                                                              \
		u64 _value;                                                             \
		asm volatile("%0 = *(" #type " *)(%1 + %2)"                             \
			     : "=r"(_value)                                             \
			     : "r"((u64)(base)), "i"(offset));                          \
		(type) _value;                                                          \
	})
#else
#define LOAD PEEK
#endif

/* From any other kernel pointer on, LOAD_CAST is such a load, where the kernel lets CAST say what the pointer points
 * to: bpf_rdonly_cast (6.2), a kfunc in whose place the verifier puts a move of a register. bcc can compile calls of
 * helpers alone; so CAST is written as a call of the helper with the number that the kfunc has in the BTF
 * (CAST_FUNCTION), and slimtrace/observe/kernel/bcc_compiler.py makes of it a call of the kfunc. BTF_ID_* are the
 * numbers of types in the BTF. As with PEEK what cannot be read is 0. */
#ifdef CAST_FUNCTION
static kernel_ptr (*cast)(kernel_ptr, u64) = (void *)CAST_FUNCTION;
#define CAST(btf_id, pointer) cast(pointer, btf_id)
#define LOAD_CAST LOAD
#else
#define CAST(btf_id, pointer) (pointer)
#define LOAD_CAST PEEK
#endif

static __always_inline kernel_ptr current_task(void)
{
#if PLAIN_LOADS
	return (kernel_ptr)bpf_get_current_task_btf();
#else
	return bpf_get_current_task();
#endif
}

#if PLAIN_LOADS
static __always_inline kernel_ptr registers_of(kernel_ptr task)
{
	return (kernel_ptr)bpf_task_pt_regs((void *)task);
}
#endif

/* The struct file behind descriptor `fd` of the current task, for LOAD_CAST; 0 where there is none. */
static __always_inline kernel_ptr file_of(kernel_ptr task, u32 fd)
{
	kernel_ptr files = LOAD(u64, task, AT_TASK_FILES);
	if (!files)
		return 0;
	kernel_ptr table = LOAD(u64, files, AT_FILES_FDT);
	if (!table || fd >= LOAD(u32, table, AT_FDT_MAX_FDS))
		return 0;
	kernel_ptr slots = LOAD(u64, table, AT_FDT_FD);
	/* list_head stands for any struct that begins with a pointer */
	kernel_ptr file = LOAD_CAST(u64, CAST(BTF_ID_LIST_HEAD, slots + (u64)fd * 8), 0);
	return file ? CAST(BTF_ID_FILE, file) : 0;
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
