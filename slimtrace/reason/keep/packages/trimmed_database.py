"""What of the package databases goes into the slim image, so that a scanner sees what is really there.

``trimmed`` (the default): of dpkg, apk and rpm the packages of which a file or link is kept, and no other.
Their lists of files (dpkg's ``.list`` and ``.md5sums``, apk's own, Python's RECORD) are cut to what is kept:
scanners read them to tell which files a package answers for, and ``dpkg --verify`` then finds nothing missing
that they name. A stanza itself stays as it is, byte for byte; rpm's headers do too, since they are signed. Of
languages' packages the one file that names each (METADATA, package.json, gemspec). With them the files that
tell the distribution's name, without which no scanner knows whose versions these are.

``full``: the distribution's databases as the image has them, of languages' packages the same as above, uncut.
``none``: nothing.

What is kept for another reason, since the container itself read it, stays as the image has it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.packages import apk, dpkg, rpm
from slimtrace.reason.keep.packages.installed import Owners
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, Places, System
from slimtrace.reason.keep.rules import PackageDb, Rules, subtree

# Where scanners look for the distribution's name and version: os-release(5), and what is older than that.
RELEASE = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/alpine-release",
    "/etc/redhat-release",
    "/etc/system-release",
)
_LISTS = {".list": Format.LIST, dpkg.DIGESTS: Format.MD5SUMS, "/RECORD": Format.RECORD}
_FORMATS = {System.DEB: Format.DPKG, System.APK: Format.APK, System.RPM: Format.RPM}


@dataclass(frozen=True, slots=True)
class Cut:
    """A file that is kept in part: read in the format `form`, what is named in `keep` stays (the keys of
    packages, or listed paths as they are written); of apk's database also the listed paths `files`."""

    path: str
    form: Format
    keep: frozenset[str]
    files: frozenset[str] = frozenset()


def claims(capture: Capture, owners: Owners, used: Iterable[str], mode: PackageDb) -> Iterator[Claim]:
    """Claims of what of the databases stays beside the paths `used`. Each is the claim of a used file: of one
    that makes the database tell of its package."""
    if mode is PackageDb.NONE:
        return
    used = sorted(used)
    release: dict[str, str] = {}
    if first := next((path for path in used for one in owners.of(path) if one.kind in DISTRIBUTION), ""):
        release = dict.fromkeys(_release(capture), first)
    for path, source in release.items():
        yield Claim(path, Why.METADATA, source, "the distribution", follow=False)
    sources: dict[int, str] = {}
    for path in (*used, *release):
        for one in owners.of(path):
            sources.setdefault(id(one), path)
    for one in owners.packages:
        source = sources.get(id(one), "")
        if not source:
            continue
        shared = one.kind in DISTRIBUTION and not one.database.startswith(f"{dpkg.ADMIN}/status.d/")
        if one.database != source:
            of = f"{one.kind} packages" if shared else one.label
            yield Claim(one.database, Why.METADATA, source, of)
        yield from (Claim(path, Why.METADATA, source, one.label) for path in one.metadata)
    if mode is PackageDb.FULL and first:
        for path, kind in _whole(capture):
            yield Claim(path, Why.METADATA, first, f"{kind} packages", follow=False)


def _whole(capture: Capture) -> Iterator[tuple[str, System]]:
    """All that is below the directories of the distribution's databases."""
    tree = capture.tree
    directories = {
        System.DEB: (dpkg.ADMIN,),
        System.APK: tuple(paths.parent(path) for path in apk.DATABASES),
        System.RPM: rpm.DIRECTORIES,
    }
    for kind, places in directories.items():
        for place in places:
            yield from ((path, kind) for path in subtree(tree, tree.resolve(place).path) if path in tree)


def _release(capture: Capture) -> Iterator[str]:
    for path in RELEASE:
        found = capture.tree.resolve(path)
        if found.entry is not None and found.entry.kind is Kind.FILE:
            yield from (*found.links, found.path)


def cuts(capture: Capture, selection: Selection, owners: Owners, rules: Rules) -> tuple[Cut, ...]:
    """How to cut the files of the selection that are there to tell of packages, and for nothing else."""
    if rules.package_db is not PackageDb.TRIMMED:
        return ()
    told = {
        path
        for path, reasons in selection.kept.items()
        if all(reason.why is Why.METADATA for reason in reasons)
    }
    return tuple(sorted(_cuts(capture, selection, owners, told), key=lambda cut: cut.path))


def _cuts(capture: Capture, selection: Selection, owners: Owners, told: Collection[str]) -> Iterator[Cut]:
    places = Places(capture.tree)

    def stays(base: str, listed: str) -> bool:
        return places.leads(base, listed) in selection.kept

    every: dict[str, set[str]] = {}
    for one in owners.packages:
        every.setdefault(one.database, set()).add(one.key)
    found: dict[str, list[Package]] = {}
    for one in owners.owning(selection.kept):
        if one.kind in DISTRIBUTION and one.database in told:
            found.setdefault(one.database, []).append(one)
        for path in one.metadata:
            form = next((form for suffix, form in _LISTS.items() if path.endswith(suffix)), None)
            if form and path in told:
                base = paths.parent(paths.parent(path)) if form is Format.RECORD else "/"
                listed = (name for each in capture.contents.manifests(path, form) for name in each.files)
                yield Cut(path, form, frozenset(name for name in listed if stays(base, name)))
    for path, packages in found.items():
        keys = frozenset(one.key for one in packages)
        form = _FORMATS[packages[0].kind]
        files: frozenset[str] = frozenset()
        if form is Format.APK:
            manifests = (each for each in capture.contents.manifests(path, form) if each.key in keys)
            files = frozenset(name for each in manifests for name in each.files if stays("/", name))
        if form is Format.APK or keys != every[path]:
            yield Cut(path, form, keys, files)
