"""What dpkg has installed, or what a distroless image says that it would have: see facts.manifests.dpkg."""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, Places, System, package

ADMIN = "/var/lib/dpkg"
DIGESTS = ".md5sums"
MAX_LISTED = 5_000_000  # paths of all lists together; more are forged


def installed(capture: Capture, places: Places) -> Iterator[Package]:
    """The packages of ``status``, then those of ``status.d``."""
    tree, contents = capture.tree, capture.contents
    status = tree.resolve(f"{ADMIN}/status").path
    info = tree.resolve(f"{ADMIN}/info").path
    diverted = _diversions(capture)
    names = frozenset(tree.children(info))
    left = MAX_LISTED
    for told in contents.manifests(status, Format.DPKG):
        stem = next((stem for stem in _stems(info, told) if f"{stem}.list" in names), f"{info}/{told.key}")
        found = contents.manifests(f"{stem}.list", Format.LIST) if f"{stem}.list" in names else ()
        listed = [path for manifest in found for path in manifest.files][:left]
        left -= len(listed)
        moved = (diverted.get((path, told.name)) or diverted.get((path, "")) or path for path in listed)
        beside = (f"{stem}{suffix}" for suffix in (".list", DIGESTS) if f"{stem}{suffix}" in names)
        yield package(System.DEB, told, places.place(moved), status, beside)
    yield from _without_dpkg(capture, places)


def _without_dpkg(capture: Capture, places: Places) -> Iterator[Package]:
    tree, contents = capture.tree, capture.contents
    for path in tree.children(tree.resolve(f"{ADMIN}/status.d").path):
        if path.endswith(DIGESTS) or tree[path].kind is not Kind.FILE:
            continue
        beside = tuple(name for name in (f"{path}{DIGESTS}",) if name in tree)
        found = [told for name in beside for told in contents.manifests(name, Format.MD5SUMS)]
        files = [file for told in found for file in told.files]
        for told in contents.manifests(path, Format.DPKG):
            yield package(System.DEB, told, places.place(files), path, beside)


def licenses(capture: Capture, found: Package) -> tuple[str, ...]:
    """What the package's copyright file says, if it says it in the form for machines."""
    path = capture.tree.resolve(f"/usr/share/doc/{found.name}/copyright").path
    if "/" in found.name or path not in capture.tree:
        return ()
    return tuple(name for told in capture.contents.manifests(path, Format.COPYRIGHT) for name in told.licenses)


def _stems(info: str, told: Manifest) -> tuple[str, ...]:
    """How the lists of a package may be named, without their suffix."""
    return (f"{info}/{told.name}:{told.architecture}", f"{info}/{told.name}")


class _Diverted(dict[tuple[str, str], str]):
    """Where the path that a package lists really is, by path and package; "" is any package."""


def _diversions(capture: Capture) -> _Diverted:
    """``diversions`` is three lines each: the path, where it is diverted to, the package that diverts and so
    keeps the path itself, or ":" for the administrator (dpkg lib/dpkg/db-ctrl.c, ensure_diversions)."""
    path = capture.tree.resolve(f"{ADMIN}/diversions").path
    lines = (capture.contents.text(path) or "").split("\n") if path in capture.tree else []
    found = _Diverted()
    for listed, to, by in zip(lines[0::3], lines[1::3], lines[2::3], strict=False):
        found[listed, ""] = paths.clean(to)
        if by != ":":
            found[listed, by] = listed
    return found
