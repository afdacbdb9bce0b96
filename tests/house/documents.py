"""The project's Markdown pages, for the tests about them."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE_BY_TOOLS = {"build", "dist", "slimtrace-artifacts"}  # as in .gitignore; hidden folders are left out too


def _pages() -> list[Path]:
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in MADE_BY_TOOLS]
        found += [Path(folder) / name for name in files if name.endswith(".md")]
    return sorted(found)


PAGES = _pages()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))
