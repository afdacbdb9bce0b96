/* storm FILES PROCESSES: PROCESSES processes open FILES distinct files of a tmpfs in all, as fast as they can. */
#include "workload.h"

int main(int argc, char **argv)
{
	int files = argc > 2 ? atoi(argv[1]) : 0, processes = argc > 2 ? atoi(argv[2]) : 1;
	char path[64];

	for (int process = 0; process < processes; process++) {
		int child = fork();
		MUST(child);
		for (int file = process; !child && file < files; file += processes) {
			sprintf(path, "/dev/shm/storm-%d", file);
			int opened = CALL(open, path, O_CREAT | O_RDWR, 0644);
			MUST(opened);
			close(opened);
		}
		if (!child)
			return 0;
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
