/* 32-bit system calls made by 64-bit code. 5 is open for them and fstat for 64-bit code, 20 getpid and writev, 40
 * rmdir and sendfile, 83 symlink and mkdir, 80 getgroups and chdir. */
#include "workload.h"

static char path[] = "/tree/plain"; /* below 4 GiB: the program is not position-independent */

static int call32(int number, int first, int second)
{
	int result;

	/* the path is also where a 64-bit call would have its first argument */
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(0), "D"((long)path)
			 : "memory");
	return result;
}

int main(void)
{
	must(call32(20, 0, 0) == getpid(), "getpid");
	must(call32(5, (int)(long)path, O_RDONLY) >= 0, "open");
	must(call32(40, (int)(long)path, 0) == -ENOTDIR, "rmdir");
	must(call32(83, (int)(long)path, (int)(long)path) == -EEXIST, "symlink");
	must(call32(80, 0, (int)(long)path) >= 0, "getgroups");
	return 0;
}
