"""Packages of npm: a directory in a ``node_modules``, or in one's ``@scope``, with a package.json. Debian has
them in /usr/share/nodejs too. What lies below belongs to it, but for the packages in its own node_modules."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages.package import Package, Placed, System, package

PLACES = ("node_modules", "nodejs")
FILE = "package.json"


def home(path: str) -> str | None:
    """The directory of the package that a file at `path` is in, by its name alone."""
    parts = path.split("/")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at] in PLACES and (parts[at] == "node_modules" or parts[at - 1] == "share"):
            end = at + (3 if parts[at + 1].startswith("@") else 2)
            return "/".join(parts[:end]) if end < len(parts) else None
    return None


def installed(capture: Capture, homes: Iterable[str]) -> Iterator[Package]:
    """The packages whose directories are `homes`."""
    tree = capture.tree
    for directory in homes:
        path = f"{directory}/{FILE}"
        if path not in tree:
            continue
        told = next(iter(capture.contents.manifests(path, Format.NPM)), None)
        if told is None:
            above = paths.name(paths.parent(directory))
            scope = f"{above}/" if above.startswith("@") else ""
            told = Manifest(f"{scope}{paths.name(directory)}")
        yield package(System.NPM, told, Placed(tuple(sorted(_files(capture, directory)))), path, ())


def _files(capture: Capture, directory: str) -> Iterator[str]:
    todo = [directory]
    while todo:
        for child in capture.tree.children(todo.pop()):
            if capture.tree[child].kind is not Kind.DIR:
                yield child
            elif paths.name(child) != "node_modules":
                todo.append(child)
