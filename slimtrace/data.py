"""The folders of data that belong to the package: bpf/ and kernels/.

In a wheel they are below ``slimtrace/_data``; in a checkout (editable install) beside the package.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `name` ("bpf" or "kernels"). Raises FileNotFoundError when the installation lacks it."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"slimtrace's own data folder {name!r} is missing: install slimtrace again")
