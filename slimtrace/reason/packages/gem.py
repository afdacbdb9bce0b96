"""Gems: a gemspec in the ``specifications`` of a gem directory, the files in its ``gems/NAME-VERSION`` and
``extensions/*/*/NAME-VERSION``; default gems, in ``specifications/default``, have theirs in Ruby's own library
directory (rubygems lib/rubygems/basic_specification.rb, defaults.rb)."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Kind
from slimtrace.reason.packages.package import Package, Places, System, package
from slimtrace.reason.packages.python import below

SUFFIX = ".gemspec"


def installed(capture: Capture, places: Places, directories: Iterable[str]) -> Iterator[Package]:
    """The gems of the gem directories `directories` (those that hold ``specifications``)."""
    tree = capture.tree
    for directory in directories:
        for default in (False, True):
            for path in tree.children(f"{directory}/specifications{'/default' if default else ''}"):
                if path.endswith(SUFFIX) and tree[path].kind is not Kind.DIR:
                    yield _gem(capture, places, directory, path, default)


def _gem(capture: Capture, places: Places, directory: str, path: str, default: bool) -> Package:
    tree = capture.tree
    full = paths.name(path).removesuffix(SUFFIX)
    told = next(iter(capture.contents.manifests(tree.resolve(path).path, Format.GEM)), None)
    if told is None:
        name, _, version = full.rpartition("-")
        told = Manifest(name or full, version)
    listed = [path, *below(capture, f"{directory}/gems/{full}")]
    for platform in tree.children(f"{directory}/extensions"):
        for version in tree.children(platform):
            listed += below(capture, f"{version}/{full}")
    if default:
        listed += _in_library(capture, directory, told)
    return package(System.GEM, told, places.place(listed), path, ())


def _in_library(capture: Capture, directory: str, told: Manifest) -> Iterator[str]:
    """.../ruby/gems/3.2.0 has its default gems' files in .../ruby/3.2.0 and in the directories of the
    architecture there, without the ``lib/`` that the gemspec has before them."""
    version, gems = paths.name(directory), paths.parent(directory)
    library = f"{paths.parent(gems)}/{version}"
    for name in told.files:
        if name.startswith("lib/"):
            yield paths.join(library, name.removeprefix("lib/"))
