"""What ``slimtrace diff`` prints: the files that the slim image lacks, by package and by directory."""

import sys
from typing import TextIO

from slimtrace.present.page import Row, Section, many, row, size, write
from slimtrace.reason.explain.removed_files import PackageLoss, RemovedFiles

DIRECTORIES_SHOWN = 25


def print_removed_files(found: RemovedFiles, with_paths: bool = False, stream: TextIO | None = None) -> None:
    """Print what the slim image lacks, the largest first; with `with_paths` every path too."""
    write(_sections(found, with_paths), stream or sys.stdout)


def _sections(found: RemovedFiles, with_paths: bool) -> list[Section]:
    head = (
        f"{found.slim} is without {many(found.gone, 'file')} of {found.files} and "
        f"{size(found.gone_bytes + found.cut_bytes)} of {size(found.bytes)} of {found.fat}"
    )
    whole = sum(one.whole for one in found.packages)
    partly = len(found.packages) - whole
    totals = [
        _total("packages gone whole", [one for one in found.packages if one.whole], f"{whole}"),
        _total("packages gone in part", [one for one in found.packages if not one.whole], f"{partly}"),
        row(
            "of no package",
            "",
            many(sum(one.gone for one in found.directories), "file"),
            size(sum(one.bytes for one in found.directories)),
        ),
    ]
    if found.cut_bytes:
        totals.append(row("cut out of package databases", "", "", size(found.cut_bytes)))
    packages = [
        row(
            size(one.bytes),
            "whole" if one.whole else "part",
            f"{one.gone} of {one.files}",
            one.kind,
            one.name,
            one.version,
            tone="" if one.whole else "dim",
        )
        for one in found.packages
    ]
    directories = [
        row(size(one.bytes), many(one.gone, "file"), one.path) for one in found.directories[:DIRECTORIES_SHOWN]
    ]
    if more := len(found.directories) - len(directories):
        directories.append(row("", "", f"and {more} more directories"))
    files = [row(size(one.bytes), one.path, one.package) for one in found.paths] if with_paths else []
    return [
        Section("", [row(head, tone="bold")]),
        Section("Together", totals, frozenset({1, 2, 3})),
        Section("Packages", packages, frozenset({0, 2})),
        Section("Of no package, below", directories, frozenset({0, 1})),
        Section("Files", files, frozenset({0})),
    ]


def _total(label: str, packages: list[PackageLoss], count: str) -> Row:
    files = many(sum(one.gone for one in packages), "file")
    return row(label, count, files, size(sum(one.bytes for one in packages)))


__all__ = ["print_removed_files"]
