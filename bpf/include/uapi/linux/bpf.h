/* bcc carries the whole of uapi/linux/bpf.h in itself. */
#include <bcc/bpf.h>
