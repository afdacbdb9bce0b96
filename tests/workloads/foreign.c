/* Files that are not the image's: on a tmpfs, a volume, /proc and /dev; and a file that is deleted. */
#include "workload.h"

int main(void)
{
	char path[32];

	MUST(CALL(open, "/dev/shm/made", O_CREAT | O_RDWR, 0644));
	MUST(CALL(open, "/volume/file", O_RDONLY));
	MUST(CALL(open, "/proc/self/status", O_RDONLY));
	MUST(CALL(open, "/dev/null", O_WRONLY));
	MUST(CALL(open, "/tree/plain", O_RDONLY));
	int gone = CALL(open, "/desk/gone", O_CREAT | O_RDWR, 0644);
	MUST(gone);
	MUST(unlink("/desk/gone"));
	sprintf(path, "/proc/self/fd/%d", gone);
	MUST(CALL(open, path, O_RDONLY));
	MUST(CALL(chroot, "/volume"));
	MUST(CALL(open, "/file", O_RDONLY));
	return 0;
}
