#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ANSWER[] = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
static const useconds_t A_WHILE = 700000;

static void leave(int signal)
{
	(void)signal;
	if (!getenv("HURRY"))
		usleep(A_WHILE);
	_exit(0);
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int server = socket(AF_INET, SOCK_STREAM, 0);
	char request[4096];

	signal(SIGTERM, leave);
	if (!getenv("HURRY")) {
		if (open("/data/large", O_RDONLY) < 0)
			return 2;
		usleep(A_WHILE);
	}
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 8))
		return 2;
	for (;;) {
		int client = accept(server, NULL, NULL);

		if (read(client, request, sizeof(request)) > 0)
			(void)!write(client, ANSWER, strlen(ANSWER));
		close(client);
	}
}
