/* flood SECONDS: calls access(2) with paths that do not exist, each path once, as fast as it can. */
#include "workload.h"
#include <time.h>

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 0);
	char path[64];

	for (long name = 0; time(NULL) < end; name++) {
		sprintf(path, "/nobody/has/%ld", name);
		MUST_FAIL(ENOENT, CALL(access, path, F_OK));
	}
	return 0;
}
