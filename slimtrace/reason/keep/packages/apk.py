"""The packages that apk installed; facts.manifests.apk reads its database."""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, PackageType, PathResolver, package_from_manifest

# apk-tools 3 moved it below /usr.
DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")


def installed(capture: Capture, resolver: PathResolver) -> Iterator[Package]:
    """The packages of each database that the image has, once where both names lead to the same one."""
    for path in dict.fromkeys(capture.tree.resolve(name).path for name in DATABASES):
        if path in capture.tree:
            for manifest in capture.contents.manifests(path, Format.APK):
                yield package_from_manifest(
                    PackageType.APK, manifest, resolver.locate(manifest.files), path, ()
                )
