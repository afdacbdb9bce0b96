"""File formats that more than one part reads: ELF, tar, file capabilities. Nothing is executed."""
