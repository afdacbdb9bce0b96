/* Sockets of several kinds, with and without a file. */
#include "workload.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MANY 19

static struct sockaddr_un named(const char *path, socklen_t *size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, path, strlen(path)); /* no NUL behind the longest */
	*size = offsetof(struct sockaddr_un, sun_path) + strlen(path);
	return address;
}

int main(void)
{
	socklen_t size;
	struct sockaddr_un address;
	struct sockaddr_un nameless = {.sun_family = AF_UNIX, .sun_path = "\0hidden"};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(8017)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(8039)};
	char longest[109] = "/desk/";
	int pair[2];

	MUST(chdir("/desk"));
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address = named("door", &size);
	MUST(bind(server, (void *)&address, size));
	MUST(listen(server, 3));
	for (int turn = 0; turn < MANY; turn++) { /* reported once */
		int client = socket(AF_UNIX, SOCK_STREAM, 0);
		MUST(client);
		MUST(connect(client, (void *)&address, size));
		close(client);
		close(accept(server, NULL, NULL));
	}
	address = named("/desk/absent", &size);
	MUST_FAIL(ENOENT, connect(socket(AF_UNIX, SOCK_SEQPACKET, 0), (void *)&address, size));
	memset(longest + 6, 'l', 102);
	int box = socket(AF_UNIX, SOCK_DGRAM, 0);
	address = named(longest, &size);
	MUST(bind(box, (void *)&address, size));
	int writer = socket(AF_UNIX, SOCK_DGRAM, 0);
	MUST(sendto(writer, "x", 1, 0, (void *)&address, size));
	struct iovec text = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {.msg_name = &address, .msg_namelen = size, .msg_iov = &text, .msg_iovlen = 1};
	MUST(sendmsg(writer, &message, 0));
	size = offsetof(struct sockaddr_un, sun_path) + 7;
	MUST(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&nameless, size));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(send(pair[0], "x", 1, 0)); /* to no address */

	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int inbox = socket(AF_INET, SOCK_DGRAM, 0);
	MUST(bind(inbox, (void *)&four, sizeof(four)));
	int outbox = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
	MUST(sendto(outbox, "x", 1, 0, (void *)&four, sizeof(four)));
	MUST(connect(outbox, (void *)&four, sizeof(four)));
	MUST_FAIL(ECONNREFUSED, connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&four, sizeof(four)));
	six.sin6_addr = in6addr_any;
	int inbox6 = socket(AF_INET6, SOCK_DGRAM, 0);
	if (inbox6 >= 0)
		MUST(bind(inbox6, (void *)&six, sizeof(six)));
	MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	MUST_FAIL(ENOTSOCK, connect(0, (void *)&four, sizeof(four)));
	return 0;
}
