/* For architectures that have only the newer system calls (arm64): the workloads' older calls are made by
 * means of those, as the C library does it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SYS_open = -1000, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_mkdir, SYS_mknod, SYS_symlink,
	SYS_link, SYS_rename, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_unlink,
	SYS_rmdir, SYS_getdents,
};

__attribute__((unused)) static long newer_syscall(long number, ...)
{
	va_list list;
	long at[6];

	va_start(list, number);
	for (int index = 0; index < 6; index++)
		at[index] = va_arg(list, long);
	va_end(list);
	switch (number) {
	case SYS_open:
		return syscall(SYS_openat, AT_FDCWD, at[0], at[1], at[2]);
	case SYS_creat:
		return syscall(SYS_openat, AT_FDCWD, at[0], O_CREAT | O_WRONLY | O_TRUNC, at[1]);
	case SYS_stat:
		return syscall(SYS_newfstatat, AT_FDCWD, at[0], at[1], 0);
	case SYS_lstat:
		return syscall(SYS_newfstatat, AT_FDCWD, at[0], at[1], AT_SYMLINK_NOFOLLOW);
	case SYS_access:
		return syscall(SYS_faccessat, AT_FDCWD, at[0], at[1]);
	case SYS_readlink:
		return syscall(SYS_readlinkat, AT_FDCWD, at[0], at[1], at[2]);
	case SYS_mkdir:
		return syscall(SYS_mkdirat, AT_FDCWD, at[0], at[1]);
	case SYS_mknod:
		return syscall(SYS_mknodat, AT_FDCWD, at[0], at[1], at[2]);
	case SYS_symlink:
		return syscall(SYS_symlinkat, at[0], AT_FDCWD, at[1]);
	case SYS_link:
		return syscall(SYS_linkat, AT_FDCWD, at[0], AT_FDCWD, at[1], 0);
	case SYS_rename:
		return syscall(SYS_renameat, AT_FDCWD, at[0], AT_FDCWD, at[1]);
	case SYS_chmod:
		return syscall(SYS_fchmodat, AT_FDCWD, at[0], at[1]);
	case SYS_chown:
		return syscall(SYS_fchownat, AT_FDCWD, at[0], at[1], at[2], 0);
	case SYS_lchown:
		return syscall(SYS_fchownat, AT_FDCWD, at[0], at[1], at[2], AT_SYMLINK_NOFOLLOW);
	case SYS_utime:
	case SYS_utimes:
		return syscall(SYS_utimensat, AT_FDCWD, at[0], at[1], 0);
	case SYS_futimesat:
		return syscall(SYS_utimensat, at[0], at[1], at[2], 0);
	case SYS_unlink:
		return syscall(SYS_unlinkat, AT_FDCWD, at[0], 0);
	case SYS_rmdir:
		return syscall(SYS_unlinkat, AT_FDCWD, at[0], AT_REMOVEDIR);
	case SYS_getdents:
		return syscall(SYS_getdents64, at[0], at[1], at[2]);
	default:
		return syscall(number, at[0], at[1], at[2], at[3], at[4], at[5]);
	}
}

#define syscall newer_syscall
