"""Time zones.

Sources: tzset(3), tzfile(5), localtime(5); glibc time/tzfile.c (TZDIR), time/tzset.c.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import MAX_NAMED, CaptureView

DATABASES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo")
LOCAL = "/etc/localtime"
# Files of the database that are no zones: lists for people and compilers, and other names of zones.
_NOT_ZONES = (".tab", ".zi", ".list", "leapseconds", "posixrules", "localtime", "/+VERSION", "SECURITY")
_COPIES = ("/posix/", "/right/")  # the same zones again, without and with leap seconds


class Timezone:
    """For an ELF file that calls localtime(3) or the like: the local zone, and the zones that it names. Where a
    zone was read by its own name, the program takes zones from its data, and may read another one next: then
    all zones are kept."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)
        self._read_databases = _read_by_name(self._view)

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        if view.imports(path) & binary.LOCAL_TIME_FUNCTIONS:
            yield from view.claim(LOCAL, path, "local time")
            if zone := view.environment.get("TZ", "").removeprefix(":"):
                yield from self._zone(zone, path, "TZ")
            zones = view.named(path, "zone")
            if len(zones) <= MAX_NAMED:
                for zone in zones:
                    yield from self._zone(zone, path, zone)
        for database in self._read_databases.pop(path, ()):
            for zone in view.below(database):
                if _is_zone(zone.removeprefix(database)):
                    yield from view.claim(zone, path, "zones by name")

    def _zone(self, zone: str, path: str, of: str) -> Iterator[Claim]:
        if zone.startswith("/"):
            yield from self._view.claim(zone, path, of)
            return
        for database in (self._view.environment.get("TZDIR", ""), *DATABASES):
            if "/.." not in f"/{zone}" and self._view.file(f"{database}/{zone}"):
                yield from self._view.claim(f"{database}/{zone}", path, of)


def _read_by_name(view: CaptureView) -> dict[str, set[str]]:
    """The databases of which a zone was read by name, by the first zone's file that was."""
    found: dict[str, set[str]] = {}
    done = set()
    for requested in sorted(view.read):
        for database in DATABASES:
            is_zone = requested.startswith(f"{database}/") and _is_zone(requested.removeprefix(database))
            end = view.file(requested) if is_zone and database not in done else None
            if end and paths.below(end.path, view.tree.resolve(database).path):
                done.add(database)
                found.setdefault(end.path, set()).add(view.tree.resolve(database).path)
    return found


def _is_zone(below: str) -> bool:
    return not below.endswith(_NOT_ZONES) and not below.startswith(_COPIES)
