"""The metadata of Python distributions (https://packaging.python.org/specifications/core-metadata/, …/
recording-installed-packages/)."""

import csv
from collections.abc import Callable
from itertools import islice
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.manifests.text import MAX_FILES, TEXT_LIMIT, fields, lines, text
from slimtrace.facts.packages import Manifest

_CLASSIFIER = "License :: "
LONGEST_NAME = 100  # characters; "License" often holds a whole license's text


def metadata(stream: BinaryIO) -> tuple[Manifest, ...]:
    """METADATA or PKG-INFO, as one manifest. The license is its expression, else what "License" says in one
    short line, else its classifiers."""
    head = text(stream).partition("\n\n")[0].replace("\r", "")
    found = list(fields(head))
    first_values = dict(reversed(found))
    classified = [value.rpartition(" :: ")[2] for name, value in found if value.startswith(_CLASSIFIER)]
    one = first_values.get("license-expression") or first_values.get("license", "")
    if len(one) > LONGEST_NAME or one.upper() in ("UNKNOWN", ""):
        one = ""
    licenses = (one,) if one else tuple(dict.fromkeys(classified))
    return (Manifest(first_values.get("name", ""), first_values.get("version", ""), licenses=licenses),)


def record(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The paths of a RECORD, as one manifest: absolute, or from the directory that holds the dist-info."""
    names = filter(None, map(_record_path, lines(text(stream, TEXT_LIMIT))))
    return (Manifest(files=tuple(islice(names, MAX_FILES))),)


def cut_record(data: bytes, keep: Callable[[str], bool]) -> bytes:
    """A RECORD with the lines of the paths that are to be kept."""
    wanted = (line for line in lines(paths.decode(data)) if keep(_record_path(line)))
    return paths.encode("".join(f"{line}\n" for line in wanted))


def _record_path(line: str) -> str:
    """The path in a line of a RECORD: path, digest, size; "" for a broken line. No installer writes a path that
    has a line break in it."""
    try:
        return next(csv.reader([line.rstrip("\r")]), [""])[0]
    except (csv.Error, IndexError):
        return ""
