"""Python: modules and data files that code in use may still load, and the metadata of distributions."""

from slimtrace.reason.keep.languages.python.finder import Python

__all__ = ["Python"]
