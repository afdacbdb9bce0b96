"""What apk has installed: see facts.manifests.apk."""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.packages import Format
from slimtrace.reason.keep.packages.package import Package, Places, System, package

# apk-tools 3 moved it below /usr.
DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")


def installed(capture: Capture, places: Places) -> Iterator[Package]:
    """The packages of each database that is there, once where both names lead to one."""
    for path in dict.fromkeys(capture.tree.resolve(name).path for name in DATABASES):
        if path in capture.tree:
            for told in capture.contents.manifests(path, Format.APK):
                yield package(System.APK, told, places.place(told.files), path, ())
