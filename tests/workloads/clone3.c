/* clone3, which Docker's profile answers with ENOSYS: the C library takes clone instead. */
#include "workload.h"

int main(void)
{
	MUST_FAIL(ENOSYS, CALL(clone3, NULL, 0));
	return 0;
}
