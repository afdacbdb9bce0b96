/* capable: changes the owner of a file, for which Docker's default capabilities suffice (CAP_CHOWN), and raises its
 * priority, for which they do not (CAP_SYS_NICE). */
#include "workload.h"
#include <sys/resource.h>

int main(void)
{
	int opened = CALL(open, "/dev/shm/given", O_CREAT | O_RDWR, 0644);

	MUST(opened);
	MUST(chown("/dev/shm/given", 1009, 1009));
	return setpriority(PRIO_PROCESS, 0, -7) == -1 && errno == EACCES ? 0 : 1;
}
