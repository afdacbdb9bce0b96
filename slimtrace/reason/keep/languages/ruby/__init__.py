"""Ruby: the features, gems and files that the code in use names."""

from slimtrace.reason.keep.languages.ruby.finder import Ruby

__all__ = ["Ruby"]
