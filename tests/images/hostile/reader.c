/* reader FOLDER COUNT: opens and reads every file below FOLDER, and fails unless
 * there are COUNT of them, so that a slim image which lost one is found out. */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int seen;

static int visit(const char *path, const struct stat *st, int type, struct FTW *where)
{
	char buffer[64];
	(void)st;
	(void)where;
	if (type != FTW_F)
		return 0;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, buffer, sizeof buffer) <= 0)
		return 1;
	close(fd);
	seen++;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 || nftw(argv[1], visit, 8, FTW_PHYS) != 0)
		return 2;
	printf("hostile: %d files read\n", seen);
	return seen == atoi(argv[2]) ? 0 : 1;
}
