/* Calls with a path that Docker's seccomp profile refuses. */
#include "workload.h"

int main(void)
{
	MUST_FAIL(EPERM, CALL(mount, "/tree/plain", "/tree/dir", "none", 0, NULL));
	MUST_FAIL(EPERM, CALL(umount2, "/tree/dir", 0));
	MUST_FAIL(EPERM, CALL(pivot_root, "/jail", "/jail/sub"));
	MUST_FAIL(EPERM, CALL(acct, "/tree/plain"));
	MUST_FAIL(EPERM, CALL(swapon, "/tree/secret", 0));
	MUST_FAIL(EPERM, CALL(open_tree, AT_FDCWD, "/tree", 1 /* OPEN_TREE_CLONE */));
	return 0;
}
