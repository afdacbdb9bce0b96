/* listens SPEC...: listens on ADDRESS,PORT or, for -4 and -6, on a port of the kernel's choosing without bind(2);
 * prints the ports. */
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int listening(char *spec)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	int is_six = strchr(spec, ':') || !strcmp(spec, "-6");
	struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	socklen_t size = is_six ? sizeof(six) : sizeof(four);
	int handle = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	char *port = strchr(spec, ',');

	MUST(handle);
	if (port) {
		*port++ = 0;
		six.sin6_port = four.sin_port = htons(atoi(port));
		must(inet_pton(address->sa_family, spec,
			       is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr), spec);
		MUST(bind(handle, address, size));
	}
	MUST(listen(handle, 3));
	MUST(getsockname(handle, address, &size));
	return ntohs(is_six ? six.sin6_port : four.sin_port);
}

int main(int argc, char **argv)
{
	for (int at = 1; at < argc; at++)
		printf("%d\n", listening(argv[at]));
	return 0;
}
