/* System calls that nothing else here makes, and that the runtime has no reason to make. */
#include "workload.h"
#include <sched.h>

int main(void)
{
	unsigned cpu;
	struct sched_param parameter;
	struct timespec interval;

	MUST(CALL(getcpu, &cpu, NULL, NULL));
	MUST(CALL(sched_getparam, 0, &parameter));
	MUST(CALL(sched_rr_get_interval, 0, &interval));
	MUST(CALL(sched_get_priority_max, SCHED_FIFO));
	MUST(CALL(getpriority, 0, 0));
	MUST(CALL(getitimer, 0, (long[4]){0}));
	MUST(CALL(times, NULL));
	return 0;
}
