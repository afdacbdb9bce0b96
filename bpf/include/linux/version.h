/* Only bcc's own `#if LINUX_VERSION_CODE` reads this; slimtrace never decides by a version. */
#ifndef SLIMTRACE_LINUX_VERSION_H
#define SLIMTRACE_LINUX_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif
