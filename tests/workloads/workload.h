/* For every workload. A workload makes a known sequence of system calls and prints nothing, unless its head says so;
 * it exits with 0, or with 1 where a call did not end as the test expects. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The system call of this name, not the one that the C library would choose. */
#define CALL(name, ...) syscall(SYS_##name __VA_OPT__(,) __VA_ARGS__)

static inline void must(int happened, const char *what)
{
	if (happened)
		return;
	perror(what);
	exit(1);
}

#define MUST(call) must((call) >= 0, #call)
#define MUST_FAIL(code, call) must((call) < 0 && errno == (code), #call)
