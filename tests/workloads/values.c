/* values [COUNT]: system calls whose first arguments a seccomp profile may check. With COUNT the program calls
 * prctl(2) with COUNT options that do not exist, and then makes one socket. */
#include "workload.h"
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#define UPPER_HALF 0x700000000UL /* of a register; the kernel takes the lower half as the int */

int main(int count, char **words)
{
	if (count > 1) {
		for (int option = 0; option < atoi(words[1]); option++)
			MUST_FAIL(EINVAL, CALL(prctl, 100000 + option, 0, 0, 0, 0));
		MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		return 0;
	}
	int pair[2];
	MUST(CALL(socket, UPPER_HALF | AF_UNIX, SOCK_STREAM, 0));
	MUST(socket(AF_INET6, SOCK_DGRAM, 0));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(CALL(personality, 0xffffffffUL));
	CALL(personality, 0x0040000UL); /* refused by Docker's profile */
	MUST(CALL(prctl, UPPER_HALF | PR_SET_NAME, "values"));
	struct clone_args wanted = {.flags = CLONE_NEWUTS | CLONE_NEWTIME | CLONE_VFORK, .exit_signal = SIGCHLD};
	long made = CALL(clone3, &wanted, sizeof(wanted)); /* ENOSYS by Docker's profile, else EPERM */
	must(made < 0, "clone3");
	must(CALL(clone, CLONE_NEWNET | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0) < 0, "clone");
	pid_t child = fork();
	if (!child) {
		MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
		_exit(0);
	}
	MUST(waitpid(child, NULL, 0));
	return 0;
}
