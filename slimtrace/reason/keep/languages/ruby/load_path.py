"""Ruby's $LOAD_PATH, derived from the trace: Ruby's own directories in it, the gems whose files were used, and
every directory in which a feature of Ruby's own directories was searched in vain.

Sources: Ruby's ruby.c (ruby_init_loadpath) and tool/mkconfig.rb for the names of its own directories; load.c
for the search, which tries each directory in turn.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Use
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.languages.ruby.gems import Gem, Gems

_RUBY_LIBRARY = re.compile(r".*?/ruby/\d+\.\d+\.\d+(?=/)")
_SITE_LIBRARY = re.compile(r".*?/(?:site_ruby|vendor_ruby)(?=/)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class LoadPath:
    """The directories in the order in which they are searched; `add` appends to them."""

    def __init__(self, capture: Capture, gems: Gems) -> None:
        self._tree = capture.tree
        self._directories: dict[str, None] = {}
        self._ruby_library: set[str] = set()
        for directory in self._observed_directories(_feature_lookups(capture), gems):
            self.add(directory)

    def __iter__(self) -> Iterator[str]:
        return iter(self._directories)

    def add(self, directory: str) -> None:
        """Append `directory`, if it is one."""
        entry = self._tree.resolve(directory).entry
        if entry and entry.kind is Kind.DIR:
            self._directories.setdefault(directory)

    def is_ruby_library(self, path: str) -> bool:
        """Whether `path` is in Ruby's own library."""
        return any(paths.below(path, directory) for directory in self._ruby_library)

    def is_site(self, path: str) -> bool:
        """Whether `path` is in site_ruby or vendor_ruby, for additions by the system or its administrator."""
        return bool(_SITE_LIBRARY.match(path))

    def _observed_directories(self, lookups: dict[str, bool], gems: Gems) -> list[str]:
        site: set[str] = set()
        used_gems: dict[str, Gem] = {}
        for path, exists in lookups.items():
            if exists and (gem := gems.owner(path)):
                used_gems[gem.specification] = gem
            for pattern, collected in ((_RUBY_LIBRARY, self._ruby_library), (_SITE_LIBRARY, site)):
                if found := pattern.match(path):
                    collected |= set(self._with_version_directories(found[0]))
        directories = [directory for key in sorted(used_gems) for directory in used_gems[key].lib]
        directories += [
            *sorted(site, key=lambda directory: ("vendor" in directory, directory)),
            *sorted(self._ruby_library),
        ]
        features = set()
        for path in lookups:
            for parent in paths.parents(path):
                if parent in self._ruby_library or parent in site:
                    features.add(path[len(parent) + 1 :])
        # A lookup in vain shows a directory of the load path; one that succeeded may have been of an absolute
        # path. RubyGems' lookups in gems that are not in use are no search of the load path.
        for path in sorted(path for path, exists in lookups.items() if not exists and not gems.owner(path)):
            at = path.rfind("/")
            while at > 0:
                if path[at + 1 :] in features:
                    directories.append(path[:at])
                at = path.rfind("/", 0, at)
        return directories

    def _with_version_directories(self, directory: str) -> Iterator[str]:
        """`directory` and those of Ruby versions in it, each with its own directory for the machine."""
        for part in (directory, *self._tree.children(directory)):
            if part == directory or _VERSION.fullmatch(paths.name(part)):
                yield part
                for child in self._tree.children(part):
                    if f"{child}/rbconfig.rb" in self._tree or paths.name(child).endswith(("-linux", "-gnu")):
                        yield child


def _feature_lookups(capture: Capture) -> dict[str, bool]:
    """The paths with the endings of features that were looked up, each with whether it exists."""
    lookups: dict[str, bool] = {}
    for use in capture.trace.uses:
        path = use.resolved or (paths.join(use.base, use.asked) if use.base or use.asked[:1] == "/" else "")
        if path.endswith((".rb", ".so")) and use.use in (Use.READ, Use.MAP, Use.STAT):
            lookups[path] = lookups.get(path, False) or not use.error
    return lookups
