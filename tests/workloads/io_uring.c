/* File operations by io_uring, without liburing: each request is submitted and waited for. */
#include "workload.h"
#include <linux/io_uring.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct io_uring_params made;
static char *submissions, *completions;
static struct io_uring_sqe *entries;
static int ring;

static int ask(struct io_uring_sqe request)
{
	unsigned tail = *(unsigned *)(submissions + made.sq_off.tail);
	unsigned *head = (unsigned *)(completions + made.cq_off.head);
	unsigned slot = tail & *(unsigned *)(submissions + made.sq_off.ring_mask);

	entries[slot] = request;
	((unsigned *)(submissions + made.sq_off.array))[slot] = slot;
	__atomic_store_n((unsigned *)(submissions + made.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	must(CALL(io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
	struct io_uring_cqe *answers = (void *)(completions + made.cq_off.cqes);
	int result = answers[*head & *(unsigned *)(completions + made.cq_off.ring_mask)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

static void *mapped(size_t size, off_t offset)
{
	void *found = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

	must(found != MAP_FAILED, "mmap");
	return found;
}

#define AT(text) .addr = (unsigned long)(text)

int main(void)
{
	struct statx status;
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/desk/absent"};

	ring = CALL(io_uring_setup, 7, &made);
	MUST(ring);
	submissions = mapped(made.sq_off.array + made.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	completions = mapped(made.cq_off.cqes + made.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	entries = mapped(made.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	MUST(CALL(chdir, "/tree"));
	int directory = CALL(open, "/desk", O_RDONLY | O_DIRECTORY);
	MUST(directory);

	must(ask((struct io_uring_sqe){.opcode = IORING_OP_NOP}) == 0, "nop");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, AT("link/inner")}) >= 0, "openat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = directory, AT("made"),
				       .len = 0644, .open_flags = O_CREAT | O_WRONLY}) >= 0, "openat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, AT("/absent")}) == -ENOENT, "openat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_STATX, .fd = directory, AT("one"), .len = STATX_SIZE,
				       .off = (unsigned long)&status}) == 0, "statx");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_MKDIRAT, .fd = directory, AT("m"), .len = 0755}) == 0, "mkdirat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_RENAMEAT, .fd = directory, AT("made"),
				       .off = (unsigned long)"m/moved", .len = directory}) == 0, "renameat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_LINKAT, .fd = directory, AT("m/moved"),
				       .off = (unsigned long)"/desk/twin", .len = AT_FDCWD}) == 0, "linkat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_SYMLINKAT, .fd = directory, AT("anywhere"),
				       .off = (unsigned long)"soft"}) == 0, "symlinkat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_UNLINKAT, .fd = directory, AT("twin")}) == 0, "unlinkat");
	must(ask((struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = socket(AF_UNIX, SOCK_STREAM, 0),
				       AT(&address), .off = sizeof(address)}) == -ENOENT, "connect");
	return 0;
}
