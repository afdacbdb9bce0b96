"""Readers of package metadata: a file, open at its beginning, to its Manifests.

A reader never raises but OSError, whatever the content, and takes time and memory in proportion to the bytes
that it reads, of which there is a limit. Where a format can be cut (the databases of dpkg, apk and rpm), its
module also has the function that does it: bytes to bytes.
"""

from collections.abc import Callable, Mapping
from typing import BinaryIO

from slimtrace.facts.manifests import apk, dpkg, gem, maven, npm, python, rpm
from slimtrace.facts.packages import Format, Manifest

MAX_MANIFESTS = 100_000  # of one file; more is a forged one

_READERS: Mapping[Format, Callable[[BinaryIO], tuple[Manifest, ...]]] = {
    Format.DPKG: dpkg.status,
    Format.LIST: dpkg.file_list,
    Format.MD5SUMS: dpkg.md5sums,
    Format.COPYRIGHT: dpkg.copyright_licenses,
    Format.APK: apk.installed,
    Format.RPM: rpm.installed,
    Format.PYTHON: python.metadata,
    Format.RECORD: python.record,
    Format.NPM: npm.package,
    Format.GEM: gem.specification,
    Format.MAVEN: maven.coordinates,
}


def read(form: Format, stream: BinaryIO) -> tuple[Manifest, ...]:
    """The manifests in the file open as `stream`, the first MAX_MANIFESTS. Raises OSError where it cannot be
    read."""
    return _READERS[form](stream)[:MAX_MANIFESTS]
