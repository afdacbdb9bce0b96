/* What every workload needs. A workload does one thing, a known number of times, and says nothing; it ends with 0,
 * or with 1 where the machine did not behave as the test believes. */
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

/* The call that is named, not the one that the C library would make of it. */
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
