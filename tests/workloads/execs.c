/* Every way to execute, each in a child: by absolute and relative path, by descriptor, from a thread, a script. */
#include "workload.h"
#include <pthread.h>

static char *const arguments[] = {"leaf", "", "with space", "\xff", "new\nline", NULL};
static char *const nothing[] = {NULL};

static void by_path(void)
{
	CALL(execve, "/bin/leaf", arguments, nothing);
}

static void by_name(void)
{
	MUST(chdir("/bin"));
	CALL(execve, "./leaf", arguments, nothing);
}

static void by_symlink(void)
{
	CALL(execve, "/tree/leaf", arguments, nothing);
}

static void by_descriptor(void)
{
	CALL(execveat, CALL(open, "/bin/leaf", O_PATH), "", arguments, nothing, AT_EMPTY_PATH);
}

static void by_directory(void)
{
	CALL(execveat, CALL(open, "/bin", O_PATH | O_DIRECTORY), "leaf", arguments, nothing, 0);
}

static void script(void)
{
	CALL(execve, "/tree/script", arguments, nothing);
}

static void *threaded(void *unused)
{
	by_path();
	return unused;
}

static void by_thread(void)
{
	pthread_t thread;

	MUST_FAIL(ENOENT, CALL(execve, "/bin/absent", arguments, nothing));
	must(!pthread_create(&thread, NULL, threaded, NULL), "pthread_create");
	pthread_join(thread, NULL);
}

int main(void)
{
	void (*const ways[])(void) = {by_path, by_name, by_symlink, by_descriptor, by_directory, script, by_thread};

	for (unsigned way = 0; way < sizeof(ways) / sizeof(*ways); way++) {
		int status = 0, child = fork();
		MUST(child);
		if (!child) {
			ways[way]();
			_exit(1);
		}
		MUST(waitpid(child, &status, 0));
		must(WIFEXITED(status) && WEXITSTATUS(status) == 5, "leaf");
	}
	return 0;
}
