"""Ruby's $LOAD_PATH, from evidence: Ruby's own directories as the trace met them, the gems whose files were
used, and every directory in which features that are known from these were searched in vain.

Sources: Ruby's ruby.c (ruby_init_loadpath) and tool/mkconfig.rb for the names of its own directories; load.c
for the search, which asks each directory in turn.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Use
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.languages.ruby.gems import Gem, Gems

_OWN = re.compile(r".*?/ruby/\d+\.\d+\.\d+(?=/)")
_SITE = re.compile(r".*?/(?:site_ruby|vendor_ruby)(?=/)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class LoadPath:
    """The directories in the order in which they are searched; more can come to it."""

    def __init__(self, capture: Capture, gems: Gems) -> None:
        self._tree = capture.tree
        self._places: dict[str, None] = {}
        self._own: set[str] = set()
        for place in self._learned(_searched(capture), gems):
            self.add(place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def add(self, place: str) -> None:
        """Search `place` too, if it is a directory."""
        entry = self._tree.resolve(place).entry
        if entry and entry.kind is Kind.DIR:
            self._places.setdefault(place)

    def is_own(self, path: str) -> bool:
        """Whether `path` is of Ruby's own library."""
        return any(paths.below(path, place) for place in self._own)

    def is_site(self, path: str) -> bool:
        """Whether `path` is where the system or its administrator adds to Ruby's library."""
        return bool(_SITE.match(path))

    def _learned(self, seen: dict[str, bool], gems: Gems) -> list[str]:
        site: set[str] = set()
        used: dict[str, Gem] = {}
        for path, there in seen.items():
            if there and (gem := gems.of(path)):
                used[gem.specification] = gem
            for pattern, into in ((_OWN, self._own), (_SITE, site)):
                if found := pattern.match(path):
                    into |= set(self._with_parts(found[0]))
        places = [place for key in sorted(used) for place in used[key].lib]
        places += [*sorted(site, key=lambda place: ("vendor" in place, place)), *sorted(self._own)]
        features = set()
        for path in seen:
            for above in paths.parents(path):
                if above in self._own or above in site:
                    features.add(path[len(above) + 1 :])
        # A search in vain tells a directory of the path; a hit may have been asked for by its whole name. What
        # RubyGems looks for in gems that are not in use is no search of the path.
        for path in sorted(path for path, there in seen.items() if not there and not gems.of(path)):
            at = path.rfind("/")
            while at > 0:
                if path[at + 1 :] in features:
                    places.append(path[:at])
                at = path.rfind("/", 0, at)
        return places

    def _with_parts(self, place: str) -> Iterator[str]:
        """`place`, its directory for one version of Ruby, and in these the one for the machine."""
        for part in (place, *self._tree.children(place)):
            if part == place or _VERSION.fullmatch(paths.name(part)):
                yield part
                for child in self._tree.children(part):
                    if f"{child}/rbconfig.rb" in self._tree or paths.name(child).endswith(("-linux", "-gnu")):
                        yield child


def _searched(capture: Capture) -> dict[str, bool]:
    """What was looked up with the endings of features, and whether it was there."""
    seen: dict[str, bool] = {}
    for use in capture.trace.uses:
        path = use.resolved or (paths.join(use.base, use.asked) if use.base or use.asked[:1] == "/" else "")
        if path.endswith((".rb", ".so")) and use.use in (Use.READ, Use.MAP, Use.STAT):
            seen[path] = seen.get(path, False) or not use.error
    return seen
