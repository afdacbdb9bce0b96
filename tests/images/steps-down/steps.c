/* Answers every request with the greeting, after it has written in three directories. */

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int number)
{
	(void)number;
	unlink("/run/steps/pid");
	_exit(0);
}

static int put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	if (!file)
		perror(path);
	return !file || fputs(text, file) < 0 || fclose(file) != 0;
}

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
	char request[4096], greeting[64] = "", answer[256];
	FILE *file = fopen("/srv/state/greeting", "r");

	signal(SIGTERM, end);
	if (!file || !fgets(greeting, sizeof(greeting), file) || fclose(file))
		return 2;
	if (put("/srv/state/greeting", greeting) || put("/run/steps/pid", "1\n") || put("/var/cache/app/page", greeting))
		return 3;
	snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(greeting), greeting);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 8))
		return 4;
	for (;;) {
		int client = accept(server, NULL, NULL);
		if (client < 0)
			continue;
		if (read(client, request, sizeof(request)) > 0 && write(client, answer, strlen(answer)) < 0)
			perror("write");
		close(client);
	}
}
