"""The part of the package databases that goes into the slim image, so that a scanner sees what is really there.

``trimmed`` (the default): of the databases of dpkg, apk and rpm the packages of which a file or link is kept,
and no other. Their lists of files (dpkg's ``.list`` and ``.md5sums``, apk's own, Python's RECORD) are cut to
what is kept: scanners read them to tell which package a file is from, and ``dpkg --verify`` then finds nothing
missing that they name. A stanza itself stays as it is, byte for byte; rpm's headers do too, since they are
signed. Of languages' packages the one file that names each (METADATA, package.json, gemspec). Besides, the
files with the distribution's name, without which no scanner knows which distribution the versions are of.

``full``: the distribution's databases as the image has them; of languages' packages the same files, uncut.
``none``: nothing.

A database that is kept for another reason, because the container itself read it, stays as the image has it.
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
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, PackageType, PathResolver
from slimtrace.reason.keep.rules import PackageDb, Rules, subtree

# Where scanners look for the distribution's name and version: os-release(5), and older files.
RELEASE = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/alpine-release",
    "/etc/redhat-release",
    "/etc/system-release",
)
_LISTS = {".list": Format.LIST, dpkg.MD5SUMS: Format.MD5SUMS, "/RECORD": Format.RECORD}
_FORMATS = {PackageType.DEB: Format.DPKG, PackageType.APK: Format.APK, PackageType.RPM: Format.RPM}


@dataclass(frozen=True, slots=True)
class Cut:
    """A file of the format `form` of which only a part is kept: the entries `keep` (the keys of packages, or
    listed paths as they are written); of apk's database the packages `keep`, with the listed paths `files`."""

    path: str
    form: Format
    keep: frozenset[str]
    files: frozenset[str] = frozenset()


def claims(capture: Capture, owners: Owners, used: Iterable[str], mode: PackageDb) -> Iterator[Claim]:
    """Claims of the databases and metadata that are kept with the paths `used`. The source of each is a used
    file: one that belongs to a package which the database lists."""
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
        shared = one.kind in DISTRIBUTION and not one.database.startswith(f"{dpkg.ADMIN_DIR}/status.d/")
        if one.database != source:
            of = f"{one.kind} packages" if shared else one.label
            yield Claim(one.database, Why.METADATA, source, of)
        yield from (Claim(path, Why.METADATA, source, one.label) for path in one.metadata)
    if mode is PackageDb.FULL and first:
        for path, kind in _full_databases(capture):
            yield Claim(path, Why.METADATA, first, f"{kind} packages", follow=False)


def _full_databases(capture: Capture) -> Iterator[tuple[str, PackageType]]:
    """Every path below the directories of the distribution's databases, with their package type."""
    tree = capture.tree
    directories = {
        PackageType.DEB: (dpkg.ADMIN_DIR,),
        PackageType.APK: tuple(paths.parent(path) for path in apk.DATABASES),
        PackageType.RPM: rpm.DIRECTORIES,
    }
    for kind, tops in directories.items():
        for top in tops:
            yield from ((path, kind) for path in subtree(tree, tree.resolve(top).path) if path in tree)


def _release(capture: Capture) -> Iterator[str]:
    for path in RELEASE:
        found = capture.tree.resolve(path)
        if found.entry is not None and found.entry.kind is Kind.FILE:
            yield from (*found.links, found.path)


def cuts(capture: Capture, selection: Selection, owners: Owners, rules: Rules) -> tuple[Cut, ...]:
    """How to cut those files of the selection that are kept as package metadata and for no other reason."""
    if rules.package_db is not PackageDb.TRIMMED:
        return ()
    metadata_only = {
        path
        for path, reasons in selection.kept.items()
        if all(reason.why is Why.METADATA for reason in reasons)
    }
    return tuple(sorted(_cuts(capture, selection, owners, metadata_only), key=lambda cut: cut.path))


def _cuts(
    capture: Capture, selection: Selection, owners: Owners, metadata_only: Collection[str]
) -> Iterator[Cut]:
    resolver = PathResolver(capture.tree)

    def is_kept(base: str, listed: str) -> bool:
        return resolver.resolve_from(base, listed) in selection.kept

    all_keys: dict[str, set[str]] = {}
    for one in owners.packages:
        all_keys.setdefault(one.database, set()).add(one.key)
    found: dict[str, list[Package]] = {}
    for one in owners.owning(selection.kept):
        if one.kind in DISTRIBUTION and one.database in metadata_only:
            found.setdefault(one.database, []).append(one)
        for path in one.metadata:
            form = next((form for suffix, form in _LISTS.items() if path.endswith(suffix)), None)
            if form and path in metadata_only:
                base = paths.parent(paths.parent(path)) if form is Format.RECORD else "/"
                listed = (name for each in capture.contents.manifests(path, form) for name in each.files)
                yield Cut(path, form, frozenset(name for name in listed if is_kept(base, name)))
    for path, packages in found.items():
        keys = frozenset(one.key for one in packages)
        form = _FORMATS[packages[0].kind]
        files: frozenset[str] = frozenset()
        if form is Format.APK:
            manifests = (each for each in capture.contents.manifests(path, form) if each.key in keys)
            files = frozenset(name for each in manifests for name in each.files if is_kept("/", name))
        if form is Format.APK or keys != all_keys[path]:
            yield Cut(path, form, keys, files)
