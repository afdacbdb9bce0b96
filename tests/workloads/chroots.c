/* chroot and chdir, and what paths mean afterwards. */
#include "workload.h"

int main(void)
{
	MUST(CALL(chdir, "/tree"));
	MUST(CALL(chdir, "dir"));
	MUST(CALL(open, "inner", O_RDONLY));
	MUST_FAIL(ENOENT, CALL(chdir, "absent"));
	MUST(CALL(chroot, "../../jail"));
	MUST(CALL(open, "/file", O_RDONLY));
	MUST(CALL(open, "inner", O_RDONLY)); /* the working directory is still outside */
	MUST_FAIL(ENOENT, CALL(open, "/tree/plain", O_RDONLY));
	MUST(CALL(chdir, "/sub"));
	MUST(CALL(open, "file", O_RDONLY));
	MUST(CALL(open, "../../../file", O_RDONLY));
	MUST(CALL(chroot, "/sub"));
	MUST(CALL(open, "/file", O_RDONLY));
	return 0;
}
