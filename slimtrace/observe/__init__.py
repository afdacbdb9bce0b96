"""From the machine to facts: the only code that looks at the kernel, the container and its files. It never
decides what is kept or allowed."""
