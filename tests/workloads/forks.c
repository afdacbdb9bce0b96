/* A chain of 13 forks; the last ends with 7, all others with what their child ended with. */
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
