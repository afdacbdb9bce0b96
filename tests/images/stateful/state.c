/* Changes files of the image in every way, and prints what it reads, so that two
 * images can be compared. "made" executes a copy of itself that it has made;
 * "remove" is for the image's own building. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void check(int failed, const char *path)
{
	if (failed) {
		printf("FAILED %s: %s\n", path, strerror(errno));
		failures++;
	}
}

static void read_file(const char *path)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY);
	check(fd < 0 || read(fd, text, sizeof text - 1) <= 0, path);
	printf("%s: %s", path, text);
	close(fd);
}

static void write_file(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | flags, 0644);
	check(fd < 0 || dprintf(fd, "the container: %s\n", path) < 0, path);
	close(fd);
}

static void list(const char *path)
{
	DIR *folder = opendir(path);
	int count = 0;
	check(folder == NULL, path);
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	printf("%s: %d entries\n", path, count);
}

static void describe(const char *path)
{
	struct stat st;
	check(lstat(path, &st) != 0, path);
	printf("%s: %06o %u:%u\n", path, st.st_mode, st.st_uid, st.st_gid);
}

static void execute_what_was_made(void)
{
	struct stat st;
	int from = open("/bin/state", O_RDONLY), to = open("/tmp/made", O_WRONLY | O_CREAT, 0755), status;
	check(fstat(from, &st) != 0 || sendfile(to, from, NULL, st.st_size) != st.st_size, "/tmp/made");
	close(from);
	close(to);
	pid_t child = fork();
	if (child == 0) {
		execl("/tmp/made", "made", "nothing", (char *)NULL);
		_exit(127);
	}
	check(waitpid(child, &status, 0) < 0 || status != 0, "/tmp/made");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "remove") == 0)
		return argc < 3 || unlink(argv[2]) != 0;
	if (strcmp(what, "nothing") == 0)
		return 0;
	if (strcmp(what, "made") == 0) {
		execute_what_was_made();
		return failures != 0;
	}

	/* Content: read and then written over, only written over, replaced by a rename. */
	read_file("/etc/read.conf");
	write_file("/etc/read.conf", O_TRUNC);
	read_file("/etc/read.conf");
	write_file("/etc/over.conf", O_APPEND);
	write_file("/data/replaced.new", O_CREAT | O_EXCL);
	check(rename("/data/replaced.new", "/data/replaced") != 0, "/data/replaced");
	read_file("/data/replaced");

	/* Names: removed, renamed and read by its new name, made where the image removed one. */
	check(unlink("/data/old") != 0, "/data/old");
	check(rename("/data/first", "/data/second") != 0, "/data/second");
	read_file("/data/second");
	write_file("/data/gone", O_CREAT | O_EXCL);
	read_file("/data/gone");

	/* Metadata, of a file and of a directory. */
	check(chmod("/data/locked", 0640) != 0, "/data/locked");
	check(chmod("/srv/shared", 0700) != 0, "/srv/shared");
	describe("/data/locked");
	describe("/srv/shared");

	/* Directories that are empty, and matter: listed, entered, written into, walked through in vain. */
	list("/var/spool/in");
	check(chdir("/var/spool/in") != 0, "/var/spool/in");
	write_file("/var/spool/out/new", O_CREAT | O_EXCL);
	check(mkdir("/var/spool/out/deep", 0755) != 0, "/var/spool/out/deep");
	write_file("/var/spool/out/deep/new", O_CREAT | O_EXCL);
	check(access("/var/spool/quiet/none", F_OK) == 0, "/var/spool/quiet/none");
	write_file("/tmp/scratch", O_CREAT | O_EXCL);
	describe("/var/spool/in");
	describe("/var/spool/out");
	describe("/tmp");

	/* A volume, which the engine fills from the image. */
	read_file("/var/lib/keeper/data/seed");
	write_file("/var/lib/keeper/data/new", O_CREAT | O_EXCL);
	describe("/var/lib/keeper/data");

	printf("state: %d failures\n", failures);
	return failures != 0;
}
