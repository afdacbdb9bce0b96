"""Decisions to world: archives, layers, profile files."""
