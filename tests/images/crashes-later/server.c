#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ANSWER[] = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int server = socket(AF_INET, SOCK_STREAM, 0);
	char request[4096];

	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 8))
		return 2;
	int client = accept(server, NULL, NULL);
	if (read(client, request, sizeof(request)) <= 0 || write(client, ANSWER, strlen(ANSWER)) < 0)
		return 2;
	close(client);
	fputs("server: out of luck\n", stderr);
	return 1;
}
