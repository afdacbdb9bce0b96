"""The reader of JavaScript source."""

from slimtrace.facts.sources.javascript.source import mentions

__all__ = ["mentions"]
