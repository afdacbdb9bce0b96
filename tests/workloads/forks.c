/* A chain of 13 forks: the last child exits with 7, each process above it with its child's exit code, the first
 * with 0. */
#include "workload.h"

int main(void)
{
	int status = 0;

	for (int left = 13; left; left--) {
		int child = fork();
		MUST(child);
		if (child) {
			MUST(waitpid(child, &status, 0));
			return WEXITSTATUS(status) == 7 ? left == 13 ? 0 : 7 : 1;
		}
	}
	return 7;
}
