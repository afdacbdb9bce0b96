"""dpkg's database: deb822(5), dpkg-query(1), deb-src-control(5) for "Source", and Debian's machine-readable
copyright files (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/).

``status`` has a stanza for each package that is, or was, installed; ``info/NAME.list`` (``NAME:ARCH.list``
where several architectures of it may be installed) names its files, directories among them;
``info/NAME.md5sums`` the regular files that are no configuration, without the first slash. Images without dpkg
(distroless) have a stanza a file in ``status.d``, with ``.md5sums`` beside it.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.manifests.text import MAX_FILES, TEXT_LIMIT, fields, lines, text
from slimtrace.facts.packages import Manifest

_WITHOUT_FILES = ("not-installed", "config-files")  # states without files (dpkg(1))
_SOURCE = re.compile(r"(\S+)(?: +\((\S+)\))?")
MAX_LICENSES = 64


def status(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The packages that are installed, also half-installed ones; `key` is the name of their lists
    (`info/KEY.list`)."""
    return tuple(
        found for stanza in _stanzas(text(stream, TEXT_LIMIT)) if (found := _package(stanza)) is not None
    )


def cut_status(data: bytes, keep: Callable[[str], bool]) -> bytes:
    """The status with the stanzas of the packages whose `key` is to be kept, byte for byte."""
    found = []
    for stanza in _stanzas(paths.decode(data)):
        package = _package(stanza)
        if package and keep(package.key):
            found.append(stanza.strip("\n") + "\n\n")
    return paths.encode("".join(found))


def file_list(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The paths of a ``.list``, as one manifest."""
    found = (line for line in lines(text(stream, TEXT_LIMIT)) if line[:1] == "/")
    return (Manifest(files=tuple(islice(found, MAX_FILES))),)


def cut_list(data: bytes, keep: Callable[[str], bool]) -> bytes:
    """A ``.list`` with the paths that are to be kept."""
    wanted = (line for line in lines(paths.decode(data)) if line[:1] == "/" and keep(line))
    return paths.encode("".join(f"{line}\n" for line in wanted))


def md5sums(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The paths of an ``.md5sums``, made absolute, as one manifest."""
    found = filter(None, map(_md5sums_path, lines(text(stream, TEXT_LIMIT))))
    return (Manifest(files=tuple(islice(found, MAX_FILES))),)


def cut_md5sums(data: bytes, keep: Callable[[str], bool]) -> bytes:
    """An ``.md5sums`` with the paths that are to be kept; they are asked for as absolute ones."""
    wanted = (line for line in lines(paths.decode(data)) if (path := _md5sums_path(line)) and keep(path))
    return paths.encode("".join(f"{line}\n" for line in wanted))


def copyright_licenses(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The short names of the licenses in a copyright file for machines, as one manifest; none for another."""
    content = text(stream)
    if "format:" not in content[:1000].lower():
        return (Manifest(),)
    names = (value for name, value in fields(content) if name == "license" and 0 < len(value) < 200)
    return (Manifest(licenses=tuple(dict.fromkeys(names))[:MAX_LICENSES]),)


def _stanzas(content: str) -> Iterator[str]:
    return (stanza for stanza in re.split(r"\n(?:[ \t]*\n)+", content) if stanza.strip())


def _package(stanza: str) -> Manifest | None:
    values = dict(fields(stanza))
    name, state = values.get("package", ""), values.get("status", "install ok installed").split()
    if not name or (state and state[-1] in _WITHOUT_FILES):
        return None
    architecture = values.get("architecture", "")
    source = _SOURCE.match(values.get("source", ""))
    key = f"{name}:{architecture}" if values.get("multi-arch") == "same" else name
    return Manifest(
        name=name,
        version=values.get("version", ""),
        architecture=architecture,
        source=source[1] if source else "",
        source_version=(source[2] or "") if source else "",
        key=key,
    )


def _md5sums_path(line: str) -> str:
    """The path in a line of md5sum(1): a digest, a blank, a blank or an asterisk, the name."""
    digest, _, name = line.partition(" ")
    return paths.clean(name[1:]) if len(digest) == 32 and len(name) > 1 else ""
