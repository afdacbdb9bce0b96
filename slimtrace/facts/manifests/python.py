"""The metadata of Python distributions (https://packaging.python.org/specifications/core-metadata/, …/
recording-installed-packages/)."""

import csv
from typing import BinaryIO

from slimtrace.facts.manifests.text import TEXT_LIMIT, fields, text
from slimtrace.facts.packages import Manifest

_CLASSIFIER = "License :: "
LONGEST_NAME = 100  # characters; "License" often holds a whole license's text


def metadata(stream: BinaryIO) -> tuple[Manifest, ...]:
    """METADATA or PKG-INFO, as one manifest. The license is its expression, else what "License" says in one
    short line, else its classifiers."""
    head = text(stream).partition("\n\n")[0].replace("\r", "")
    found = list(fields(head))
    told = dict(reversed(found))  # the first of each name
    classified = [value.rpartition(" :: ")[2] for name, value in found if value.startswith(_CLASSIFIER)]
    one = told.get("license-expression") or told.get("license", "")
    if len(one) > LONGEST_NAME or one.upper() in ("UNKNOWN", ""):
        one = ""
    licenses = (one,) if one else tuple(dict.fromkeys(classified))
    return (Manifest(told.get("name", ""), told.get("version", ""), licenses=licenses),)


def recorded(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The paths of a RECORD, as one manifest: absolute, or from the directory that holds the dist-info."""
    files = []
    try:
        for row in csv.reader(text(stream, TEXT_LIMIT).splitlines()):
            if row and row[0]:
                files.append(row[0])
    except csv.Error:  # a field without end; what came before it stands
        pass
    return (Manifest(files=tuple(files)),)
