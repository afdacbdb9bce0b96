"""npm packages: directories with a package.json in a ``node_modules``, or in a ``@scope`` there; Debian's are
in /usr/share/nodejs too. All files below belong to the package, except those in its own node_modules."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, PackageType, ResolvedPaths, package_from_manifest

PARENT_DIRECTORIES = ("node_modules", "nodejs")
MANIFEST = "package.json"


def package_directory(path: str) -> str | None:
    """The directory of the package that a file at `path` belongs to, by the path alone; None for no package."""
    parts = path.split("/")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at] in PARENT_DIRECTORIES and (parts[at] == "node_modules" or parts[at - 1] == "share"):
            end = at + (3 if parts[at + 1].startswith("@") else 2)
            return "/".join(parts[:end]) if end < len(parts) else None
    return None


def installed(capture: Capture, directories: Iterable[str]) -> Iterator[Package]:
    """The packages in the package directories `directories`."""
    tree = capture.tree
    for directory in directories:
        path = f"{directory}/{MANIFEST}"
        if path not in tree:
            continue
        manifest = next(iter(capture.contents.manifests(path, Format.NPM)), None)
        if manifest is None:
            above = paths.name(paths.parent(directory))
            scope = f"{above}/" if above.startswith("@") else ""
            manifest = Manifest(f"{scope}{paths.name(directory)}")
        yield package_from_manifest(
            PackageType.NPM, manifest, ResolvedPaths(tuple(sorted(_files(capture, directory)))), path, ()
        )


def _files(capture: Capture, directory: str) -> Iterator[str]:
    todo = [directory]
    while todo:
        for child in capture.tree.children(todo.pop()):
            if capture.tree[child].kind is not Kind.DIR:
                yield child
            elif paths.name(child) != "node_modules":
                todo.append(child)
