/* The open family: relative to the working directory and to descriptors, through symlinks, failing. */
#include "workload.h"

int main(void)
{
	struct open_how how = {.flags = O_RDONLY};

	MUST(CALL(open, "/tree/plain", O_RDONLY));
	MUST(CALL(chdir, "/tree"));
	MUST(CALL(open, "plain", O_RDONLY));
	MUST(CALL(open, "./dir/../plain", O_RDONLY));
	MUST(CALL(open, "dir", O_RDONLY | O_DIRECTORY));
	int directory = CALL(openat, AT_FDCWD, "dir", O_RDONLY | O_DIRECTORY);
	MUST(directory);
	MUST(CALL(openat, directory, "inner", O_RDONLY));
	MUST(CALL(openat, directory, "/tree/plain", O_RDONLY));
	MUST(CALL(openat2, directory, "inner", &how, sizeof(how)));
	MUST(CALL(openat, directory, "../plain", O_RDWR));
	MUST(CALL(creat, "made", 0644));
	MUST(CALL(open, "made too", O_CREAT | O_WRONLY, 0644));
	MUST(CALL(open, "plain", O_PATH));
	MUST(CALL(open, "link/inner", O_RDONLY));
	MUST(CALL(open, "far", O_RDONLY));
	MUST_FAIL(ENOENT, CALL(open, "absent", O_RDONLY));
	MUST_FAIL(ENOENT, CALL(openat, directory, "absent/too", O_RDONLY));
	MUST_FAIL(ENOTDIR, CALL(open, "plain/below", O_RDONLY));
	MUST_FAIL(ELOOP, CALL(open, "loop", O_RDONLY));
	MUST_FAIL(EBADF, CALL(openat, 977, "nowhere", O_RDONLY));
	MUST(CALL(fchdir, directory));
	MUST(CALL(open, "inner", O_RDONLY));
	MUST_FAIL(EFAULT, CALL(open, (char *)1, O_RDONLY));
	MUST_FAIL(ENOENT, CALL(open, "", O_RDONLY));
	return 0;
}
