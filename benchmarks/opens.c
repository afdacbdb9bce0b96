/* opens FOLDER PROCESSES FILES OPENS: creates FILES empty files in FOLDER, then PROCESSES processes open them OPENS
 * times in all, each process starting at another file. Prints the opens per second.
 *
 * opens FOLDER missing SECONDS: opens paths that do not exist, each path once. Prints their number. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void name(char *text, size_t size, const char *folder, long file)
{
	snprintf(text, size, "%s/%03ld/%ld", folder, file / 500, file);
}

static int make(const char *folder, long files)
{
	char text[4096];
	for (long file = 0; file < files; file++) {
		name(text, sizeof text, folder, file);
		if (file % 500 == 0) {
			char *end = strrchr(text, '/');
			*end = 0;
			if (mkdir(text, 0755))
				return 1;
			*end = '/';
		}
		int fd = open(text, O_WRONLY | O_CREAT, 0644);
		if (fd < 0)
			return 1;
		close(fd);
	}
	return 0;
}

static int missing(const char *folder, double seconds)
{
	char text[4096];
	long count = 0;
	double end = now() + seconds;
	for (; count % 1024 || now() < end; count++) {
		snprintf(text, sizeof text, "%s/missing-%ld", folder, count);
		if (open(text, O_RDONLY) >= 0)
			return 1;
	}
	printf("%ld\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[2], "missing") == 0)
		return missing(argv[1], atof(argv[3]));
	if (argc != 5)
		return 2;
	long processes = atol(argv[2]), files = atol(argv[3]), opens = atol(argv[4]);
	if (make(argv[1], files))
		return 1;
	double from = now();
	for (long process = 0; process < processes; process++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child)
			continue;
		char text[4096];
		long share = opens / processes + (process < opens % processes);
		for (long i = 0; i < share; i++) {
			name(text, sizeof text, argv[1], (process * (files / processes) + i) % files);
			int fd = open(text, O_RDONLY);
			if (fd < 0)
				_exit(1);
			close(fd);
		}
		_exit(0);
	}
	int status, failed = 0;
	while (wait(&status) > 0)
		failed |= status;
	printf("%.1f\n", opens / (now() - from));
	return failed != 0;
}
