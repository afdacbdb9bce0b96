"""The reader of PHP sources."""

from slimtrace.facts.sources.php.source import mentions

__all__ = ["mentions"]
