/* As gains it executes the program that it is given; under the other names it tells what it has become. */

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words)
{
	const char *name = strrchr(words[0], '/') ? strrchr(words[0], '/') + 1 : words[0];

	if (!strcmp(name, "gains") && count > 1) {
		execv(words[1], words + 1);
		perror(words[1]);
		return 1;
	}
	if (!strcmp(name, "raw"))
		printf("raw socket: %s\n", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 ? "no" : "yes");
	printf("%s: uid %d as %d\n", name, (int)getuid(), (int)geteuid());
	return 0;
}
