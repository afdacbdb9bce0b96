/* getpid by its x32 number; a kernel without x32 answers ENOSYS. 0x40000000 is __X32_SYSCALL_BIT. */
#include "workload.h"

int main(void)
{
	must(syscall(0x40000000 | SYS_getpid) > 0 || errno == ENOSYS, "getpid");
	return 0;
}
