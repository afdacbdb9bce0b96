"""Python distributions: ``.dist-info`` and ``.egg-info`` in the directory of the modules that they describe."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, PackageType, PathResolver, package_from_manifest

SUFFIXES = (".dist-info", ".egg-info")


def installed(capture: Capture, resolver: PathResolver, directories: Iterable[str]) -> Iterator[Package]:
    """The distributions whose metadata is in one of `directories`."""
    for directory in directories:
        for path in capture.tree.children(directory):
            if path.endswith(SUFFIXES):
                yield from _distribution(capture, resolver, directory, path)


def _distribution(capture: Capture, resolver: PathResolver, site: str, path: str) -> Iterator[Package]:
    tree, contents = capture.tree, capture.contents
    # Old setuptools, and Debian's, write the .egg-info as one file.
    found = path if tree[path].kind is Kind.FILE else None
    found = found or next(
        (f"{path}/{name}" for name in ("METADATA", "PKG-INFO") if f"{path}/{name}" in tree), None
    )
    if found is None:
        return
    manifest = next(iter(contents.manifests(found, Format.PYTHON)), Manifest())
    if not manifest.name:
        # The file's own name, NAME-VERSION.dist-info, where a stored capture does not have its content.
        name, _, version = paths.name(path).rpartition(".")[0].partition("-")
        manifest = Manifest(name, version.partition("-py")[0])
    if not manifest.name:
        return
    listed = list(_listed(capture, site, path))
    own = [path] if found == path else list(tree.children(path))
    metadata = [name for name in (f"{path}/RECORD",) if name in tree]
    yield package_from_manifest(PackageType.PYPI, manifest, resolver.locate([*listed, *own]), found, metadata)


def _listed(capture: Capture, site: str, path: str) -> Iterator[str]:
    tree, contents = capture.tree, capture.contents
    if f"{path}/RECORD" in tree:
        for manifest in contents.manifests(f"{path}/RECORD", Format.RECORD):
            yield from (paths.join(site, name) for name in manifest.files)
    elif f"{path}/installed-files.txt" in tree:
        text = contents.text(f"{path}/installed-files.txt") or ""
        yield from (paths.join(path, name) for name in text.splitlines() if name)
    elif f"{path}/top_level.txt" in tree:
        for name in (contents.text(f"{path}/top_level.txt") or "").split():
            if "/" not in name:
                yield from (module for module in (f"{site}/{name}.py",) if module in tree)
                yield from below(capture, f"{site}/{name}")


def below(capture: Capture, directory: str) -> Iterator[str]:
    """Every path below `directory`."""
    todo = [directory]
    while todo:
        children = capture.tree.children(todo.pop())
        yield from children
        todo.extend(child for child in children if capture.tree[child].kind is Kind.DIR)
