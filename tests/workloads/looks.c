/* Calls that look at a file without opening it: stat, readlink, access, xattrs, inotify. */
#include "workload.h"
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

int main(void)
{
	struct stat status;
	struct statx extended;
	struct statfs system;
	char text[64];

	MUST(chdir("/tree"));
	int directory = CALL(open, "/tree/dir", O_RDONLY | O_DIRECTORY);
	MUST(directory);
	MUST(CALL(stat, "link/inner", &status));
	MUST(CALL(lstat, "far", &status));
	MUST(CALL(newfstatat, directory, "inner", &status, 0));
	MUST(CALL(newfstatat, AT_FDCWD, "far", &status, AT_SYMLINK_NOFOLLOW));
	MUST(CALL(newfstatat, directory, "", &status, AT_EMPTY_PATH)); /* no path */
	MUST(CALL(statx, directory, "../plain", 0, STATX_SIZE, &extended));
	MUST(CALL(statx, AT_FDCWD, "far", AT_SYMLINK_NOFOLLOW, STATX_SIZE, &extended));
	MUST(CALL(access, "plain", R_OK));
	MUST(CALL(faccessat, directory, "inner", R_OK));
	MUST(CALL(faccessat2, directory, "inner", R_OK, AT_EACCESS));
	MUST(CALL(readlink, "far", text, sizeof(text)));
	MUST(CALL(readlinkat, directory, "../link", text, sizeof(text)));
	MUST_FAIL(EINVAL, CALL(readlink, "plain", text, sizeof(text)));
	MUST(CALL(statfs, "plain", &system));
	MUST_FAIL(ENODATA, CALL(getxattr, "plain", "user.absent", text, sizeof(text)));
	MUST_FAIL(ENODATA, CALL(lgetxattr, "plain", "user.absent", text, sizeof(text)));
	MUST(CALL(listxattr, "plain", text, sizeof(text)));
	MUST(CALL(llistxattr, "plain", text, sizeof(text)));
	int notes = CALL(inotify_init1, 0);
	MUST(CALL(inotify_add_watch, notes, "dir", IN_MODIFY));
	MUST_FAIL(ENOENT, CALL(stat, "absent", &status));
	return 0;
}
