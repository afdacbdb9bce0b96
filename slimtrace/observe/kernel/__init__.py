"""What the kernel tells: BTF, the BPF programs and their maps, records, system calls, mounts."""
