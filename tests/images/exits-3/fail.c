#include <stdio.h>

int main(void)
{
	fputs("fail: no configuration\n", stderr);
	return 3;
}
