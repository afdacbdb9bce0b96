"""The reader of shell source."""

from slimtrace.facts.sources.shell.source import mentions

__all__ = ["mentions"]
