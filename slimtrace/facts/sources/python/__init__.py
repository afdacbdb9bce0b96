"""The reader of Python source."""

from slimtrace.facts.sources.python.source import mentions

__all__ = ["mentions"]
