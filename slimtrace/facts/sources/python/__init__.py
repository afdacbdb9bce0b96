"""The reader of Python sources."""

from slimtrace.facts.sources.python.source import mentions

__all__ = ["mentions"]
