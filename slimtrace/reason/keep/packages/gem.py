"""Gems: a gemspec in the ``specifications`` of a gem directory, the files in its ``gems/NAME-VERSION`` and
``extensions/*/*/NAME-VERSION``; default gems, in ``specifications/default``, have theirs in Ruby's own library
directory (rubygems lib/rubygems/basic_specification.rb, defaults.rb)."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.packages.package import Package, Places, System, package
from slimtrace.reason.keep.packages.python import below

SUFFIX = ".gemspec"


def installed(capture: Capture, places: Places, directories: Iterable[str]) -> Iterator[Package]:
    """The gems of the gem directories `directories` (those that hold ``specifications``)."""
    tree = capture.tree
    for directory in directories:
        built = _extensions(tree, directory)
        for default in (False, True):
            for path in tree.children(f"{directory}/specifications{'/default' if default else ''}"):
                if path.endswith(SUFFIX) and tree[path].kind is not Kind.DIR:
                    yield _gem(capture, places, directory, path, built, default)


def _extensions(tree: FileTree, directory: str) -> dict[str, list[str]]:
    """The directories of compiled extensions by the full name of their gem."""
    found: dict[str, list[str]] = {}
    for platform in tree.children(f"{directory}/extensions"):
        for version in tree.children(platform):
            for path in tree.children(version):
                found.setdefault(paths.name(path), []).append(path)
    return found


def _gem(
    capture: Capture, places: Places, directory: str, path: str, built: dict[str, list[str]], default: bool
) -> Package:
    full = paths.name(path).removesuffix(SUFFIX)
    told = next(iter(capture.contents.manifests(capture.tree.resolve(path).path, Format.GEM)), None)
    if told is None:
        name, _, version = full.rpartition("-")
        told = Manifest(name or full, version)
    listed = [path, *below(capture, f"{directory}/gems/{full}")]
    for extension in built.get(full, ()):
        listed += below(capture, extension)
    if default:
        listed += _in_library(directory, told)
    return package(System.GEM, told, places.place(listed), path, ())


def _in_library(directory: str, told: Manifest) -> Iterator[str]:
    """.../ruby/gems/3.2.0 has its default gems' files in .../ruby/3.2.0 and in the directories of the
    architecture there, without the ``lib/`` that the gemspec has before them."""
    version, gems = paths.name(directory), paths.parent(directory)
    library = f"{paths.parent(gems)}/{version}"
    for name in told.files:
        if name.startswith("lib/"):
            yield paths.join(library, name.removeprefix("lib/"))
