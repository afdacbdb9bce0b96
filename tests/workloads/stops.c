/* An open that a signal interrupts: of a fifo that nobody writes to. */
#include "workload.h"

static void nothing(int which)
{
	(void)which;
}

int main(void)
{
	struct sigaction action = {.sa_handler = nothing};

	sigaction(SIGALRM, &action, NULL);
	MUST(mkfifo("/desk/fifo", 0644));
	ualarm(20000, 0);
	MUST_FAIL(EINTR, CALL(open, "/desk/fifo", O_RDONLY));
	return 0;
}
