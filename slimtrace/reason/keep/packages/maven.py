"""Maven artifacts in jars, which facts.manifests.maven reads. One jar may hold many artifacts."""

from collections.abc import Iterable, Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, PackageType, ResolvedPaths, package_from_manifest

SUFFIXES = (".jar", ".war", ".ear")


def installed(capture: Capture, jars: Iterable[str]) -> Iterator[Package]:
    """The artifacts in `jars`."""
    for path in jars:
        for manifest in capture.contents.manifests(path, Format.MAVEN):
            yield package_from_manifest(PackageType.MAVEN, manifest, ResolvedPaths((path,)), path, ())
