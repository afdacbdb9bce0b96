"""Perl: the modules that code in use may still require after what was seen, with their shared objects.

Sources: perlfunc(1) require (how @INC is searched), perlrun(1) (PERL5LIB), XSLoader(3) and DynaLoader(3)
(``auto/A/B/B.so``), AutoLoader(3) (``auto/A/B/*.al``), Encode::Config (which module has which encoding). The
directories of @INC are those in which the interpreter looked for modules that nearly every program loads;
Debian's order is that of its perl's ``perl -V``.

Everything that the application and installed modules name is followed; of perl's own library only what
compiling a module loads.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Use
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import shebangs
from slimtrace.reason.keep.evidence import Claim, Depth

_PERL_NAME = re.compile(r"c?perl[\d.]*")
_SOURCE_SUFFIXES = (".pm", ".pl", ".ph", ".t", ".cgi", ".al")
# Modules without a :: that nearly every program loads: the directories in which they were looked for are @INC.
_COMMON_MODULES = frozenset(
    f"{name}.pm"
    for name in [
        "strict",
        "warnings",
        "utf8",
        "vars",
        "constant",
        "lib",
        "base",
        "parent",
        "feature",
        "overload",
        "integer",
        "Exporter",
        "Carp",
        "Config",
    ]
)
_CORE_DIRECTORY = re.compile(r".*/(?:perl-base|perl/5[.\d]*|perl5/5[.\d]*(?:/[^/]*-[^/]*)?|perl5/core_perl)")
_INSTALLED_DIRECTORY = re.compile(
    r".*/(?:perl5|perl5/5[.\d]*|(?:site|vendor)_perl(?:/.*)?|local/(?:lib|share)/.*perl/5[.\d]*)"
)
MAX_INC = 200  # directories of @INC
_SHORT_VERSION = re.compile(r"5\.\d+")  # the other spelling, 5.36.0, is what the link points to
_INC_ORDER = (
    "/etc/perl",
    "/usr/local/lib",
    "/usr/local/share",
    "/perl5",
    "/perl-base",
    "/usr/lib",
    "/usr/share",
)
# Encode::Config, %ExtModule: the beginnings of encodings' names, and the module that has these encodings.
_ENCODING_MODULES = (
    (r"iso-?8859-(?!1$)|cp(?:437|7|8|1006|12)|koi8|mac|windows-|viscii|hp-?roman|gsm|nextstep", "Encode::Byte"),
    (r"utf-?(?:16|32)|ucs-?[24]", "Encode::Unicode"),
    (r"utf-?7", "Encode::Unicode::UTF7"),
    (r"euc-?jp|shift_?jis|sjis|7bit-jis|iso-2022-jp|cp932|jis", "Encode::JP"),
    (r"euc-?kr|iso-2022-kr|johab|cp949|ksc", "Encode::KR"),
    (r"euc-?cn|gb|hz|cp936|iso-ir-165", "Encode::CN"),
    (r"big5|cp950", "Encode::TW"),
    (r"mime", "Encode::MIME::Header"),
    (r"symbol|dingbats|adobe|mac.*(?:symbol|dingbats)", "Encode::Symbol"),
    (r"cp(?:37|500|875|1026|1047)|posix-bc", "Encode::EBCDIC"),
)
_CHARACTER_NAME_FILES = ("_charnames.pm", "unicore/Name.pm", "unicore/Name.pl")
# Before 5.32 each Unicode property was a file, found through one of these; since then perl has them built in.
_PROPERTY_FILES = ("utf8_heavy.pl", "unicore/Heavy.pl")
# What functions of perl's own modules, by module, require in ordinary use.
_HIDDEN_REQUIRES = {
    "Carp": ("Carp::Heavy",),
    "Encode": ("Encode::Alias", "Encode::Config", "Encode::MIME::Name"),
    "Exporter": ("Exporter::Heavy",),  # tags, patterns, refusals
    "IO::Socket": ("IO::Socket::INET", "IO::Socket::UNIX"),
    "Math::BigInt": ("Math::BigInt::Calc",),
    "PerlIO::encoding": ("PerlIO",),  # perlio.c, PerlIO_find_layer
    "PerlIO::scalar": ("PerlIO",),
    "PerlIO::via": ("PerlIO",),
    "charnames": ("_charnames",),
    "constant": ("Carp",),
    "strict": ("Carp",),
    "warnings": ("Carp",),
}


class Perl:
    """The finder for Perl: see `finders.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._base = capture.image.text("WorkingDir") or "/"
        self._scripts: set[str] = set()
        self._loaded: set[str] = set()
        self._find_scripts(capture)
        inc = self._inc_directories(capture)
        self._ran = bool(inc or self._scripts)
        perl5lib = capture.image.environment.get("PERL5LIB", "").split(":")
        self._inc = [paths.join(self._base, directory) for directory in perl5lib if directory]
        self._inc += sorted(inc, key=_inc_rank)
        self._inc += [
            directory
            for directory in _module_directories(self._loaded, self._inc)
            if directory not in self._inc
        ]

    def _find_scripts(self, capture: Capture) -> None:
        """Note the scripts that a perl was started with, or that were executed by their #! line."""
        for run in capture.trace.execs:
            base = run.base or self._base
            if _PERL_NAME.fullmatch(paths.name(run.asked)):
                operand = next((word for word in run.argv[1:] if not word.startswith("-")), "")
                if operand and not any(word[:2] in ("-e", "-E") for word in run.argv[1:]):
                    self._scripts.add(self._tree.resolve(paths.join(base, operand)).path)
            elif _PERL_NAME.fullmatch(paths.name(run.binary)):
                self._scripts.add(self._tree.resolve(paths.join(base, run.asked)).path)

    def _inc_directories(self, capture: Capture) -> set[str]:
        """The directories of @INC. A module that was looked for in a known directory was looked for in others
        of @INC too: these are taken in until no more are found."""
        requested = set()
        for use in capture.trace.uses:
            path = paths.join(use.base, use.asked) if use.asked else use.resolved
            if path.endswith((".pm", ".pmc")):
                requested.add(path.removesuffix("c"))
            if use.use is Use.READ and not use.error and path.endswith(_SOURCE_SUFFIXES):
                self._loaded.add(use.resolved or path)
        searched_in: dict[str, set[str]] = {}  # by the file name of a module: where it was looked for
        for path in requested:
            searched_in.setdefault(paths.name(path), set()).add(paths.parent(path))
        inc = set().union(*(searched_in.get(name, ()) for name in _COMMON_MODULES))
        todo = set(inc)
        while todo:
            modules = {name for name, searched in searched_in.items() if searched & todo}
            todo = set().union(*(searched_in[name] for name in modules)) - inc
            inc |= todo
        if inc & {"/etc/perl", "/usr/share/perl5"}:
            inc |= {path for path in self._debian_inc() if path in self._tree}
        return {directory for directory in inc if self._tree.resolve(directory).entry}

    def _debian_inc(self) -> Iterator[str]:
        """Debian's directories of @INC by version, which are not searched for a module that perl-base has."""
        architectures = [
            path for path in self._tree.children("/usr/lib") if path.endswith(("-gnu", "-gnueabihf"))
        ]
        for place in (*(f"{path}/perl" for path in architectures), "/usr/share/perl"):
            yield from (
                path for path in self._tree.children(place) if _SHORT_VERSION.fullmatch(paths.name(path))
            )

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the Perl source at `path` names."""
        if not self._ran or not self._is_source(path):
            return
        core = self._is_core(path)
        if core and path in self._loaded:
            return  # what compiling it loads is in the trace
        mentions = self._contents.mentions(path, Language.PERL)
        for mention in mentions:
            if mention.kind == "lib":
                self._add_inc(path, mention.name)
        doubted = set()
        for mention in mentions:
            if core and mention.lazy:
                continue
            for item in self._of_mention(path, mention):
                if isinstance(item, Doubt):
                    if item.code in doubted or not self._is_application(path):
                        continue
                    doubted.add(item.code)
                yield item

    def _is_source(self, path: str) -> bool:
        if path.endswith(_SOURCE_SUFFIXES) or path in self._scripts:
            return True
        return _PERL_NAME.fullmatch(shebangs.interpreter_name(self._contents.head(path) or b"")) is not None

    def _add_inc(self, path: str, place: str) -> None:
        place = paths.join(paths.parent(path), place[1:].lstrip("/")) if place[:1] == "@" else place
        directory = self._tree.resolve(paths.join(self._base, place)).path
        if directory not in self._inc and directory in self._tree and len(self._inc) < MAX_INC:
            self._inc.insert(0, directory)

    def _of_mention(self, path: str, mention: Mention) -> Iterator[Claim | Doubt]:
        kind, name = mention.kind, mention.name
        if kind in ("import", "attempt", "implied"):
            if mention.computed:
                yield _doubt("perl-import", path, mention, f"requires what only a run would tell: {name}")
                return
            found = self._module_files(name)
            yield from (_claim(file, path, mention) for file in found)
            if not found and kind == "import" and not mention.lazy:
                yield _doubt("perl-missing", path, mention, f"uses {name}, which is not there")
        elif kind == "file":
            candidates = [paths.join(place, name) for place in (self._base, paths.parent(path), *self._inc)]
            file = next((candidate for candidate in candidates if self._is_file(candidate)), "")
            if file:
                yield _claim(file, path, mention)
        elif kind == "codec":
            module = next(
                (
                    candidate
                    for pattern, candidate in _ENCODING_MODULES
                    if re.match(pattern, name, re.IGNORECASE)
                ),
                "",
            )
            yield from (_claim(file, path, mention) for file in (self._module_files(module) if module else ()))
        elif kind == "unicode":
            for candidate in _CHARACTER_NAME_FILES if name == "N" else _PROPERTY_FILES:
                if file := self._find_in_inc(candidate):
                    yield _claim(file, path, mention)
                    if candidate in _PROPERTY_FILES:
                        yield from (_claim(file, path, mention) for file in self._property_files())

    def _module_files(self, name: str) -> tuple[str, ...]:
        """The file of a module, its files in ``auto``, and the modules that it requires at run time."""
        found: list[str] = []
        for module in (name, *_HIDDEN_REQUIRES.get(name, ())):
            path = module.replace("::", "/")
            if file := self._find_in_inc(f"{path}.pm"):
                found.append(file)
                found += self._auto_files(file.removesuffix(f"/{path}.pm"), path)
        return tuple(found) if self._find_in_inc(f"{name.replace('::', '/')}.pm") else ()

    def _auto_files(self, module_root: str, path: str) -> tuple[str, ...]:
        """The shared object and autoloaded files of a module, from ``auto`` in the directory of @INC that it is
        in, else in another one."""
        suffixes = (f"/{paths.name(path)}.so", ".al", "/autosplit.ix")
        for directory in (module_root, *self._inc):
            place = self._tree.resolve(f"{directory}/auto/{path}").path
            if files := [file for file in self._tree.children(place) if file.endswith(suffixes)]:
                return tuple(files)
        return ()

    def _find_in_inc(self, path: str) -> str:
        return next(
            (f"{directory}/{path}" for directory in self._inc if self._is_file(f"{directory}/{path}")), ""
        )

    def _property_files(self) -> Iterator[str]:
        for directory in self._inc:
            for place in self._tree.children(self._tree.resolve(f"{directory}/unicore/lib").path):
                yield from (file for file in self._tree.children(place) if file.endswith(".pl"))

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    def _is_core(self, path: str) -> bool:
        directories = [directory for directory in self._inc if paths.below(path, directory)]
        directory = max(directories, key=len, default="")
        return (
            bool(directory)
            and _CORE_DIRECTORY.fullmatch(directory) is not None
            and _INSTALLED_DIRECTORY.fullmatch(directory) is None
        )

    def _is_application(self, path: str) -> bool:
        """Whether a file is the application's, and not installed by a distribution or from CPAN."""
        directories = [directory for directory in self._inc if paths.below(path, directory)]
        if any(
            _CORE_DIRECTORY.fullmatch(directory) or _INSTALLED_DIRECTORY.fullmatch(directory)
            for directory in directories
        ):
            return False
        return not path.startswith(("/usr/bin/", "/usr/sbin/", "/usr/share/", "/usr/lib/", "/bin/", "/sbin/"))


def _module_directories(loaded: set[str], known: list[str]) -> Iterator[str]:
    """The directories of loaded modules that the known part of @INC does not hold: the nearest one above that
    is called lib, or else the one that holds the module."""
    found = set()
    for path in loaded:
        if path.endswith(".pm") and not any(paths.below(path, directory) for directory in known):
            parents = list(paths.parents(path))
            found.add(next((place for place in parents if paths.name(place) == "lib"), parents[0]))
    yield from sorted(found)


def _inc_rank(directory: str) -> tuple[int, str]:
    return next((rank for rank, part in enumerate(_INC_ORDER) if part in directory), len(_INC_ORDER)), directory


def _claim(file: str, path: str, mention: Mention) -> Claim:
    depth = Depth.LIBRARY if file.endswith(".so") else Depth.ALONE
    return Claim(file, Why.IMPORTED, path, f"{path}:{mention.line}", depth)


def _doubt(code: str, path: str, mention: Mention, text: str) -> Doubt:
    where = f"{paths.printable(path)}:{mention.line}"
    return Doubt(code, f"{where} {paths.printable(text[:300])}", path)
