/* The same open 1,009 times in each of 3 processes, and one file by three names. */
#include "workload.h"

int main(void)
{
	for (int process = 0; process < 3; process++) {
		int child = process ? fork() : 0;
		MUST(child);
		for (int turn = 0; !child && turn < 1009; turn++) {
			int file = CALL(open, "/tree/plain", O_RDONLY);
			MUST(file);
			close(file);
		}
		if (process && !child)
			return 0;
		if (child)
			MUST(wait(NULL));
	}
	MUST(CALL(open, "/tree/dir/inner", O_RDONLY));
	MUST(CALL(open, "/tree/link/inner", O_RDONLY));
	MUST(CALL(open, "/tree/far", O_RDONLY));
	return 0;
}
