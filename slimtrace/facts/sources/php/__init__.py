"""The reader of PHP source."""

from slimtrace.facts.sources.php.source import mentions

__all__ = ["mentions"]
