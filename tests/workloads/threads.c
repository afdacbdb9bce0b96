/* Two threads that run at the same time, each with 499 files of its own. */
#include "workload.h"
#include <pthread.h>

static pthread_barrier_t gate;

static void *work(void *name)
{
	char path[32];

	pthread_barrier_wait(&gate);
	for (int turn = 0; turn < 499; turn++) {
		sprintf(path, "/absent/%s-%d", (char *)name, turn);
		MUST_FAIL(ENOENT, CALL(open, path, O_RDONLY));
		sprintf(path, "/desk/%s-%d", (char *)name, turn);
		int file = CALL(open, path, O_CREAT | O_RDWR, 0644);
		MUST(file);
		close(file);
	}
	return name;
}

int main(void)
{
	pthread_t first, second;

	pthread_barrier_init(&gate, NULL, 2);
	must(!pthread_create(&first, NULL, work, "a"), "pthread_create");
	must(!pthread_create(&second, NULL, work, "b"), "pthread_create");
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	usleep(53000); /* pthread_join returns before the kernel reports the thread's exit */
	return 0;
}
