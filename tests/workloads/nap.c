/* nap PATH: opens PATH and prints "opened" at every SIGUSR1; ends at SIGTERM. */
#include "workload.h"

int main(int argc, char **argv)
{
	sigset_t set;
	int which = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	puts("asleep");
	while (!sigwait(&set, &which) && which == SIGUSR1) {
		MUST(CALL(open, argc > 1 ? argv[1] : "/tree/plain", O_RDONLY));
		puts("opened");
	}
	return 0;
}
