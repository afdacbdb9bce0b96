/* The one record layout between the kernel side and slimtrace/facts/wire.py.
 *
 * A record is one of the structs below, each beginning with `struct record`. FILE and EXEC records are followed
 * by their strings, without padding: the text the program gave (no NUL), then up to two walked paths, each a run
 * of NUL-terminated names from the leaf up to the container's root. tests/facts/test_wire.py compiles this file
 * and compares every offset with the Python side. */
#ifndef SLIMTRACE_WIRE_H
#define SLIMTRACE_WIRE_H

enum record_type {
	RECORD_FILE = 1,
	RECORD_EXEC = 2,
	RECORD_FORK = 3,
	RECORD_EXIT = 4,
	RECORD_LISTEN = 5,
	RECORD_CGROUP = 6,
	RECORD_SOCKET = 7,
};

enum phase {
	PHASE_RUNTIME = 0,
	PHASE_FILTERED = 1,
	PHASE_APP = 2,
};

enum origin {
	ORIGIN_CONTAINER = 0,
	ORIGIN_EXEC = 1,
};

/* Whose numbers and registers a call has: the machine's own, those of its 32-bit programs, x32. IO_URING is no ABI:
 * with it the numbers are io_uring's operations. */
enum abi {
	ABI_NATIVE = 0,
	ABI_COMPAT = 1,
	ABI_X32 = 2,
	ABI_IO_URING = 3,
};

enum record_flag {
	FLAG_OPENED = 1,    /* a file was reached: ino, dev, magic, file_mode and the resolved path are set */
	FLAG_FOREIGN = 2,   /* the file lies on another file system than the container's root (scope.h, is_foreign) */
	FLAG_TRUNCATED = 4, /* a path was longer than the record holds */
	FLAG_BASED = 8,     /* the asked path is relative to the base path, even where it begins with a slash */
	FLAG_DELETED = 16,  /* the file has no name any more; the resolved path is the one that it had */
};

struct record {
	u32 type;
	u32 pid; /* process (tgid) in the host's numbering */
	u8 phase;
	u8 origin;
	u16 flags;
	u32 length; /* bytes of the whole record */
};

/* FILE and EXEC: a path that was reached for. For EXEC the resolved path is the binary that runs. */
struct path_record {
	struct record head;
	u64 dev;
	u64 ino;
	u64 open_flags;
	s32 error; /* 0 or a negative errno */
	u32 file_mode;
	u32 parent; /* EXEC: the parent process */
	u32 magic;  /* the file system's kind, as statfs(2) gives it */
	u16 call;   /* FILE: system call number, in the numbering of `abi` */
	u16 asked_length;
	u16 base_length;
	u16 resolved_length;
	u16 args_length; /* EXEC: NUL-terminated arguments behind the paths */
	u16 abi;
	u32 program; /* EXEC: the 24 bits by which scope.h tells the program from others */
};

struct fork_record {
	struct record head;
	u32 child;
	u32 unused;
};

struct exit_record {
	struct record head;
	s32 code; /* wait(2) status */
	u32 unused;
};

struct listen_record {
	struct record head;
	u16 family;
	u16 port;
	u32 unused;
	u8 address[16];
};

struct cgroup_record {
	struct record head;
	u64 id;
};

/* A socket that was made, bound, connected, or sent from to an address. */
struct socket_record {
	struct record head;
	u16 call;
	u16 abi;
	u16 family;
	u16 kind; /* SOCK_STREAM and its kin, without flags */
	u16 protocol;
	u16 port;
	s32 error;
	u8 address[16];
};

/* How a system call names a file; one row of the map `call_shapes`, filled from slimtrace/observe/kernel/syscalls.py.
 * Arguments are given by their position, NO_ARGUMENT for none. */
#define NO_ARGUMENT 255
enum act {
	ACT_NONE = 0,
	ACT_NAME = 1,       /* by a path in memory */
	ACT_DESCRIPTOR = 2, /* by a descriptor alone */
	ACT_ADDRESS = 3,    /* by a socket address, which for AF_UNIX is a path */
	ACT_SOCKET = 4,     /* no file: a socket is made */
	ACT_FILTER = 5,     /* no file: a seccomp filter may be put on */
	ACT_FS = 6,         /* no file: the process may have got a root and working directory of its own */
	ACT_LISTEN = 7,     /* no file: a socket without a port may have got one */
	ACT_VALUE = 8,      /* no file: only the value of its first argument is recorded */
};
enum outcome {
	OUTCOME_ANY = 0,
	OUTCOME_FAILURE = 1, /* the call counts only when it fails: sched_process_exec sees a success */
	OUTCOME_SUCCESS = 2,
	OUTCOME_SOMETHING = 3, /* the call counts only with a result above 0 */
};
struct call_shape {
	u8 act;
	u8 outcome;
	u8 opens;  /* 1: a result >= 0 is a descriptor of the file */
	u8 fs_change; /* it changes the working directory (1), the root (2) or both (3) */
	u8 path;   /* the path, or the address */
	u8 dirfd;  /* the directory the path is relative to, none: the working directory; or the descriptor itself */
	u8 flags;  /* open(2) or AT_* flags; of an address its length */
	u8 how;    /* pointer to a struct open_how, whose first member is the flags; or to a struct msghdr */
	u8 path2;  /* a second path (rename, link) */
	u8 dirfd2;
	u8 needs;  /* the call counts only where this argument, masked, is not 0 */
	u8 empty_path; /* 1: without a path, or with an empty one, the call means the descriptor itself (AT_EMPTY_PATH) */
	u32 mask;  /* of the argument `needs`; 0: all bits */
	u64 value_bits; /* the bits of the first argument whose values are recorded (syscalls.h); 0: none are */
	u64 indirect; /* 1: they are bits not of the argument itself, but of the word of memory that it points to */
};

/* How an io_uring request of one operation names a file: offsets in struct io_kiocb, 0 for none. */
struct io_uring_shape {
	u16 name; /* pointer to a struct filename */
	u16 dirfd;
	u16 name2;
	u16 dirfd2;
	u16 flags; /* 32 bits */
	u16 known;
};

#endif
