"""RubyGems: a gemspec is in the ``specifications`` of a gem directory, the gem's files are in its
``gems/NAME-VERSION`` and ``extensions/*/*/NAME-VERSION``; default gems, with their gemspec in
``specifications/default``, have their files in Ruby's own library
directory (rubygems lib/rubygems/basic_specification.rb, defaults.rb)."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.packages.package import Package, PackageType, PathResolver, package_from_manifest
from slimtrace.reason.keep.packages.python import below

SUFFIX = ".gemspec"


def installed(capture: Capture, resolver: PathResolver, directories: Iterable[str]) -> Iterator[Package]:
    """The gems of the gem directories `directories` (those that hold ``specifications``)."""
    tree = capture.tree
    for directory in directories:
        extensions = _extensions(tree, directory)
        for is_default in (False, True):
            for path in tree.children(f"{directory}/specifications{'/default' if is_default else ''}"):
                if path.endswith(SUFFIX) and tree[path].kind is not Kind.DIR:
                    yield _gem(capture, resolver, directory, path, extensions, is_default)


def _extensions(tree: FileTree, directory: str) -> dict[str, list[str]]:
    """The directories of compiled extensions by the full name (NAME-VERSION) of their gem."""
    found: dict[str, list[str]] = {}
    for platform in tree.children(f"{directory}/extensions"):
        for version in tree.children(platform):
            for path in tree.children(version):
                found.setdefault(paths.name(path), []).append(path)
    return found


def _gem(
    capture: Capture,
    resolver: PathResolver,
    directory: str,
    path: str,
    extensions: dict[str, list[str]],
    is_default: bool,
) -> Package:
    full_name = paths.name(path).removesuffix(SUFFIX)
    manifest = next(iter(capture.contents.manifests(capture.tree.resolve(path).path, Format.GEM)), None)
    if manifest is None:
        name, _, version = full_name.rpartition("-")
        manifest = Manifest(name or full_name, version)
    listed = [path, *below(capture, f"{directory}/gems/{full_name}")]
    for extension in extensions.get(full_name, ()):
        listed += below(capture, extension)
    if is_default:
        listed += _in_library(directory, manifest)
    return package_from_manifest(PackageType.GEM, manifest, resolver.locate(listed), path, ())


def _in_library(directory: str, manifest: Manifest) -> Iterator[str]:
    """The files of a default gem: those of .../ruby/gems/3.2.0 are in .../ruby/3.2.0 and in the architecture's
    directories there, without the ``lib/`` that the gemspec has before them."""
    version, gems = paths.name(directory), paths.parent(directory)
    library = f"{paths.parent(gems)}/{version}"
    for name in manifest.files:
        if name.startswith("lib/"):
            yield paths.join(library, name.removeprefix("lib/"))
