"""Python: the modules that code in use imports later or rarely, the data beside it, metadata of distributions.

Of the application and of installed packages every import is followed, those in functions too. Of the standard
library, whose functions import each other far and wide (``pydoc``, ``tkinter``, ``unittest``), only what
loading a module takes; and what its functions import where the application itself names that module.

Kept is a module's source: of what was loaded the bytecode is in the trace; what is only named can do without,
at the price of being compiled when it is imported, and the image is smaller for it.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import shebangs
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.languages.python.data_files import Data
from slimtrace.reason.keep.languages.python.distributions import Distributions
from slimtrace.reason.keep.languages.python.runtime_imports import (
    BEHIND,
    BEHIND_NEAR,
    FRAMEWORKS,
    FROZEN,
    SPARSE,
    TOOL_FILES,
    TOOLS,
    codec_module,
)
from slimtrace.reason.keep.languages.python.search_path import Layout, Module, Part, is_python, source_of
from slimtrace.reason.keep.languages.shell import SHELLS

_IMPORTS = frozenset(("import", "attempt", "member", "implied"))
_FAR = _IMPORTS | {"children", "literal"}  # what functions of code that is not near are not asked for
MAX_CHILDREN = 64  # modules of one package, any of which may be imported
_STANDARD = sys.stdlib_module_names | set(sys.builtin_module_names)


class Python:
    """Reads every Python source of the capture that is in use.

    *Near* is what runs as soon as the application's own code does: what was loaded, what the application names,
    and what loading that takes. Near code has its functions' imports followed; what these lead to, only what
    loading takes.
    """

    def __init__(self, capture: Capture) -> None:
        self.tree = capture.tree
        self.contents = capture.contents
        self.layout = Layout(capture)
        self.data = Data(capture.tree, self.layout, capture.image.text("WorkingDir") or "/")
        self.distributions = Distributions(self.layout, capture.contents)
        self.near = set(self.layout.loaded)
        self.frozen = frozenset(
            f"{place}/{name.replace('.', '/')}.py"
            for place in self.layout.standard
            for name in (FROZEN if self.layout.frozen else ())
        )
        self._done: set[str] = set()

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the Python source at `path`, or the one of the bytecode there, names."""
        source = source_of(path)
        if source.endswith(".pyc"):  # beside its source, as Python 2 has it, or in its place
            source = source.removesuffix("c")
        if not self.layout.used or source in self._done:
            return
        language = self._language(source)
        if language in SHELLS:
            yield from self._started(path)
        if not is_python(language):
            return
        self._done.add(source)
        if source not in self.tree:
            if self.layout.part(source) is not Part.STANDARD:
                text = "is bytecode without its source: what it imports is not known"
                yield _doubt("python-bytecode", path, 0, text)
            return
        todo = [source]
        while todo:
            reading = _Reading(self, path, todo.pop())
            yield from reading.read()
            # What was read before as being far has its functions read now.
            todo += sorted(file for file in reading.nearer if file in self._done)

    def _language(self, path: str) -> str:
        if path.endswith((".py", ".pyc")) or path in self.layout.scripts:
            return "python"
        return shebangs.language(self.contents.head(path) or b"")

    def _started(self, path: str) -> Iterator[Claim | Doubt]:
        """The modules that the shell script at `path` starts by ``python -m``."""
        reading = _Reading(self, path, path)
        for mention in self.contents.mentions(path, Language.SHELL):
            if mention.kind == "module":
                for name in (mention.name, f"{mention.name}.__main__"):
                    yield from reading.module(replace(mention, kind="attempt", name=name))


class _Reading:
    """One source: `path` is the file that was asked, `source` what is read for it; `nearer` gathers what turns
    out to be near."""

    def __init__(self, finder: Python, path: str, source: str) -> None:
        self._layout = finder.layout
        self._contents = finder.contents
        self._data = finder.data
        self._distributions = finder.distributions
        self._tree = finder.tree
        self._all_near = finder.near
        self._frozen = finder.frozen
        self._path = path
        self._source = source
        self._part = finder.layout.part(source)
        self._near = self._part is Part.APPLICATION or source in finder.near
        self.nearer: set[str] = set()

    def _mentions(self) -> tuple[Mention, ...]:
        if self._part is Part.STANDARD and self._source in self._layout.loaded:
            return ()  # what loading it takes was seen
        found = self._contents.mentions(self._source, Language.PYTHON)
        if self._part is Part.STANDARD:
            return tuple(one for one in found if one.kind == "codec" or (not one.lazy and one.kind in _IMPORTS))
        return found if self._near else tuple(one for one in found if not one.lazy or one.kind not in _FAR)

    def read(self) -> Iterator[Claim | Doubt]:
        """The claims and doubts of the source; of each kind of doubt the first."""
        doubted = set()
        for mention in self._mentions():
            for item in self._of(mention):
                if isinstance(item, Doubt):
                    if item.code in doubted:
                        continue
                    doubted.add(item.code)
                yield item

    def _of(self, mention: Mention) -> Iterator[Claim | Doubt]:
        own = self._part is Part.APPLICATION
        kind, name = mention.kind, mention.name
        if kind in _IMPORTS and not mention.computed:
            yield from self.module(mention)
        elif kind in ("import", "attempt"):
            if own:
                yield _doubt(
                    "python-import", self._source, mention.line, f"imports what only a run would tell: {name}"
                )
        elif kind == "async":
            if own and (module := self._layout.find("asyncio", self._source)):
                yield from self._claims(module, mention)
        elif kind == "children":
            yield from self._children(mention)
        elif kind == "codec":
            yield from self._codec(mention)
        elif kind == "data":
            files, all_of_them = self._data.beside(self._source, name, mention.computed)
            yield from self._files(mention, files)
            if not all_of_them:
                text = f"reads one of too many files to keep them all: {name}"
                yield _doubt("python-data", self._source, mention.line, text)
        elif kind == "literal":
            if own:
                yield from self._files(mention, self._data.literal(self._source, name))
            if "/" not in name and name.count(".") >= 1 and (own or mention.lazy or self._part is Part.SITE):
                yield from self._dotted(mention)
        elif kind == "zone":
            yield from self._files(mention, self._data.zone(name, mention.computed))
        elif kind in ("distribution", "entry-points"):
            yield from self._metadata(mention)

    def module(self, mention: Mention) -> Iterator[Claim | Doubt]:
        """The files of a module that is imported, and what comes with it."""
        name = mention.name
        module = self._layout.find(name, self._source)
        if module is None and mention.kind == "member":
            # Of "a.b" the import of "a" is told apart; of an attribute's attribute the longest module counts.
            module = self._layout.longest(name, self._source) if name.count(".") > 1 else None
        if module is None:
            # A name that an interpreter has built in has no file either.
            if mention.kind == "import" and not mention.lazy and self._is_missing(name):
                yield _doubt(
                    "python-missing", self._source, mention.line, f"imports {name}, which is not there"
                )
            return
        if mention.lazy and self._part is Part.SITE and self._is_aside(name, module.file):
            return
        yield from self._claims(module, mention)
        yield from self._behind(name, mention)
        if self._near and name.partition(".")[0] in FRAMEWORKS and mention.kind != "member":
            yield from self._folders(mention)
        standard = module.file and name not in SPARSE and self._layout.part(module.file) is Part.STANDARD
        if standard and self._part is Part.APPLICATION:
            yield from self._within(module.file)

    def _folders(self, mention: Mention) -> Iterator[Claim | Doubt]:
        """What a web framework looks up by a name that it gets: the source's templates and static files."""
        files, whole = self._data.folders(self._source)
        yield from self._files(mention, files)
        if not whole:
            yield _doubt(
                "python-data", self._source, mention.line, "has too many templates or static files to keep all"
            )

    @staticmethod
    def _is_aside(name: str, file: str) -> bool:
        """Whether a library's function imports `name` for others than this application. An event loop is for
        one that has coroutines: that names asyncio by itself (see `_of`)."""
        parts = name.strip(".").split(".")
        return parts[0] == "asyncio" or not TOOLS.isdisjoint(parts) or file.endswith(TOOL_FILES)

    def _claims(self, module: Module, mention: Mention) -> Iterator[Claim]:
        for file in (*module.above, module.file or module.directory):
            if file in self._frozen:
                continue
            if self._is_near(mention, file) and file not in self._all_near:
                self._all_near.add(file)
                self.nearer.add(file)
            yield self._claim(file, mention)

    def _is_near(self, mention: Mention, file: str) -> bool:
        """Whether what `mention` leads to is near. Of a package that was loaded the rest is not, which the run
        had its chance to import; of one that the application names for later, its own modules are."""
        if not mention.lazy or self._part is Part.APPLICATION:
            return self._near
        if not self._near or self._source in self._layout.loaded:
            return False
        return self._layout.distribution(file) == self._layout.distribution(self._source) != ""

    def _claim(self, file: str, mention: Mention, of: str = "") -> Claim:
        depth = Depth.LIBRARY if ".so" in paths.name(file) else Depth.ALONE
        return Claim(file, Why.IMPORTED, self._path, of or f"{self._source}:{mention.line}", depth)

    def _behind(self, name: str, mention: Mention) -> Iterator[Claim]:
        used = self._part is Part.APPLICATION or self._source in self._layout.loaded
        near = BEHIND_NEAR.get(name, ()) if used else ()
        if name == "sysconfig":  # its _get_sysconfigdata_name has the platform in it
            for file in self._layout.beginning("_sysconfigdata_"):
                yield self._claim(file, mention)
        for hidden in (*BEHIND.get(name, ()), *near):
            if hidden == "sysconfig":
                yield from self._behind(hidden, mention)
            if module := self._layout.find(hidden, self._source):
                yield from self._claims(module, mention)

    def _within(self, file: str) -> Iterator[Claim]:
        """What the functions of a standard module import that the application names."""
        for mention in self._contents.mentions(file, Language.PYTHON):
            if mention.lazy and mention.kind in _IMPORTS and mention.name.partition(".")[0] not in TOOLS:
                module = None if mention.computed else self._layout.find(mention.name, file)
                for one in (*module.above, module.file) if module else ():
                    if one and one not in self._frozen:
                        yield self._claim(one, mention, f"{file}:{mention.line}")

    def _is_missing(self, name: str) -> bool:
        """Whether an application cannot do without a module that is not found."""
        if self._part is not Part.APPLICATION or name.startswith("."):
            return self._part is Part.APPLICATION
        # What the interpreter has built in has no file; without a standard library nothing can be told.
        return bool(self._layout.standard) and name.partition(".")[0] not in _STANDARD

    def _children(self, mention: Mention) -> Iterator[Claim | Doubt]:
        name = mention.name.rstrip(".")
        module = self._layout.find(name, self._source) if name else None
        directory = module.directory if module else "" if name else paths.parent(self._source)
        files = list(self._layout.children(directory)) if directory else []
        if len(files) > MAX_CHILDREN:
            if self._part is Part.APPLICATION:
                text = f"imports one of the {len(files)} modules in {directory}"
                yield _doubt("python-import", self._source, mention.line, text)
            return
        if module:
            yield from self._claims(module, mention)
        for file in files:
            yield self._claim(file, mention)

    def _dotted(self, mention: Mention) -> Iterator[Claim]:
        """A string such as those in settings: "package.module.Class"."""
        if not all(part.isidentifier() for part in mention.name.split(".")):
            return
        module = self._layout.longest(mention.name, self._source)
        top = mention.name.partition(".")[0]
        if module and module.above and top not in TOOLS:
            yield from self._claims(module, mention)

    def _codec(self, mention: Mention) -> Iterator[Claim]:
        name = codec_module(mention.name)
        if module := self._layout.find(name, self._source) if name else None:
            yield from self._claims(module, mention)
            yield from self._behind(name, mention)

    def _files(self, mention: Mention, files: Iterable[str]) -> Iterator[Claim]:
        for file in files:
            entry = self._tree.resolve(file).entry
            program = entry is not None and entry.kind is Kind.FILE and entry.mode & 0o111
            depth = Depth.PROGRAM if program else Depth.LIBRARY
            yield Claim(file, Why.IMPORTED, self._path, f"{self._source}:{mention.line}", depth)

    def _metadata(self, mention: Mention) -> Iterator[Claim]:
        if mention.kind == "entry-points":
            files, modules = self._distributions.entry_points(mention.name)
            for name in modules:
                if module := self._layout.find(name, self._source):
                    yield from self._claims(module, mention)
        elif mention.name == ".":
            files = self._distributions.owning(self._source)
        elif mention.name or self._part is Part.APPLICATION:
            files = self._distributions.metadata(mention.name)
        else:
            files = ()
        yield from self._files(mention, files)


def _doubt(code: str, path: str, line: int, text: str) -> Doubt:
    where = paths.printable(path) + (f":{line}" if line else "")
    return Doubt(code, f"{where} {paths.printable(text[:300])}", path)
