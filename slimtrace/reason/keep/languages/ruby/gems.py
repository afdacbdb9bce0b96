"""The gems of an image: their directories and their dependencies.

Sources: RubyGems' lib/rubygems/stub_specification.rb (the "# stub:" line), specification.rb (to_ruby writes the
runtime dependencies), basic_specification.rb (extension_dir, gem.build_complete).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.facts.tree import FileTree, Kind

_STUB = re.compile(r"^# stub: (\S+) (\S+) (\S+) ([^\n]+)$", re.MULTILINE)
_RUNTIME_DEPENDENCY = re.compile(r"add_runtime_dependency\(%q<([^<>\n]+)>")
_DEPENDENCY = re.compile(r"add_dependency\(%q<([^<>\n]+)>")
_FULL_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d[0-9A-Za-z.]*)(?:-(?P<platform>.+))?")
MAX_DEPENDENCIES = 10_000


@dataclass(frozen=True, slots=True)
class Gem:
    """One installed gem: its `name`, the path of its `specification`, its `directory`, and `lib`, the
    directories that it adds to the load path. `extension_directory` has its compiled extensions, "" if there
    are none. A `default` gem comes with Ruby: its files are in Ruby's own library."""

    name: str
    version: tuple[tuple[int, str], ...]
    specification: str
    directory: str
    lib: tuple[str, ...]
    extension_directory: str = ""
    default: bool = False


class Gems:
    """All gems of one image."""

    def __init__(self, tree: FileTree, contents: Contents) -> None:
        self._tree = tree
        self._contents = contents
        self._by_name: dict[str, list[Gem]] = {}
        self._by_directory: dict[str, Gem] = {}
        for entry in tree:
            gem = self._read_gem(entry.path) if entry.path.endswith(".gemspec") else None
            if gem:
                self._by_name.setdefault(gem.name, []).append(gem)
                if not gem.default:
                    self._by_directory[gem.directory] = gem
        for known in self._by_name.values():
            known.sort(key=lambda gem: (gem.version, gem.specification), reverse=True)

    def __iter__(self) -> Iterator[Gem]:
        """Newest first, name by name."""
        for name in sorted(self._by_name):
            yield from self._by_name[name]

    def owner(self, path: str) -> Gem | None:
        """The gem in whose directory, or directory of compiled extensions, `path` lies."""
        for marker in ("/gems/", "/extensions/"):
            before, found, after = path.rpartition(marker)
            parts = after.split("/")
            at = 0 if marker == "/gems/" else 2
            if found and len(parts) > at and (gem := self._by_directory.get(f"{before}/gems/{parts[at]}")):
                return gem
        return None

    def newest(self, name: str) -> Gem | None:
        """The newest gem of that name; a default gem only if there is no other."""
        known = self._by_name.get(name, ())
        return next((gem for gem in known if not gem.default), None) or next(iter(known), None)

    def with_dependencies(self, gem: Gem) -> tuple[Gem, ...]:
        """`gem` and its runtime dependencies, direct and indirect."""
        found = {gem.specification: gem}
        todo = [gem]
        while todo and len(found) < MAX_DEPENDENCIES:
            text = self._contents.text(todo.pop().specification) or ""
            for name in _RUNTIME_DEPENDENCY.findall(text) or _DEPENDENCY.findall(text):
                needed = self.newest(name)
                if needed and needed.specification not in found:
                    found[needed.specification] = needed
                    todo.append(needed)
        return tuple(found.values())

    def _read_gem(self, specification: str) -> Gem | None:
        directory = paths.parent(specification)
        default = paths.name(directory) == "default"
        if paths.name(directory) != "specifications" and not default:
            return None
        root = paths.parent(paths.parent(directory) if default else directory)
        full = paths.name(specification).removesuffix(".gemspec")
        parts = _FULL_NAME.fullmatch(full)
        if parts is None:
            return None
        gem_directory = f"{root}/gems/{full}"
        head = paths.decode(self._contents.head(specification) or b"")
        stub = _STUB.search(head)
        require_paths = [
            paths.join(gem_directory, part) for part in (stub[4].split("\0") if stub else ("lib",))
        ]
        extension_directory = next(self._extension_directories(root, full), "")
        lib = (*require_paths, *((extension_directory,) if extension_directory else ()))
        return Gem(
            parts["name"],
            _version(parts["version"]),
            specification,
            gem_directory,
            lib,
            extension_directory,
            default,
        )

    def _extension_directories(self, root: str, full: str) -> Iterator[str]:
        for platform in self._tree.children(f"{root}/extensions"):
            for abi in self._tree.children(platform):
                entry = self._tree.get(f"{abi}/{full}")
                if entry and entry.kind is Kind.DIR:
                    yield entry.path


def _version(text: str) -> tuple[tuple[int, str], ...]:
    """A sortable version: a part with letters comes before any number (Gem::Version)."""
    return tuple(
        (int(part[:9]), "") if part.isascii() and part.isdigit() else (-1, part)
        for part in re.findall(r"[0-9]+|[a-zA-Z]+", text)
    )
