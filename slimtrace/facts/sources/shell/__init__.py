"""The reader of shell scripts."""

from slimtrace.facts.sources.shell.source import mentions

__all__ = ["mentions"]
