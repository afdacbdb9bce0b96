/* deep COUNT WIDTH: opens a file below COUNT directories with names of WIDTH letters: by its name in the deepest
 * directory and, where that is not too long, by its absolute path; then renames the file. */
#include "workload.h"

/* Several directories by one chdir, so that the probes report few uses of it. */
static void descend(const char *name, int count)
{
	int width = strlen(name), step = 2018 / (width + 1);
	char path[2048];

	while (count > 0) {
		int length = 0;
		for (int at = 0; at < step && count > 0; at++, count--) {
			length += sprintf(path + length, "%s%s", at ? "/" : "", name);
			MUST(mkdir(path, 0755));
		}
		MUST(chdir(path));
	}
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0, width = argc > 2 ? atoi(argv[2]) : 0;
	char name[256] = "", path[4096] = "/deep";
	int length = 5;

	memset(name, 'd', width);
	MUST(mkdir("/deep", 0755));
	MUST(chdir("/deep"));
	descend(name, count);
	MUST(CALL(open, "f", O_CREAT | O_WRONLY, 0644));
	if (length + count * (width + 1) + 2 < 4096) {
		while (count--)
			length += sprintf(path + length, "/%s", name);
		strcpy(path + length, "/f");
		MUST(CALL(open, path, O_RDONLY));
	}
	MUST(CALL(rename, "f", "g"));
	return 0;
}
