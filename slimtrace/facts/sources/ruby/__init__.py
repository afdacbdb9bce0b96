"""The reader of Ruby sources."""

from slimtrace.facts.sources.ruby.source import mentions

__all__ = ["mentions"]
