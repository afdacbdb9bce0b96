/* Calls that create, rename, change and remove files. */
#include "workload.h"
#include <sys/xattr.h>
#include <utime.h>

int main(void)
{
	MUST(chdir("/desk"));
	int other = CALL(open, "/tree", O_RDONLY | O_DIRECTORY);
	MUST(other);
	MUST(CALL(mkdir, "m", 0755));
	MUST(CALL(mkdirat, other, "n", 0755));
	MUST(CALL(mknod, "m/fifo", S_IFIFO | 0644, 0));
	MUST(CALL(symlink, "where it points", "s"));
	MUST(CALL(symlinkat, "where it points", other, "s"));
	MUST(CALL(link, "one", "two"));
	MUST(CALL(linkat, AT_FDCWD, "one", other, "three", 0));
	MUST(CALL(rename, "two", "m/four"));
	MUST(CALL(renameat, AT_FDCWD, "m/four", other, "five"));
	MUST(CALL(renameat2, other, "five", AT_FDCWD, "/desk/six", 1));
	MUST_FAIL(EEXIST, CALL(renameat2, AT_FDCWD, "six", AT_FDCWD, "one", 1));
	MUST(CALL(chmod, "six", 0600));
	MUST(CALL(fchmodat, other, "three", 0600));
	MUST(CALL(chown, "six", 7, 11));
	MUST(CALL(lchown, "s", 7, 11));
	MUST(CALL(fchownat, other, "s", 7, 11, AT_SYMLINK_NOFOLLOW));
	MUST(CALL(utime, "six", NULL));
	MUST(CALL(utimes, "six", NULL));
	MUST(CALL(futimesat, other, "three", NULL));
	MUST(CALL(utimensat, AT_FDCWD, "six", NULL, 0));
	MUST(CALL(utimensat, other, NULL, NULL, 0)); /* no path: the descriptor's file */
	MUST(CALL(setxattr, "six", "user.prime", "17", 2, 0));
	MUST(CALL(removexattr, "six", "user.prime"));
	MUST(CALL(truncate, "six", 13));
	MUST(CALL(unlink, "six"));
	MUST(CALL(unlinkat, other, "three", 0));
	MUST(CALL(unlink, "m/fifo"));
	MUST(CALL(rmdir, "m"));
	MUST(CALL(unlinkat, other, "n", AT_REMOVEDIR));
	MUST_FAIL(ENOENT, CALL(unlink, "absent"));
	return 0;
}
