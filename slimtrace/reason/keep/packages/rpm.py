"""What rpm has installed, where its database is SQLite (rpm 4.16 and later): see facts.manifests.rpm."""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, Places, System, package

DIRECTORIES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
SQLITE = "rpmdb.sqlite"
LOG = "-wal"  # what was written last, where rpm did not close the database
OTHERS = {"Packages": "Berkeley DB", "Packages.db": "ndb"}


def databases(capture: Capture) -> list[str]:
    """The (resolved) paths of the databases that can be read."""
    tree = capture.tree
    found = dict.fromkeys(tree.resolve(f"{directory}/{SQLITE}").path for directory in DIRECTORIES)
    return [path for path in found if path in tree and not _has_log(capture, path)]


def installed(capture: Capture, places: Places) -> Iterator[Package]:
    """The packages of each database."""
    for path in databases(capture):
        for told in capture.contents.manifests(path, Format.RPM):
            yield package(System.RPM, told, places.place(told.files), path, ())


def unreadable(capture: Capture) -> Iterator[Doubt]:
    """A doubt for each database that there is and cannot be read."""
    tree = capture.tree
    found = {}
    for directory in DIRECTORIES:
        base = tree.resolve(directory).path
        for name, what in OTHERS.items():
            if f"{base}/{name}" in tree and f"{base}/{SQLITE}" not in tree:
                found[f"{base}/{name}"] = f"is {what}, which is not read"
        path = f"{base}/{SQLITE}"
        if path in tree and _has_log(capture, path):
            found[path] = "has a log beside it that was not worked in"
        elif path in tree and not capture.contents.manifests(path, Format.RPM):
            found[path] = "names no package that can be read"
    for path, what in sorted(found.items()):
        where = paths.printable(path)
        text = f"the package database {where} {what}: the slim image and its SBOM are without rpm's packages"
        yield Doubt("package-database", text, path)


def _has_log(capture: Capture, path: str) -> bool:
    entry = capture.tree.get(f"{path}{LOG}")
    return entry is not None and entry.size > 0
