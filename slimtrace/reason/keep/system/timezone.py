"""Time zones.

Sources: tzset(3), tzfile(5), localtime(5); glibc time/tzfile.c (TZDIR), time/tzset.c.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import FEW, Sight

DATABASES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo")
LOCAL = "/etc/localtime"
# Beside the zones: lists for people and compilers; and the same zones again, with and without leap seconds.
_NOT_ZONES = (".tab", ".zi", ".list", "leapseconds", "posixrules", "localtime", "/+VERSION", "SECURITY")
_AGAIN = ("/posix/", "/right/")


class Timezone:
    """The local zone and those that are named, for what calls localtime(3) and its kin. Where a zone was read
    by its own name, zones come from data, and the next request asks for another: then all of them."""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)
        self._named = _read_by_name(self._sight)

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        if sight.imports(path) & binary.CLOCKS:
            yield from sight.claim(LOCAL, path, "local time")
            if zone := sight.environment.get("TZ", "").removeprefix(":"):
                yield from self._zone(zone, path, "TZ")
            zones = sight.named(path, "zone")
            if len(zones) <= FEW:
                for zone in zones:
                    yield from self._zone(zone, path, zone)
        for database in self._named.pop(path, ()):
            for zone in sight.below(database):
                if _is_zone(zone.removeprefix(database)):
                    yield from sight.claim(zone, path, "zones by name")

    def _zone(self, zone: str, path: str, of: str) -> Iterator[Claim]:
        if zone.startswith("/"):
            yield from self._sight.claim(zone, path, of)
            return
        for database in (self._sight.environment.get("TZDIR", ""), *DATABASES):
            if "/.." not in f"/{zone}" and self._sight.file(f"{database}/{zone}"):
                yield from self._sight.claim(f"{database}/{zone}", path, of)


def _read_by_name(sight: Sight) -> dict[str, set[str]]:
    """The databases of which a zone was read by name, by the first such file."""
    found: dict[str, set[str]] = {}
    done = set()
    for asked in sorted(sight.read):
        for database in DATABASES:
            is_zone = asked.startswith(f"{database}/") and _is_zone(asked.removeprefix(database))
            end = sight.file(asked) if is_zone and database not in done else None
            if end and paths.below(end.path, sight.tree.resolve(database).path):
                done.add(database)
                found.setdefault(end.path, set()).add(sight.tree.resolve(database).path)
    return found


def _is_zone(below: str) -> bool:
    return not below.endswith(_NOT_ZONES) and not below.startswith(_AGAIN)
