/* Touches every odd file of the image and prints what it is. Called by another of
 * its names it prints what that name is for, and returns. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void fail(const char *path)
{
	printf("FAILED %s: %s\n", path, strerror(errno));
	failures++;
}

/* Type, mode, owner and link count: no inode or device, which differ by image. */
static void describe(const char *path)
{
	struct stat st;
	if (lstat(path, &st) != 0) {
		fail(path);
		return;
	}
	printf("%06o %u:%u", st.st_mode, st.st_uid, st.st_gid);
	if (!S_ISDIR(st.st_mode))
		printf(" links=%lu", (unsigned long)st.st_nlink);
	printf(" %s\n", path);
}

static void read_file(const char *path)
{
	char line[64] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof line - 1) <= 0)
		fail(path);
	else
		printf("read %s: %s", path, line);
	if (fd >= 0)
		close(fd);
}

static void open_as(const char *path, int flags)
{
	int fd = open(path, flags);
	if (fd < 0)
		fail(path);
	else
		close(fd);
}

static void expect_error(const char *path, int wanted)
{
	if (open(path, O_RDONLY) >= 0 || errno != wanted)
		fail(path);
	else
		printf("open %s: %s\n", path, strerror(errno));
}

static void call(const char *path)
{
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		fail(path);
}

static void print_capabilities(void)
{
	char line[128];
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (strncmp(line, "CapEff:", 7) == 0)
			printf("capable: %s", line);
}

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
	name = name ? name + 1 : "";
	if (strcmp(name, "edge-again") == 0)
		return puts("again: same program") < 0;
	if (strcmp(name, "edge-setuid") == 0)
		return printf("setuid: euid %u\n", geteuid()) < 0;
	if (strcmp(name, "edge-capable") == 0) {
		print_capabilities();
		return 0;
	}

	describe("/bin/edge");
	describe("/bin/edge-again");
	describe("/bin/edge-setuid");
	describe("/bin/edge-capable");
	call("/bin/edge-again");
	call("/bin/edge-setuid");
	call("/bin/edge-capable");

	describe("/data/first");
	describe("/var/spool/second");
	read_file("/data/first");
	read_file("/var/spool/second");

	read_file("/etc/app.conf");
	describe("/etc/app.conf");
	describe("/etc/app");
	expect_error("/etc/dangling", ENOENT);
	expect_error("/etc/loop", ELOOP);
	describe("/etc/dangling");

	describe("/var/empty");
	describe("/var/spool");
	describe("/tmp");
	describe("/run/pipe");
	open_as("/run/pipe", O_RDWR | O_NONBLOCK);
	/* Not in /dev, where the container's own tmpfs would hide it. */
	describe("/srv/null");
	open_as("/srv/null", O_WRONLY);
	DIR *folder = opendir("/var/spool");
	if (!folder)
		fail("/var/spool");
	else
		closedir(folder);

	printf("edge: %d failures\n", failures);
	return failures != 0;
}
