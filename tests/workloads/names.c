/* Names as long as a file system allows, with bytes that are not UTF-8, with a newline; paths up to PATH_MAX. */
#include "workload.h"

static char path[4097];

static const char *of_length(int length)
{
	memset(path, '/', length);
	memcpy(path + length - 11, "/tree/plain", 12);
	return path;
}

int main(void)
{
	char name[256] = "";

	memset(name, 'n', 255);
	MUST(chdir("/odd"));
	MUST(CALL(open, name, O_RDONLY));
	MUST(CALL(open, "\xff\xfe", O_RDONLY));
	MUST(CALL(open, "new\nline", O_RDONLY));
	MUST(CALL(open, "\xc3\xa9", O_RDONLY));
	MUST(CALL(open, of_length(4093), O_RDONLY));
	MUST(CALL(open, of_length(4095), O_RDONLY));
	MUST_FAIL(ENAMETOOLONG, CALL(open, of_length(4096), O_RDONLY));
	return 0;
}
