"""The packages that dpkg installed, or that a distroless image lists in ``status.d`` without dpkg;
facts.manifests.dpkg reads the files."""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, PackageType, PathResolver, package_from_manifest

ADMIN_DIR = "/var/lib/dpkg"  # dpkg(1), --admindir
MD5SUMS = ".md5sums"
MAX_LISTED = 5_000_000  # paths in all lists together; an image with more is forged


def installed(capture: Capture, resolver: PathResolver) -> Iterator[Package]:
    """The packages of ``status``, then those of ``status.d``, which distroless images have."""
    tree, contents = capture.tree, capture.contents
    status = tree.resolve(f"{ADMIN_DIR}/status").path
    info = tree.resolve(f"{ADMIN_DIR}/info").path
    diverted = _diversions(capture)
    names = frozenset(tree.children(info))
    left = MAX_LISTED
    for manifest in contents.manifests(status, Format.DPKG):
        stem = next(
            (stem for stem in _stems(info, manifest) if f"{stem}.list" in names), f"{info}/{manifest.key}"
        )
        found = contents.manifests(f"{stem}.list", Format.LIST) if f"{stem}.list" in names else ()
        listed = [path for manifest in found for path in manifest.files][:left]
        left -= len(listed)
        moved = (diverted.get((path, manifest.name)) or diverted.get((path, "")) or path for path in listed)
        metadata = (f"{stem}{suffix}" for suffix in (".list", MD5SUMS) if f"{stem}{suffix}" in names)
        yield package_from_manifest(PackageType.DEB, manifest, resolver.locate(moved), status, metadata)
    yield from _distroless(capture, resolver)


def _distroless(capture: Capture, resolver: PathResolver) -> Iterator[Package]:
    tree, contents = capture.tree, capture.contents
    for path in tree.children(tree.resolve(f"{ADMIN_DIR}/status.d").path):
        if path.endswith(MD5SUMS) or tree[path].kind is not Kind.FILE:
            continue
        metadata = tuple(name for name in (f"{path}{MD5SUMS}",) if name in tree)
        found = [manifest for name in metadata for manifest in contents.manifests(name, Format.MD5SUMS)]
        files = [file for manifest in found for file in manifest.files]
        for manifest in contents.manifests(path, Format.DPKG):
            yield package_from_manifest(PackageType.DEB, manifest, resolver.locate(files), path, metadata)


def licenses(capture: Capture, found: Package) -> tuple[str, ...]:
    """The licenses in the package's copyright file, if that has Debian's machine-readable format."""
    path = capture.tree.resolve(f"/usr/share/doc/{found.name}/copyright").path
    if "/" in found.name or path not in capture.tree:
        return ()
    return tuple(
        name for manifest in capture.contents.manifests(path, Format.COPYRIGHT) for name in manifest.licenses
    )


def _stems(info: str, manifest: Manifest) -> tuple[str, ...]:
    """The paths that a package's lists may have, without their suffix."""
    return (f"{info}/{manifest.name}:{manifest.architecture}", f"{info}/{manifest.name}")


class _Diversions(dict[tuple[str, str], str]):
    """Where a path that a package lists really is, by listed path and package name; "" is any package."""


def _diversions(capture: Capture) -> _Diversions:
    """The file ``diversions`` has three lines for each: the path, the path that it is diverted to, and the
    package that diverts it and so keeps the path itself, or ":" for the administrator (dpkg
    lib/dpkg/db-ctrl.c, ensure_diversions)."""
    path = capture.tree.resolve(f"{ADMIN_DIR}/diversions").path
    lines = (capture.contents.text(path) or "").split("\n") if path in capture.tree else []
    found = _Diversions()
    for listed, to, by in zip(lines[0::3], lines[1::3], lines[2::3], strict=False):
        found[listed, ""] = paths.clean(to)
        if by != ":":
            found[listed, by] = listed
    return found
