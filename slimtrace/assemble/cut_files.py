"""The image's files with some of them cut: package databases of which only a part is kept."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace

from slimtrace.assemble.layer import Readable, Source
from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.manifests import apk, dpkg, python, rpm
from slimtrace.facts.packages import Format
from slimtrace.facts.tree import FileTree
from slimtrace.reason.keep.packages.trimmed_database import Cut

LIMIT = 1 << 28  # bytes of one database: a larger file is left as it is


class PatchedSource:
    """A source in which some files have other content (`contents`, by path) and the same extended
    attributes."""

    def __init__(self, source: Source, contents: Mapping[str, bytes]) -> None:
        self._source = source
        self._contents = contents

    def open(self, path: str) -> Readable:
        """A regular file, for reading. Raises OSError."""
        return io.BytesIO(self._contents[path]) if path in self._contents else self._source.open(path)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes of `path`."""
        return self._source.xattrs(path)


def apply_cuts(source: Source, tree: FileTree, cuts: Iterable[Cut]) -> tuple[Source, FileTree]:
    """The source and the tree in which the files of `cuts` are cut. Owner, mode and times stay as they are; one
    name of a hardlinked file becomes a file of its own. Raises SlimtraceError for a file that cannot be
    read."""
    contents = {}
    for cut in cuts:
        if tree[cut.path].size <= LIMIT and (data := _cut(cut, _read(source, tree, cut.path))) is not None:
            contents[cut.path] = data
    entries = {path: replace(tree[path], size=len(data), inode=0) for path, data in contents.items()}
    return PatchedSource(source, contents), tree.changed(entries)


def _cut(cut: Cut, data: bytes) -> bytes | None:
    """What remains of a file's content `data`; None where the file must stay whole, since it cannot be cut."""
    wanted, files = cut.keep.__contains__, cut.files.__contains__
    match cut.form:
        case Format.DPKG:
            return dpkg.cut_status(data, wanted)
        case Format.LIST:
            return dpkg.cut_list(data, wanted)
        case Format.MD5SUMS:
            return dpkg.cut_md5sums(data, wanted)
        case Format.RECORD:
            return python.cut_record(data, wanted)
        case Format.APK:
            return apk.cut(data, wanted, files)
        case Format.RPM:
            return rpm.cut(data, wanted)
        case _:
            raise AssertionError(f"internal error: {cut.form} cannot be cut")


def _read(source: Source, tree: FileTree, path: str) -> bytes:
    """The content of a file, at most as many bytes as the tree says. Raises SlimtraceError."""
    data = memoryview(bytearray(tree[path].size))
    end = 0
    try:
        file = source.open(path)
        try:
            while end < len(data) and (count := file.readinto(data[end:])):
                end += count
        finally:
            file.close()
    except OSError as error:
        raise SlimtraceError(f"cannot read {paths.printable(path)}: {error.strerror}") from error
    return bytes(data[:end])
