"""Python: the modules that code in use may still import, its data files, the metadata of distributions.

Every import of the application and of installed packages is followed, those in functions too. The functions of
the standard library import each other far and wide (``pydoc``, ``tkinter``, ``unittest``): of its modules only
what loading them takes is followed, and the imports in functions of a module that the application itself names.

A module is kept as its source. The bytecode of what was loaded is in the trace; what is only named works
without bytecode, at the price of being compiled when it is imported, and the image is smaller for it.
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
from slimtrace.reason.keep.languages.python.data_files import PackageData
from slimtrace.reason.keep.languages.python.distributions import Distributions
from slimtrace.reason.keep.languages.python.runtime_imports import (
    FRAMEWORKS,
    FROZEN,
    HIDDEN_IMPORTS,
    HIDDEN_IMPORTS_NEAR,
    LAZY_IMPORTS_KNOWN,
    TOOL_FILES,
    TOOLS,
    codec_module,
)
from slimtrace.reason.keep.languages.python.search_path import (
    CodeOrigin,
    Module,
    SearchPath,
    is_python,
    source_of,
)
from slimtrace.reason.keep.languages.shell import SHELLS

_IMPORTS = frozenset(("import", "attempt", "member", "implied"))
_NOT_FOLLOWED_IF_FAR = _IMPORTS | {"children", "literal"}  # not followed in functions of code that is not near
MAX_SUBMODULES = 64  # of one package of which the code may import any module
_STANDARD_MODULES = sys.stdlib_module_names | set(sys.builtin_module_names)


class Python:
    """The finder for Python: see `finders.Finder`.

    Code is *near* if it runs as soon as the application's own code does: what was loaded, what the application
    names, and what loading that takes. The imports in functions of near code are followed; of the modules that
    these lead to only what loading them takes.
    """

    def __init__(self, capture: Capture) -> None:
        self.tree = capture.tree
        self.contents = capture.contents
        self.search_path = SearchPath(capture)
        self.data = PackageData(capture.tree, self.search_path, capture.image.text("WorkingDir") or "/")
        self.distributions = Distributions(self.search_path, capture.contents)
        self.near = set(self.search_path.loaded)
        self.frozen = frozenset(
            f"{directory}/{name.replace('.', '/')}.py"
            for directory in self.search_path.standard
            for name in (FROZEN if self.search_path.frozen else ())
        )
        self._read_sources: set[str] = set()

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the Python source at `path`, or the source of the bytecode at `path`, names."""
        source = source_of(path)
        if source.endswith(".pyc"):  # beside its source (Python 2), or instead of it
            source = source.removesuffix("c")
        if not self.search_path.used or source in self._read_sources:
            return
        language = self._language(source)
        if language in SHELLS:
            yield from self._modules_of_shell_script(path)
        if not is_python(language):
            return
        self._read_sources.add(source)
        if source not in self.tree:
            if self.search_path.code_origin(source) is not CodeOrigin.STANDARD:
                text = "is bytecode without its source: what it imports is not known"
                yield _doubt("python-bytecode", path, 0, text)
            return
        todo = [source]
        while todo:
            reading = _Reading(self, path, todo.pop())
            yield from reading.read()
            # Sources that were read as far before are read again, with their functions.
            todo += sorted(file for file in reading.nearer if file in self._read_sources)

    def _language(self, path: str) -> str:
        if path.endswith((".py", ".pyc")) or path in self.search_path.scripts:
            return "python"
        return shebangs.interpreter_name(self.contents.head(path) or b"")

    def _modules_of_shell_script(self, path: str) -> Iterator[Claim | Doubt]:
        """The modules that the shell script at `path` starts by ``python -m``."""
        reading = _Reading(self, path, path)
        for mention in self.contents.mentions(path, Language.SHELL):
            if mention.kind == "module":
                for name in (mention.name, f"{mention.name}.__main__"):
                    yield from reading.module(replace(mention, kind="attempt", name=name))


class _Reading:
    """The reading of one source: `path` is the file that the finder was asked about, `source` what is read for
    it; `nearer` collects the files that turn out to be near."""

    def __init__(self, finder: Python, path: str, source: str) -> None:
        self._search_path = finder.search_path
        self._contents = finder.contents
        self._data = finder.data
        self._distributions = finder.distributions
        self._tree = finder.tree
        self._all_near = finder.near
        self._frozen = finder.frozen
        self._path = path
        self._source = source
        self._origin = finder.search_path.code_origin(source)
        self._near = self._origin is CodeOrigin.APPLICATION or source in finder.near
        self.nearer: set[str] = set()

    def _mentions(self) -> tuple[Mention, ...]:
        if self._origin is CodeOrigin.STANDARD and self._source in self._search_path.loaded:
            return ()  # what loading it takes is in the trace
        mentions = self._contents.mentions(self._source, Language.PYTHON)
        if self._origin is CodeOrigin.STANDARD:
            return tuple(
                mention
                for mention in mentions
                if mention.kind == "codec" or (not mention.lazy and mention.kind in _IMPORTS)
            )
        return (
            mentions
            if self._near
            else tuple(
                mention for mention in mentions if not mention.lazy or mention.kind not in _NOT_FOLLOWED_IF_FAR
            )
        )

    def read(self) -> Iterator[Claim | Doubt]:
        """The claims and doubts of the source; of doubts the first of each code."""
        doubted = set()
        for mention in self._mentions():
            for item in self._of_mention(mention):
                if isinstance(item, Doubt):
                    if item.code in doubted:
                        continue
                    doubted.add(item.code)
                yield item

    def _of_mention(self, mention: Mention) -> Iterator[Claim | Doubt]:
        own = self._origin is CodeOrigin.APPLICATION
        kind, name = mention.kind, mention.name
        if kind in _IMPORTS and not mention.computed:
            yield from self.module(mention)
        elif kind in ("import", "attempt"):
            if own:
                yield _doubt(
                    "python-import", self._source, mention.line, f"imports what only a run would tell: {name}"
                )
        elif kind == "async":
            if own and (module := self._search_path.find("asyncio", self._source)):
                yield from self._claims(module, mention)
        elif kind == "children":
            yield from self._submodules(mention)
        elif kind == "codec":
            yield from self._codec(mention)
        elif kind == "data":
            files, complete = self._data.named_by_path(self._source, name, mention.computed)
            yield from self._files(mention, files)
            if not complete:
                text = f"reads one of too many files to keep them all: {name}"
                yield _doubt("python-data", self._source, mention.line, text)
        elif kind == "literal":
            if own:
                yield from self._files(mention, self._data.named_by_string(self._source, name))
            if (
                "/" not in name
                and name.count(".") >= 1
                and (own or mention.lazy or self._origin is CodeOrigin.SITE)
            ):
                yield from self._dotted_name(mention)
        elif kind == "zone":
            yield from self._files(mention, self._data.time_zone(name, mention.computed))
        elif kind in ("distribution", "entry-points"):
            yield from self._metadata(mention)

    def module(self, mention: Mention) -> Iterator[Claim | Doubt]:
        """The files of a module that is imported, and what comes with it."""
        name = mention.name
        module = self._search_path.find(name, self._source)
        if module is None and mention.kind == "member":
            # The import of "a" in "a.b" is a mention of its own; of longer names the longest module counts.
            module = self._search_path.longest_prefix(name, self._source) if name.count(".") > 1 else None
        if module is None:
            # A name that an interpreter has built in has no file either.
            if mention.kind == "import" and not mention.lazy and self._is_missing(name):
                yield _doubt(
                    "python-missing", self._source, mention.line, f"imports {name}, which is not there"
                )
            return
        if mention.lazy and self._origin is CodeOrigin.SITE and self._is_for_others(name, module.file):
            return
        yield from self._claims(module, mention)
        yield from self._hidden_imports(name, mention)
        if self._near and name.partition(".")[0] in FRAMEWORKS and mention.kind != "member":
            yield from self._framework_files(mention)
        standard = (
            module.file
            and name not in LAZY_IMPORTS_KNOWN
            and self._search_path.code_origin(module.file) is CodeOrigin.STANDARD
        )
        if standard and self._origin is CodeOrigin.APPLICATION:
            yield from self._standard_function_imports(module.file)

    def _framework_files(self, mention: Mention) -> Iterator[Claim | Doubt]:
        """What a web framework looks up by name: the templates and static files beside the source."""
        files, complete = self._data.framework_files(self._source)
        yield from self._files(mention, files)
        if not complete:
            yield _doubt(
                "python-data", self._source, mention.line, "has too many templates or static files to keep all"
            )

    @staticmethod
    def _is_for_others(name: str, file: str) -> bool:
        """Whether a library's function imports `name` for other applications than this one: tools of
        developers, and the event loop. An application with coroutines names asyncio itself (kind ``async``, see
        `_of_mention`)."""
        parts = name.strip(".").split(".")
        return parts[0] == "asyncio" or not TOOLS.isdisjoint(parts) or file.endswith(TOOL_FILES)

    def _claims(self, module: Module, mention: Mention) -> Iterator[Claim]:
        for file in (*module.packages, module.file or module.directory):
            if file in self._frozen:
                continue
            if self._is_near(mention, file) and file not in self._all_near:
                self._all_near.add(file)
                self.nearer.add(file)
            yield self._claim(file, mention)

    def _is_near(self, mention: Mention, file: str) -> bool:
        """Whether the file that `mention` leads to is near. What the functions of a loaded source import is
        not, since the run could have imported it; of a package that was not loaded and that near code names,
        its own modules are near."""
        if not mention.lazy or self._origin is CodeOrigin.APPLICATION:
            return self._near
        if not self._near or self._source in self._search_path.loaded:
            return False
        return self._search_path.distribution(file) == self._search_path.distribution(self._source) != ""

    def _claim(self, file: str, mention: Mention, of: str = "") -> Claim:
        depth = Depth.LIBRARY if ".so" in paths.name(file) else Depth.ALONE
        return Claim(file, Why.IMPORTED, self._path, of or f"{self._source}:{mention.line}", depth)

    def _hidden_imports(self, name: str, mention: Mention) -> Iterator[Claim]:
        is_used = self._origin is CodeOrigin.APPLICATION or self._source in self._search_path.loaded
        hidden_if_near = HIDDEN_IMPORTS_NEAR.get(name, ()) if is_used else ()
        if name == "sysconfig":  # the platform is part of _get_sysconfigdata_name()
            for file in self._search_path.standard_sources("_sysconfigdata_"):
                yield self._claim(file, mention)
        for imported in (*HIDDEN_IMPORTS.get(name, ()), *hidden_if_near):
            if imported == "sysconfig":
                yield from self._hidden_imports(imported, mention)
            if module := self._search_path.find(imported, self._source):
                yield from self._claims(module, mention)

    def _standard_function_imports(self, file: str) -> Iterator[Claim]:
        """The imports in functions of a standard module that the application names."""
        for mention in self._contents.mentions(file, Language.PYTHON):
            if mention.lazy and mention.kind in _IMPORTS and mention.name.partition(".")[0] not in TOOLS:
                module = None if mention.computed else self._search_path.find(mention.name, file)
                for imported in (*module.packages, module.file) if module else ():
                    if imported and imported not in self._frozen:
                        yield self._claim(imported, mention, f"{file}:{mention.line}")

    def _is_missing(self, name: str) -> bool:
        """Whether the source is the application's and needs `name`, for which no file was found."""
        if self._origin is not CodeOrigin.APPLICATION or name.startswith("."):
            return self._origin is CodeOrigin.APPLICATION
        # A module that the interpreter has built in has no file; without a standard library it is not known
        # which are.
        return bool(self._search_path.standard) and name.partition(".")[0] not in _STANDARD_MODULES

    def _submodules(self, mention: Mention) -> Iterator[Claim | Doubt]:
        name = mention.name.rstrip(".")
        module = self._search_path.find(name, self._source) if name else None
        directory = module.directory if module else "" if name else paths.parent(self._source)
        files = list(self._search_path.submodules(directory)) if directory else []
        if len(files) > MAX_SUBMODULES:
            if self._origin is CodeOrigin.APPLICATION:
                text = f"imports one of the {len(files)} modules in {directory}"
                yield _doubt("python-import", self._source, mention.line, text)
            return
        if module:
            yield from self._claims(module, mention)
        for file in files:
            yield self._claim(file, mention)

    def _dotted_name(self, mention: Mention) -> Iterator[Claim]:
        """The module that a string such as "package.module.Class" in settings names."""
        if not all(part.isidentifier() for part in mention.name.split(".")):
            return
        module = self._search_path.longest_prefix(mention.name, self._source)
        top = mention.name.partition(".")[0]
        if module and module.packages and top not in TOOLS:
            yield from self._claims(module, mention)

    def _codec(self, mention: Mention) -> Iterator[Claim]:
        name = codec_module(mention.name)
        if module := self._search_path.find(name, self._source) if name else None:
            yield from self._claims(module, mention)
            yield from self._hidden_imports(name, mention)

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
                if module := self._search_path.find(name, self._source):
                    yield from self._claims(module, mention)
        elif mention.name == ".":
            files = self._distributions.owning(self._source)
        elif mention.name or self._origin is CodeOrigin.APPLICATION:
            files = self._distributions.metadata(mention.name)
        else:
            files = ()
        yield from self._files(mention, files)


def _doubt(code: str, path: str, line: int, text: str) -> Doubt:
    where = paths.printable(path) + (f":{line}" if line else "")
    return Doubt(code, f"{where} {paths.printable(text[:300])}", path)
