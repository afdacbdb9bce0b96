/* Reading the kernel's structures without its headers.
 *
 * Every AT_* constant is an offset in bytes that slimtrace/observe/kernel.py took from the running kernel's BTF
 * and handed in with -D, so one text serves every kernel. Nothing here knows a kernel version. */
#ifndef SLIMTRACE_KERNEL_H
#define SLIMTRACE_KERNEL_H

/* The value of `type` at `offset` from the kernel pointer `base`; 0 where it cannot be read. */
#define PEEK(type, base, offset)                                                        \
	({                                                                              \
		type _value = 0;                                                        \
		bpf_probe_read_kernel(&_value, sizeof(_value), (void *)(base) + (offset)); \
		_value;                                                                 \
	})

typedef u64 kernel_ptr;

/* The struct file behind descriptor `fd` of the current task, 0 where there is none. */
static __always_inline kernel_ptr file_of(kernel_ptr task, u32 fd)
{
	kernel_ptr files = PEEK(u64, task, AT_TASK_FILES);
	kernel_ptr table = PEEK(u64, files, AT_FILES_FDT);
	if (!table || fd >= PEEK(u32, table, AT_FDT_MAX_FDS))
		return 0;
	kernel_ptr slots = PEEK(u64, table, AT_FDT_FD);
	return PEEK(u64, slots, (u64)fd * 8);
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
