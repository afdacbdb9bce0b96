"""The packages that rpm installed, where its database is SQLite (rpm 4.16 and later); facts.manifests.rpm reads
it."""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, PackageType, PathResolver, package_from_manifest

DIRECTORIES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
SQLITE = "rpmdb.sqlite"
WAL = "-wal"  # SQLite's write-ahead log: not empty where rpm did not close the database
UNREADABLE = {"Packages": "Berkeley DB", "Packages.db": "ndb"}


def databases(capture: Capture) -> list[str]:
    """The (resolved) paths of the SQLite databases without a write-ahead log, which can be read."""
    tree = capture.tree
    found = dict.fromkeys(tree.resolve(f"{directory}/{SQLITE}").path for directory in DIRECTORIES)
    return [path for path in found if path in tree and not _has_wal(capture, path)]


def installed(capture: Capture, resolver: PathResolver) -> Iterator[Package]:
    """The packages of each database."""
    for path in databases(capture):
        for manifest in capture.contents.manifests(path, Format.RPM):
            yield package_from_manifest(PackageType.RPM, manifest, resolver.locate(manifest.files), path, ())


def unreadable(capture: Capture) -> Iterator[Doubt]:
    """A doubt for each database of the image that cannot be read."""
    tree = capture.tree
    found = {}
    for directory in DIRECTORIES:
        base = tree.resolve(directory).path
        for name, what in UNREADABLE.items():
            if f"{base}/{name}" in tree and f"{base}/{SQLITE}" not in tree:
                found[f"{base}/{name}"] = f"is {what}, which is not read"
        path = f"{base}/{SQLITE}"
        if path in tree and _has_wal(capture, path):
            found[path] = "has a log beside it that was not worked in"
        elif path in tree and not capture.contents.manifests(path, Format.RPM):
            found[path] = "names no package that can be read"
    for path, what in sorted(found.items()):
        where = paths.printable(path)
        text = f"the package database {where} {what}: the slim image and its SBOM are without rpm's packages"
        yield Doubt("package-database", text, path)


def _has_wal(capture: Capture, path: str) -> bool:
    entry = capture.tree.get(f"{path}{WAL}")
    return entry is not None and entry.size > 0
