/* bcc refuses to compile where the kernel's configuration does not say that BPF is in; it is: doctor tried. */
#define CONFIG_BPF_SYSCALL 1
