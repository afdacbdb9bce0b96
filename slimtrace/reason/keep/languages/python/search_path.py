"""Python's module search path (sys.path) in a capture, derived from the files that were opened and looked at.

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

_STANDARD_LIBRARY = re.compile(r"(.*/python(\d)\.?(\d*)t?)(?:/.*|$)", re.DOTALL)
_SITE_PACKAGES = re.compile(r"(.*?/(?:site|dist)-packages)(?:/.*|$)", re.DOTALL)
_PYCACHE = re.compile(r"(.*)/__pycache__/([^/]+)\.[a-z]+-?\d+[^/]*\.pyc", re.DOTALL)
_PYTHON_NAME = re.compile(r"(?:python|pypy)[\d.]*t?")
MAX_PTH_LINES = 200
# Directories of modules beside the standard library and site-packages; a forged image could have any number.
MAX_ROOTS = 200
MAX_NAME_PARTS = 20  # of a dotted name


class CodeOrigin(IntEnum):
    """What a file of code belongs to."""

    STANDARD = 0  # the standard library
    SITE = 1  # site-packages or dist-packages: installed by pip or by the distribution
    APPLICATION = 2


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was found: its `file` ("" for a package without ``__init__``), the files of the `packages`
    that it is in, outermost first, and the `directory` of its submodules, "" if it is no package."""

    file: str
    packages: tuple[str, ...]
    directory: str


class SearchPath:
    """The search path of a capture's Python; `used` is False where no Python ran."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._listings: dict[str, Mapping[str, str]] = {}
        self._modules_by_name: dict[tuple[str, str], Module | None] = {}
        self._working_directory = capture.image.text("WorkingDir") or "/"
        opened, looked_at, scripts = _observed_files(capture)
        self.loaded = frozenset(source_of(path) for path in opened)
        libraries = dict.fromkeys(
            found[1] for path in sorted(opened) if (found := _STANDARD_LIBRARY.match(path))
        )
        self.standard = tuple(path for path in libraries if f"{path}/os.py" in self._tree)
        self.sites = tuple(
            dict.fromkeys(
                found[1] for path in sorted(opened | looked_at) if (found := _SITE_PACKAGES.match(path))
            )
        )
        self.scripts = scripts
        # Since 3.11 the modules of the interpreter's start are frozen into it: it looks at os.py, and does not
        # open it.
        self.frozen = not any(f"{path}/os.py" in self.loaded for path in self.standard)
        self.used = bool(self.standard or scripts or opened)
        self._cpython_tags = tuple(
            f".cpython-{found[2]}{found[3]}"
            for path in self.standard
            if (found := _STANDARD_LIBRARY.match(path))
        )
        roots = dict.fromkeys(paths.parent(script) for script in sorted(scripts))
        roots |= dict.fromkeys(self._pythonpath(capture))
        roots |= dict.fromkeys(self._application_roots(opened))
        roots |= dict.fromkeys(self._pth_directories())
        self.roots = tuple(root for root in roots if not self._is_installed(root))[:MAX_ROOTS]
        dynamic = tuple(f"{path}/lib-dynload" for path in self.standard)
        self.directories = tuple(dict.fromkeys((*self.roots, *self.standard, *dynamic, *self.sites)))

    def code_origin(self, path: str) -> CodeOrigin:
        """What the file at `path` belongs to."""
        if _SITE_PACKAGES.match(path):
            return CodeOrigin.SITE
        if any(paths.below(path, directory) for directory in self.standard):
            return CodeOrigin.STANDARD
        return CodeOrigin.APPLICATION

    def distribution(self, path: str) -> str:
        """The name in site-packages of what a file belongs to, a package's directory or a module's file; "" for
        a file that is not installed there."""
        found = _SITE_PACKAGES.match(path)
        return path[len(found[1]) :].split("/")[1] if found and len(path) > len(found[1]) else ""

    def find(self, name: str, path: str) -> Module | None:
        """The module `name`, relative if it has leading dots, as an import in the file at `path` finds it."""
        dots = len(name) - len(name.lstrip("."))
        parts = [part for part in name.split(".") if part]
        if not parts:
            return None
        if dots:
            directory = paths.parent(path)
            for _ in range(dots - 1):
                directory = paths.parent(directory)
            return self._find_in((directory,), parts)
        key = ".".join(parts), self._standard_library_of(path)
        if key not in self._modules_by_name:
            # Several Pythons may have run: a file of a standard library imports from that one first.
            directories = (
                sorted(self.directories, key=lambda directory: directory != key[1])
                if key[1]
                else self.directories
            )
            self._modules_by_name[key] = self._find_in(tuple(directories), parts)
        return self._modules_by_name[key]

    def longest_prefix(self, name: str, path: str) -> Module | None:
        """The module that the longest beginning of the dotted `name` leads to."""
        dots = len(name) - len(name.lstrip("."))
        parts = name.split(".")
        for end in range(min(len(parts), MAX_NAME_PARTS), dots, -1):
            if found := self.find(".".join(parts[:end]), path):
                return found
        return None

    def submodules(self, directory: str) -> Iterator[str]:
        """The files of the modules in a package's directory, with the ``__init__`` of its subpackages."""
        for name, path in sorted(self.listing(directory).items()):
            if name.endswith(".py") or (name.endswith(".so") and self._is_tagged(name)):
                yield path
            elif name != "__pycache__" and "__init__.py" in self.listing(path):
                yield f"{path}/__init__.py"

    def standard_sources(self, prefix: str) -> Iterator[str]:
        """The sources of the standard library whose names begin with `prefix`."""
        for directory in self.standard:
            for name, path in sorted(self.listing(directory).items()):
                if name.startswith(prefix) and name.endswith(".py"):
                    yield path

    def listing(self, directory: str) -> Mapping[str, str]:
        """The names in a directory, each with its path; links on the way to the directory are followed."""
        if directory not in self._listings:
            end = self._tree.resolve(directory).path
            self._listings[directory] = {paths.name(path): path for path in self._tree.children(end)}
        return self._listings[directory]

    def _find_in(self, directories: tuple[str, ...], parts: list[str]) -> Module | None:
        packages: list[str] = []
        for part in parts[:-1]:
            step = self._find_part(directories, part)
            if step is None or not step[1]:
                return None
            packages += [step[0]] if step[0] else []
            directories = step[1]
        last = self._find_part(directories, parts[-1])
        return Module(last[0], tuple(packages), last[1][0] if last[1] else "") if last else None

    def _find_part(self, directories: tuple[str, ...], name: str) -> tuple[str, tuple[str, ...]] | None:
        """The file of the module of this name in the first of the directories that has it, and the directories
        of its submodules."""
        namespace_directories: list[str] = []
        for directory in directories:
            listing = self.listing(directory)
            if name in listing:
                inside = self.listing(listing[name])
                for init in ("__init__.py", "__init__.pyc"):
                    if init in inside:
                        return inside[init], (listing[name],)
            for file_name in self._file_names(name):
                if file_name in listing:
                    return listing[file_name], ()
            if name in listing and self._is_directory(listing[name]):
                namespace_directories.append(listing[name])
        return ("", tuple(namespace_directories)) if namespace_directories else None

    def _file_names(self, module: str) -> Iterator[str]:
        for tag in self._cpython_tags:
            for abi in (
                "-x86_64-linux-gnu",
                "-aarch64-linux-gnu",
                "-x86_64-linux-musl",
                "-aarch64-linux-musl",
                "",
            ):
                yield f"{module}{tag}{abi}.so"
        yield from (f"{module}.abi3.so", f"{module}.so", f"{module}.py", f"{module}.pyc")

    def _is_tagged(self, name: str) -> bool:
        return ".cpython-" not in name or any(
            f"{tag}-" in name or f"{tag}." in name for tag in self._cpython_tags
        )

    def _is_directory(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.DIR

    def _standard_library_of(self, path: str) -> str:
        return next((directory for directory in self.standard if paths.below(path, directory)), "")

    def _is_installed(self, path: str) -> bool:
        return _SITE_PACKAGES.match(path) is not None or path in self.standard

    def _pythonpath(self, capture: Capture) -> Iterator[str]:
        for directory in capture.image.environment.get("PYTHONPATH", "").split(":"):
            if directory:
                yield paths.join(self._working_directory, directory)

    def _application_roots(self, opened: set[str]) -> Iterator[str]:
        """The directories that application modules were loaded from: those that hold their top packages."""
        for path in sorted({source_of(path) for path in opened}):
            if not self._is_installed(path) and not any(
                paths.below(path, directory) for directory in self.standard
            ):
                directory = paths.parent(path)
                while directory != "/" and "__init__.py" in self.listing(directory):
                    directory = paths.parent(directory)
                yield directory

    def _pth_directories(self) -> Iterator[str]:
        """The directories that .pth files in site-packages add."""
        for site in self.sites:
            for name, path in sorted(self.listing(site).items()):
                if name.endswith(".pth"):
                    text = self._contents.text(path) or ""
                    for line in text.splitlines()[:MAX_PTH_LINES]:
                        line = line.strip()
                        if line and not line.startswith(("#", "import ", "import\t")) and "\0" not in line:
                            directory = paths.join(site, line)
                            if self._is_directory(directory):
                                yield directory


def source_of(path: str) -> str:
    """The source that the bytecode at `path` was made from; any other path is itself."""
    if found := _PYCACHE.fullmatch(path):
        return f"{found[1]}/{found[2]}.py"
    return path


def is_python(program: str) -> bool:
    """Whether a program's name is that of a Python interpreter."""
    return _PYTHON_NAME.fullmatch(paths.name(program)) is not None


def _observed_files(capture: Capture) -> tuple[set[str], set[str], frozenset[str]]:
    """The Python files that were opened, paths in site-packages that were looked at, the scripts that ran."""
    opened, looked_at = set(), set()
    for use in capture.trace.uses:
        path = use.resolved or (paths.join(use.base, use.asked) if use.asked else "")
        if use.error or not path:
            continue
        if use.use in (Use.READ, Use.MAP) and path.endswith((".py", ".pyc")):
            opened.add(path)
        elif "-packages" in path:
            looked_at.add(path)
    scripts = set()
    for run in capture.trace.execs:
        base = run.base or capture.image.text("WorkingDir") or "/"
        if is_python(run.binary) and run.binary != run.asked and not is_python(run.asked):
            scripts.add(capture.tree.resolve(paths.join(base, run.asked)).path)
        elif is_python(run.asked):
            if script := _script_argument(run.argv):
                scripts.add(capture.tree.resolve(paths.join(base, script)).path)
            else:  # -m, -c: sys.path begins with the working directory
                scripts.add(paths.join(base, "-"))
    return opened, looked_at, frozenset(scripts)


def _script_argument(argv: tuple[str, ...]) -> str:
    """The script among the arguments of a Python; "" where there is none (Python documentation, "Command line
    and environment")."""
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
