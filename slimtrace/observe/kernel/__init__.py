"""What is read from the kernel: BTF, the BPF programs and their maps, records, system calls, mounts."""
