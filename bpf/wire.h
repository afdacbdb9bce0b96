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

enum record_flag {
	FLAG_OPENED = 1,    /* a file was opened: ino, dev, file_mode and the resolved path are set */
	FLAG_FOREIGN = 2,   /* it lies on another file system than the process's root directory */
	FLAG_TRUNCATED = 4, /* a path was longer than the record holds */
	FLAG_BASED = 8,     /* the asked path is relative to the base path, even where it begins with a slash */
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
	u16 call;   /* FILE: system call number */
	u16 asked_length;
	u16 base_length;
	u16 resolved_length;
	u16 args_length; /* EXEC: NUL-terminated arguments behind the paths */
	u16 unused;
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

/* How a system call names a file; one row of the `calls` map, filled from slimtrace/observe/calls.py. Arguments
 * are given by their offset in struct pt_regs, NO_ARGUMENT for none. */
#define NO_ARGUMENT 65535
#define KNOWN 1            /* this call reaches for a file */
#define KNOWN_BY_FAILURE 2 /* here only when it fails: sched_process_exec tells of a success */
struct call_shape {
	u16 known;  /* 0, KNOWN or KNOWN_BY_FAILURE */
	u16 opens;  /* 1: a result >= 0 is a descriptor of the file */
	u16 path;   /* the path */
	u16 dirfd;  /* the directory the path is relative to; none: the working directory */
	u16 flags;  /* open(2) or AT_* flags */
	u16 how;    /* pointer to a struct open_how, whose first member is the flags */
	u16 path2;  /* a second path (rename, link) */
	u16 dirfd2;
};

#endif
