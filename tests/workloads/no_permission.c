/* Calls that fail with EACCES for a user who is not root. */
#include "workload.h"

int main(void)
{
	MUST_FAIL(EACCES, CALL(open, "/tree/secret", O_RDONLY));
	MUST_FAIL(EACCES, CALL(open, "/closed/file", O_RDONLY));
	MUST_FAIL(EACCES, CALL(execve, "/tree/plain", NULL, NULL));
	MUST_FAIL(EACCES, CALL(chdir, "/closed"));
	return 0;
}
