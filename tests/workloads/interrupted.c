/* An open that fails with EINTR: of a FIFO without a writer, interrupted by SIGALRM. */
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
