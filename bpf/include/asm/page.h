/* bcc multiplies ring buffer pages by this; the kernel wants a multiple of its own page size, which 64 KiB
 * pages (arm64) would need too: the recorder hands in the true one with -D. */
#ifndef PAGE_SIZE
#define PAGE_SIZE 4096
#endif
