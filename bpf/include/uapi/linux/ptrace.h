/* Registers are read at offsets from BTF (see bpf/kernel.h); bcc only wants the type to exist. */
struct pt_regs;
