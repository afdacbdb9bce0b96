"""The reader of JavaScript sources."""

from slimtrace.facts.sources.javascript.source import mentions

__all__ = ["mentions"]
