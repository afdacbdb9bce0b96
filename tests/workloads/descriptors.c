/* Calls that use a file by a descriptor alone, and some that only seem to. */
#include "workload.h"
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#define MANY 17

int main(void)
{
	char names[4096];
	struct statfs system;
	struct {
		struct file_handle head;
		char rest[128];
	} handle = {.head.handle_bytes = 128};
	int mount_id;

	int directory = CALL(open, "/tree", O_RDONLY | O_DIRECTORY);
	int program = CALL(open, "/bin/leaf", O_RDONLY);
	int file = CALL(open, "/desk/one", O_RDWR);
	must(directory >= 0 && program >= 0 && file >= 0, "open");
	for (int turn = 0; turn < MANY; turn++) { /* reported once */
		MUST(lseek(directory, 0, SEEK_SET));
		while (CALL(getdents64, directory, names, sizeof(names)) > 0)
			;
	}
	MUST(lseek(directory, 0, SEEK_SET));
	must(CALL(getdents, directory, names, sizeof(names)) > 0, "getdents");
	MUST_FAIL(ENOTDIR, CALL(getdents64, file, names, sizeof(names)));
	MUST_FAIL(EBADF, CALL(getdents64, 977, names, sizeof(names)));
	must(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, program, 0) != MAP_FAILED, "mmap");
	must(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED, "mmap");
	must(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "mmap");
	MUST(CALL(fstatfs, directory, &system));
	MUST(CALL(fchmod, file, 0600));
	MUST(CALL(fchown, file, 7, 11));
	MUST(CALL(fchownat, file, "", 7, 11, AT_EMPTY_PATH));
	MUST(CALL(fsetxattr, file, "user.prime", "17", 2, 0));
	MUST(CALL(fgetxattr, file, "user.prime", names, sizeof(names)));
	MUST(CALL(flistxattr, file, names, sizeof(names)));
	MUST(CALL(fremovexattr, file, "user.prime"));
	MUST_FAIL(ENODATA, CALL(fremovexattr, file, "user.prime"));
	int held = CALL(open, "/dev/shm/held", O_CREAT | O_RDWR, 0644); /* overlayfs has no handles */
	MUST(held);
	MUST(CALL(name_to_handle_at, AT_FDCWD, "/dev/shm/held", &handle, &mount_id, 0));
	MUST(CALL(open_by_handle_at, held, &handle, O_RDONLY));
	int marks = CALL(fanotify_init, FAN_CLASS_NOTIF, O_RDONLY);
	MUST(marks);
	MUST(CALL(fanotify_mark, marks, FAN_MARK_ADD, (long)FAN_OPEN, directory, "dir/inner"));
	MUST(CALL(fanotify_mark, marks, FAN_MARK_ADD, (long)FAN_OPEN, directory, NULL));
	MUST(CALL(fchdir, directory));
	MUST(CALL(open, "plain", O_RDONLY));
	return 0;
}
