#include <stdio.h>

int main(void)
{
	char line[80];
	FILE *file = fopen("/usr/share/greet/words", "r");

	if (!file || !fgets(line, sizeof line, file))
		return 1;
	fputs(line, stdout);
	return 0;
}
