/* serve MODE ADDRESS,PORT...: a server that answers every connection by its MODE until SIGTERM:
 *
 *   http      200, and opens /tree/plain for it
 *   late      the same, but listens only after 0.4 s
 *   recovers  the same, but looks for 17 more files in 1.7 s before it makes /recovered and answers
 *   busy      503 twice, then 200
 *   silent    accepts, and does not answer
 *   strange   answers something that is not HTTP
 */
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define MOST 4

static int listening(char *spec)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	int is_six = strchr(spec, ':') != NULL, on = 1;
	int handle = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	char *port = strchr(spec, ',');

	must(handle >= 0 && port, spec);
	*port++ = 0;
	six.sin6_port = four.sin_port = htons(atoi(port));
	must(inet_pton(is_six ? AF_INET6 : AF_INET, spec, is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr),
	     spec);
	if (is_six)
		MUST(setsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
	MUST(bind(handle, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		  is_six ? sizeof(six) : sizeof(four)));
	MUST(listen(handle, 7));
	return handle;
}

static void answer(int client, const char *mode)
{
	static int answered;
	char request[4096];
	const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n17\n";

	if (!strcmp(mode, "silent"))
		return; /* the connection stays open */
	if (!strcmp(mode, "strange"))
		text = "220 this is no web server\r\n";
	else if (!strcmp(mode, "busy") && answered++ < 2)
		text = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	else
		MUST(close(open("/tree/plain", O_RDONLY)));
	MUST(read(client, request, sizeof(request)));
	MUST(write(client, text, strlen(text)));
	shutdown(client, SHUT_WR);
	while (read(client, request, sizeof(request)) > 0)
		;
	close(client);
}

static void end(int which)
{
	(void)which;
	_exit(0);
}

static void recover(void)
{
	char name[32];

	for (int number = 0; number < 17; number++) {
		snprintf(name, sizeof(name), "/lost/%d", number);
		open(name, O_RDONLY);
		usleep(100000);
	}
	MUST(close(creat("/recovered", 0600)));
}

int main(int argc, char **argv)
{
	struct pollfd handles[MOST];
	int count = 0;

	signal(SIGTERM, end);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && !strcmp(argv[1], "late"))
		usleep(400000);
	for (int at = 2; at < argc && count < MOST; at++)
		handles[count++] = (struct pollfd){.fd = listening(argv[at]), .events = POLLIN};
	if (argc > 1 && !strcmp(argv[1], "recovers"))
		recover();
	while (poll(handles, count, -1) > 0)
		for (int at = 0; at < count; at++)
			if (handles[at].revents)
				answer(accept(handles[at].fd, NULL, NULL), argv[1]);
	return 0;
}
