"""Where the Python of a capture finds modules: its search path, told from what was opened and listed.

Sources: Modules/getpath.py (the standard library is where os.py is), site.py (site-packages, .pth files), the
importlib reference (FileFinder: a package before a module, an extension module before a source), PEP 3147 (the
``__pycache__`` of a source), PEP 420 (packages without ``__init__``), PEP 3149 (tags of extension modules).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Use
from slimtrace.facts.tree import Kind

_LIBRARY = re.compile(r"(.*/python(\d)\.?(\d*)t?)(?:/.*|$)", re.DOTALL)
_SITE = re.compile(r"(.*?/(?:site|dist)-packages)(?:/.*|$)", re.DOTALL)
_PYCACHE = re.compile(r"(.*)/__pycache__/([^/]+)\.[a-z]+-?\d+[^/]*\.pyc", re.DOTALL)
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?")
MAX_PTH_LINES = 200
MAX_ROOTS = (
    200  # places for modules beside the standard library and site-packages; a forged image could have any
)
MAX_PARTS = 20  # of a dotted name


class Part(IntEnum):
    """Whose code a file is."""

    STANDARD = 0
    SITE = 1  # installed beside it, by pip or the distribution
    APPLICATION = 2


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was found: its file ("" for a package without ``__init__``), those of the packages that it
    is in, outermost first, and the directory of its own modules, "" if it is no package."""

    file: str
    above: tuple[str, ...]
    directory: str


class Layout:
    """The search path of a capture's Python; `used` is False where none ran."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._listings: dict[str, Mapping[str, str]] = {}
        self._found: dict[tuple[str, str], Module | None] = {}
        self._base = capture.image.text("WorkingDir") or "/"
        opened, looked, scripts = _evidence(capture)
        self.loaded = frozenset(source_of(path) for path in opened)
        libraries = dict.fromkeys(found[1] for path in sorted(opened) if (found := _LIBRARY.match(path)))
        self.standard = tuple(path for path in libraries if f"{path}/os.py" in self._tree)
        self.sites = tuple(
            dict.fromkeys(found[1] for path in sorted(opened | looked) if (found := _SITE.match(path)))
        )
        self.scripts = scripts
        # Since 3.11 the interpreter has what it starts with built in: os.py is looked at then, not opened.
        self.frozen = not any(f"{path}/os.py" in self.loaded for path in self.standard)
        self.used = bool(self.standard or scripts or opened)
        self._tags = tuple(
            f".cpython-{found[2]}{found[3]}" for path in self.standard if (found := _LIBRARY.match(path))
        )
        roots = dict.fromkeys(paths.parent(script) for script in sorted(scripts))
        roots |= dict.fromkeys(self._environment(capture))
        roots |= dict.fromkeys(self._tops(opened))
        roots |= dict.fromkeys(self._linked())
        self.roots = tuple(root for root in roots if not self._is_site(root))[:MAX_ROOTS]
        dynamic = tuple(f"{path}/lib-dynload" for path in self.standard)
        self.search = tuple(dict.fromkeys((*self.roots, *self.standard, *dynamic, *self.sites)))

    def part(self, path: str) -> Part:
        """Whose code the file at `path` is."""
        if _SITE.match(path):
            return Part.SITE
        if any(paths.below(path, place) for place in self.standard):
            return Part.STANDARD
        return Part.APPLICATION

    def distribution(self, path: str) -> str:
        """The top of the installed package that a file belongs to; "" for one that is not installed."""
        found = _SITE.match(path)
        return path[len(found[1]) :].split("/")[1] if found and len(path) > len(found[1]) else ""

    def find(self, name: str, path: str) -> Module | None:
        """The module `name`, as the file at `path` would import it: relative with leading dots."""
        dots = len(name) - len(name.lstrip("."))
        parts = [part for part in name.split(".") if part]
        if not parts:
            return None
        if dots:
            place = paths.parent(path)
            for _ in range(dots - 1):
                place = paths.parent(place)
            return self._find_in((place,), parts)
        key = ".".join(parts), self._own(path)
        if key not in self._found:
            # Several Pythons may have run: a library's file imports from its own first.
            search = sorted(self.search, key=lambda place: place != key[1]) if key[1] else self.search
            self._found[key] = self._find_in(tuple(search), parts)
        return self._found[key]

    def longest(self, name: str, path: str) -> Module | None:
        """The module that the beginning of the dotted `name` leads to, the longest one."""
        dots = len(name) - len(name.lstrip("."))
        parts = name.split(".")
        for end in range(min(len(parts), MAX_PARTS), dots, -1):
            if found := self.find(".".join(parts[:end]), path):
                return found
        return None

    def children(self, directory: str) -> Iterator[str]:
        """The files of all modules directly in a package's directory, its subpackages' among them."""
        for name, path in sorted(self.listing(directory).items()):
            if name.endswith(".py") or (name.endswith(".so") and self._is_tagged(name)):
                yield path
            elif name != "__pycache__" and "__init__.py" in self.listing(path):
                yield f"{path}/__init__.py"

    def beginning(self, prefix: str) -> Iterator[str]:
        """The sources of the standard library whose names begin so."""
        for place in self.standard:
            for name, path in sorted(self.listing(place).items()):
                if name.startswith(prefix) and name.endswith(".py"):
                    yield path

    def listing(self, directory: str) -> Mapping[str, str]:
        """The names in a directory, links on the way followed, each with its path."""
        if directory not in self._listings:
            end = self._tree.resolve(directory).path
            self._listings[directory] = {paths.name(path): path for path in self._tree.children(end)}
        return self._listings[directory]

    def _find_in(self, places: tuple[str, ...], parts: list[str]) -> Module | None:
        above: list[str] = []
        for part in parts[:-1]:
            step = self._step(places, part)
            if step is None or not step[1]:
                return None
            above += [step[0]] if step[0] else []
            places = step[1]
        last = self._step(places, parts[-1])
        return Module(last[0], tuple(above), last[1][0] if last[1] else "") if last else None

    def _step(self, places: tuple[str, ...], part: str) -> tuple[str, tuple[str, ...]] | None:
        """The file of one module, and the directories of its own."""
        without: list[str] = []
        for place in places:
            names = self.listing(place)
            if part in names:
                inside = self.listing(names[part])
                for init in ("__init__.py", "__init__.pyc"):
                    if init in inside:
                        return inside[init], (names[part],)
            for name in self._spellings(part):
                if name in names:
                    return names[name], ()
            if part in names and self._is_directory(names[part]):
                without.append(names[part])
        return ("", tuple(without)) if without else None

    def _spellings(self, part: str) -> Iterator[str]:
        for tag in self._tags:
            for abi in (
                "-x86_64-linux-gnu",
                "-aarch64-linux-gnu",
                "-x86_64-linux-musl",
                "-aarch64-linux-musl",
                "",
            ):
                yield f"{part}{tag}{abi}.so"
        yield from (f"{part}.abi3.so", f"{part}.so", f"{part}.py", f"{part}.pyc")

    def _is_tagged(self, name: str) -> bool:
        return ".cpython-" not in name or any(f"{tag}-" in name or f"{tag}." in name for tag in self._tags)

    def _is_directory(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.DIR

    def _own(self, path: str) -> str:
        return next((place for place in self.standard if paths.below(path, place)), "")

    def _is_site(self, path: str) -> bool:
        return _SITE.match(path) is not None or path in self.standard

    def _environment(self, capture: Capture) -> Iterator[str]:
        for place in capture.image.environment.get("PYTHONPATH", "").split(":"):
            if place:
                yield paths.join(self._base, place)

    def _tops(self, opened: set[str]) -> Iterator[str]:
        """The directories from which application modules were loaded: above their packages."""
        for path in sorted({source_of(path) for path in opened}):
            if not self._is_site(path) and not any(paths.below(path, place) for place in self.standard):
                place = paths.parent(path)
                while place != "/" and "__init__.py" in self.listing(place):
                    place = paths.parent(place)
                yield place

    def _linked(self) -> Iterator[str]:
        """The directories that .pth files in site-packages add."""
        for site in self.sites:
            for name, path in sorted(self.listing(site).items()):
                if name.endswith(".pth"):
                    text = self._contents.text(path) or ""
                    for line in text.splitlines()[:MAX_PTH_LINES]:
                        line = line.strip()
                        if line and not line.startswith(("#", "import ", "import\t")) and "\0" not in line:
                            place = paths.join(site, line)
                            if self._is_directory(place):
                                yield place


def source_of(path: str) -> str:
    """The source that the bytecode at `path` was made from; any other path is itself."""
    if found := _PYCACHE.fullmatch(path):
        return f"{found[1]}/{found[2]}.py"
    return path


def is_python(program: str) -> bool:
    """Whether a program's name is that of a Python interpreter."""
    return _PYTHON.fullmatch(paths.name(program)) is not None


def _evidence(capture: Capture) -> tuple[set[str], set[str], frozenset[str]]:
    """The modules that were opened, all other paths that a Python looked at, the scripts that it ran."""
    opened, looked = set(), set()
    for use in capture.trace.uses:
        path = use.resolved or (paths.join(use.base, use.asked) if use.asked else "")
        if use.error or not path:
            continue
        if use.use in (Use.READ, Use.MAP) and path.endswith((".py", ".pyc")):
            opened.add(path)
        elif "-packages" in path:
            looked.add(path)
    scripts = set()
    for run in capture.trace.execs:
        base = run.base or capture.image.text("WorkingDir") or "/"
        if is_python(run.binary) and run.binary != run.asked and not is_python(run.asked):
            scripts.add(capture.tree.resolve(paths.join(base, run.asked)).path)
        elif is_python(run.asked):
            if script := _operand(run.argv):
                scripts.add(capture.tree.resolve(paths.join(base, script)).path)
            else:  # -m, -c: the working directory is the first place
                scripts.add(paths.join(base, "-"))
    return opened, looked, frozenset(scripts)


def _operand(argv: tuple[str, ...]) -> str:
    """The script among a Python's arguments (Python documentation, "Command line and environment")."""
    skip = False
    for word in argv[1:]:
        if skip:
            skip = False
        elif word in ("-W", "-X", "--check-hash-based-pycs"):
            skip = True
        elif word.startswith("-"):
            if len(word) > 1 and word[1] != "-" and word[-1] in "mc":
                return ""
        else:
            return word
    return ""
