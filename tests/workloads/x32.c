/* One call by x32's number; a kernel without x32 says that there is no such call. 0x40000000 is __X32_SYSCALL_BIT. */
#include "workload.h"

int main(void)
{
	must(syscall(0x40000000 | SYS_getpid) > 0 || errno == ENOSYS, "getpid");
	return 0;
}
