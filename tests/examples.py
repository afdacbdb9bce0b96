"""How many examples hypothesis tries: a fifth of them for `make check`, which sets SLIMTRACE_FEW_EXAMPLES."""

from __future__ import annotations

import os

from hypothesis import settings

FEW = "SLIMTRACE_FEW_EXAMPLES" in os.environ
DEFAULT = 100  # hypothesis' own


def examples(count: int) -> int:
    """The number of examples in place of `count`: `@settings(max_examples=examples(300))`."""
    return max(count // 5, 5) if FEW else count


def set_default() -> None:
    """Have tests without settings of their own try as many as `examples` says."""
    settings.register_profile("slimtrace", max_examples=examples(DEFAULT))
    settings.load_profile("slimtrace")
