"""Maven artifacts in jars: see facts.manifests.maven. One jar may hold many."""

from collections.abc import Iterable, Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, Placed, System, package

SUFFIXES = (".jar", ".war", ".ear")


def installed(capture: Capture, jars: Iterable[str]) -> Iterator[Package]:
    """The artifacts in `jars`."""
    for path in jars:
        for told in capture.contents.manifests(path, Format.MAVEN):
            yield package(System.MAVEN, told, Placed((path,)), path, ())
