"""The reader of Ruby source."""

from slimtrace.facts.sources.ruby.source import mentions

__all__ = ["mentions"]
