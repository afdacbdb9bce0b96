/* forks COUNT [PROGRAM]: forks COUNT times, one after the other, each child executing PROGRAM if there is one;
 * prints the forks per second. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 0;
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < count; i++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child == 0) {
			if (argc > 2)
				execl(argv[2], argv[2], (char *)NULL);
			_exit(argc > 2 ? 127 : 0);
		}
		int status;
		if (waitpid(child, &status, 0) < 0 || status != 0)
			return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f\n", count / ((to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9));
	return 0;
}
