"""Python distributions: the ``.dist-info`` and ``.egg-info`` beside the modules that they are about."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, Places, System, package

SUFFIXES = (".dist-info", ".egg-info")


def installed(capture: Capture, places: Places, directories: Iterable[str]) -> Iterator[Package]:
    """The distributions whose metadata is in one of `directories`."""
    for directory in directories:
        for path in capture.tree.children(directory):
            if path.endswith(SUFFIXES):
                yield from _distribution(capture, places, directory, path)


def _distribution(capture: Capture, places: Places, site: str, path: str) -> Iterator[Package]:
    tree, contents = capture.tree, capture.contents
    # setuptools of old, and Debian's, write one file.
    found = path if tree[path].kind is Kind.FILE else None
    found = found or next(
        (f"{path}/{name}" for name in ("METADATA", "PKG-INFO") if f"{path}/{name}" in tree), None
    )
    if found is None:
        return
    told = next(iter(contents.manifests(found, Format.PYTHON)), Manifest())
    if not told.name:
        # NAME-VERSION.dist-info; what was never asked (in a capture) still has this
        name, _, version = paths.name(path).rpartition(".")[0].partition("-")
        told = Manifest(name, version.partition("-py")[0])
    if not told.name:
        return
    listed = list(_listed(capture, site, path))
    own = [path] if found == path else list(tree.children(path))
    beside = [name for name in (f"{path}/RECORD",) if name in tree]
    yield package(System.PYPI, told, places.place([*listed, *own]), found, beside)


def _listed(capture: Capture, site: str, path: str) -> Iterator[str]:
    tree, contents = capture.tree, capture.contents
    if f"{path}/RECORD" in tree:
        for told in contents.manifests(f"{path}/RECORD", Format.RECORD):
            yield from (paths.join(site, name) for name in told.files)
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
