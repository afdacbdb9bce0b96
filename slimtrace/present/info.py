"""What ``slimtrace info`` prints."""

import shlex
import sys
from collections.abc import Sequence
from stat import filemode
from typing import TextIO

from slimtrace.facts.image import Image
from slimtrace.present.page import Row, Section, many, row, size, write
from slimtrace.reason.image.inventory import Copies, Inventory, LayerSums, PrivilegedFile, SizedPath

COPIES_SHOWN = 5  # `info --json` has more
PATHS_SHOWN = 2  # of files with the same content


def print_image(
    image: Image, dockerfile: str, inventory: Inventory | None = None, stream: TextIO | None = None
) -> None:
    """Print an image's configuration, its layers with the command that made each, the inventory of its files,
    and its Dockerfile.fat."""
    sections = [
        Section("Image", _settings(image)),
        Section("Layers, oldest first", _layers(image), frozenset({0, 1})),
        *(_inventory(image, inventory) if inventory else ()),
        Section("Dockerfile.fat", [row(line.expandtabs(4)) for line in dockerfile.splitlines()]),
    ]
    write(sections, stream or sys.stdout)


def _settings(image: Image) -> list[Row]:
    platform = "/".join(filter(None, (image.os, image.architecture, image.variant)))
    settings = [
        ("reference", image.reference),
        ("tags", ", ".join(image.tags)),
        ("id", image.id),
        ("platform", platform),
        ("created", image.created),
        ("size", size(image.size)),
        ("user", image.text("User")),
        ("workdir", image.text("WorkingDir")),
        ("entrypoint", shlex.join(image.strings("Entrypoint"))),
        ("cmd", shlex.join(image.strings("Cmd"))),
        ("shell", shlex.join(image.strings("Shell"))),
        ("stop signal", image.text("StopSignal")),
        ("healthcheck", shlex.join(image.healthcheck)),
        ("ports", ", ".join(sorted(map(str, image.config.get("ExposedPorts") or ())))),
        ("volumes", ", ".join(image.volumes)),
    ]
    rows = [row(label, value) for label, value in settings if value]
    rows += [row("env", f"{name}={value}") for name, value in image.environment.items()]
    labels = image.config.get("Labels") or {}
    return rows + [row("label", f"{name}={value}") for name, value in sorted(labels.items())]


def _layers(image: Image) -> list[Row]:
    return [
        row(str(number), "-" if entry.empty else size(entry.size), _command(entry.created_by, entry.comment))
        for number, entry in enumerate(image.history, 1)
    ]


def _command(created_by: str, comment: str) -> str:
    """The builder's text on one line: line breaks and indentation of a long RUN are left out."""
    return " ".join(created_by.split()) or comment or "(unknown)"


def _inventory(image: Image, found: Inventory) -> list[Section]:
    duplicates, stored = found.duplicates, found.stored
    packages = ", ".join(f"{count} {kind}" for kind, count in found.packages.items())
    files = [
        row("files", f"{found.files}, {size(found.size)}"),
        row("others", f"{many(found.directories, 'directory', 'directories')}, {many(found.links, 'link')}"),
        row("copies", f"{many(duplicates.files, 'file')} with the content of another, {size(duplicates.size)}"),
        row("in all layers", f"{many(stored.files, 'copy', 'copies')}, {size(stored.size)}"),
        row("hidden", f"{size(found.hidden)} that later layers replaced or removed"),
        row("packages", packages or "none found"),
    ]
    return [
        Section("Files", files),
        Section("Hidden, by layer", _hidden(image, found.layers)),
        Section("Copies", [_copies(each) for each in duplicates.worst[:COPIES_SHOWN]], frozenset({0, 1})),
        Section(
            "With rights of their own", [_privileged_file(file) for file in found.powerful], frozenset({1})
        ),
        Section("Largest files", [_sized_path(each) for each in found.largest_files], frozenset({0})),
        Section(
            "Largest directories", [_sized_path(each) for each in found.largest_directories], frozenset({0})
        ),
    ]


def _hidden(image: Image, layers: Sequence[LayerSums]) -> list[Row]:
    numbers = [number for number, entry in enumerate(image.history, 1) if not entry.empty]
    if len(numbers) != len(layers):
        numbers = list(range(1, len(layers) + 1))
    rows = []
    for number, layer in zip(numbers, layers, strict=True):
        words = []
        if layer.replaced:
            words.append(f"replaces {many(layer.replaced, 'file')}, {size(layer.replaced_bytes)}")
        if layer.removed:
            words.append(f"removes {many(layer.removed, 'file')}, {size(layer.removed_bytes)}")
        if words:
            rows.append(row(f"layer {number}", "; ".join(words)))
    return rows


def _copies(copies: Copies) -> Row:
    more = copies.count - len(copies.paths[:PATHS_SHOWN])
    others = f" and {more} more" if more else ""
    return row(f"{copies.count} of", size(copies.size), ", ".join(copies.paths[:PATHS_SHOWN]) + others)


def _privileged_file(file: PrivilegedFile) -> Row:
    return row(
        filemode(0o100000 | file.mode), f"{file.uid}:{file.gid}", f"{file.path} {file.capabilities}".strip()
    )


def _sized_path(each: SizedPath) -> Row:
    return row(size(each.size), each.path)


__all__ = ["print_image"]
