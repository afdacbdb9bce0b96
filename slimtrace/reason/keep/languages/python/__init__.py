"""Python: what code in use imports and reads later or rarely, and the metadata of distributions."""

from slimtrace.reason.keep.languages.python.finder import Python

__all__ = ["Python"]
