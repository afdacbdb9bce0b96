"""Perl: the modules that code in use requires later or rarely, with their shared objects.

Sources: perlfunc(1) require (how @INC is searched), perlrun(1) (PERL5LIB), XSLoader(3) and DynaLoader(3)
(``auto/A/B/B.so``), AutoLoader(3) (``auto/A/B/*.al``), Encode::Config (which module has which encoding). @INC
is told from where the interpreter looked for the modules that every program has; Debian's order is that of its
perl's ``perl -V``.

Of the application and of installed modules everything is followed, of perl's own library what compiling a
module takes.
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

_PERL = re.compile(r"c?perl[\d.]*")
_SOURCES = (".pm", ".pl", ".ph", ".t", ".cgi", ".al")
# Modules at the top of @INC that nearly every program loads: where they were looked for, @INC is.
_COMMON = frozenset(
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
_STANDARD = re.compile(r".*/(?:perl-base|perl/5[.\d]*|perl5/5[.\d]*(?:/[^/]*-[^/]*)?|perl5/core_perl)")
_INSTALLED = re.compile(
    r".*/(?:perl5|perl5/5[.\d]*|(?:site|vendor)_perl(?:/.*)?|local/(?:lib|share)/.*perl/5[.\d]*)"
)
MAX_ROOTS = 200  # of @INC
_SHORT = re.compile(r"5\.\d+")  # the other spelling, 5.36.0, is what the link points to
_ORDER = ("/etc/perl", "/usr/local/lib", "/usr/local/share", "/perl5", "/perl-base", "/usr/lib", "/usr/share")
# Encode::Config, %ExtModule: what an encoding's name begins with, and the module that has it.
_ENCODINGS = (
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
_NAMED_CHARACTERS = ("_charnames.pm", "unicore/Name.pm", "unicore/Name.pl")
# Before 5.32 each property of characters was a file, found through one of these; now perl knows them itself.
_PROPERTIES = ("utf8_heavy.pl", "unicore/Heavy.pl")
# What functions of perl's own modules require in ordinary use.
_BEHIND = {
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
    """Reads every Perl source of the capture that is in use."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._base = capture.image.text("WorkingDir") or "/"
        self._scripts: set[str] = set()
        self._loaded: set[str] = set()
        self._started(capture)
        roots = self._roots(capture)
        self.used = bool(roots or self._scripts)
        own = capture.image.environment.get("PERL5LIB", "").split(":")
        self._search = [paths.join(self._base, place) for place in own if place]
        self._search += sorted(roots, key=_rank)
        self._search += [root for root in _tops(self._loaded, self._search) if root not in self._search]

    def _started(self, capture: Capture) -> None:
        for run in capture.trace.execs:
            base = run.base or self._base
            if _PERL.fullmatch(paths.name(run.asked)):
                operand = next((word for word in run.argv[1:] if not word.startswith("-")), "")
                if operand and not any(word[:2] in ("-e", "-E") for word in run.argv[1:]):
                    self._scripts.add(self._tree.resolve(paths.join(base, operand)).path)
            elif _PERL.fullmatch(paths.name(run.binary)):
                self._scripts.add(self._tree.resolve(paths.join(base, run.asked)).path)

    def _roots(self, capture: Capture) -> set[str]:
        """The directories of @INC. A module that is looked for in a known one tells, by its other places,
        the rest."""
        asked = set()
        for use in capture.trace.uses:
            path = paths.join(use.base, use.asked) if use.asked else use.resolved
            if path.endswith((".pm", ".pmc")):
                asked.add(path.removesuffix("c"))
            if use.use is Use.READ and not use.error and path.endswith(_SOURCES):
                self._loaded.add(use.resolved or path)
        places: dict[str, set[str]] = {}  # by the name of a module at the top of @INC
        for path in asked:
            places.setdefault(paths.name(path), set()).add(paths.parent(path))
        roots = set().union(*(places.get(name, ()) for name in _COMMON))
        todo = set(roots)
        while todo:
            told = {name for name, where in places.items() if where & todo}
            todo = set().union(*(places[name] for name in told)) - roots
            roots |= todo
        if roots & {"/etc/perl", "/usr/share/perl5"}:
            roots |= {path for path in self._debian() if path in self._tree}
        return {root for root in roots if self._tree.resolve(root).entry}

    def _debian(self) -> Iterator[str]:
        """Debian's part of @INC that modules of perl-base are found before."""
        architectures = [
            path for path in self._tree.children("/usr/lib") if path.endswith(("-gnu", "-gnueabihf"))
        ]
        for place in (*(f"{path}/perl" for path in architectures), "/usr/share/perl"):
            yield from (path for path in self._tree.children(place) if _SHORT.fullmatch(paths.name(path)))

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the Perl source at `path` names."""
        if not self.used or not self._is_source(path):
            return
        standard = self._is_standard(path)
        if standard and path in self._loaded:
            return  # what compiling it takes was seen
        mentions = self._contents.mentions(path, Language.PERL)
        for mention in mentions:
            if mention.kind == "lib":
                self._add_root(path, mention.name)
        doubted = set()
        for mention in mentions:
            if standard and mention.lazy:
                continue
            for item in self._of(path, mention):
                if isinstance(item, Doubt):
                    if item.code in doubted or not self._is_own(path):
                        continue
                    doubted.add(item.code)
                yield item

    def _is_source(self, path: str) -> bool:
        if path.endswith(_SOURCES) or path in self._scripts:
            return True
        return _PERL.fullmatch(shebangs.language(self._contents.head(path) or b"")) is not None

    def _add_root(self, path: str, place: str) -> None:
        place = paths.join(paths.parent(path), place[1:].lstrip("/")) if place[:1] == "@" else place
        root = self._tree.resolve(paths.join(self._base, place)).path
        if root not in self._search and root in self._tree and len(self._search) < MAX_ROOTS:
            self._search.insert(0, root)

    def _of(self, path: str, mention: Mention) -> Iterator[Claim | Doubt]:
        kind, name = mention.kind, mention.name
        if kind in ("import", "attempt", "implied"):
            if mention.computed:
                yield _doubt("perl-import", path, mention, f"requires what only a run would tell: {name}")
                return
            found = self._module(name)
            yield from (_claim(file, path, mention) for file in found)
            if not found and kind == "import" and not mention.lazy:
                yield _doubt("perl-missing", path, mention, f"uses {name}, which is not there")
        elif kind == "file":
            wanted = [paths.join(place, name) for place in (self._base, paths.parent(path), *self._search)]
            file = next((one for one in wanted if self._is_file(one)), "")
            if file:
                yield _claim(file, path, mention)
        elif kind == "codec":
            module = next((one for begin, one in _ENCODINGS if re.match(begin, name, re.IGNORECASE)), "")
            yield from (_claim(file, path, mention) for file in (self._module(module) if module else ()))
        elif kind == "unicode":
            for one in _NAMED_CHARACTERS if name == "N" else _PROPERTIES:
                if file := self._find(one):
                    yield _claim(file, path, mention)
                    if one in _PROPERTIES:
                        yield from (_claim(file, path, mention) for file in self._properties())

    def _module(self, name: str) -> tuple[str, ...]:
        """The file of a module, and what lies in ``auto`` for it."""
        found: list[str] = []
        for module in (name, *_BEHIND.get(name, ())):
            path = module.replace("::", "/")
            if file := self._find(f"{path}.pm"):
                found.append(file)
                found += self._shared(file.removesuffix(f"/{path}.pm"), path)
        return tuple(found) if self._find(f"{name.replace('::', '/')}.pm") else ()

    def _shared(self, own: str, path: str) -> tuple[str, ...]:
        """What the loaders find for a module in the `auto` of the directory that it is in, else in another."""
        ends = (f"/{paths.name(path)}.so", ".al", "/autosplit.ix")
        for root in (own, *self._search):
            place = self._tree.resolve(f"{root}/auto/{path}").path
            if files := [one for one in self._tree.children(place) if one.endswith(ends)]:
                return tuple(files)
        return ()

    def _find(self, path: str) -> str:
        return next((f"{root}/{path}" for root in self._search if self._is_file(f"{root}/{path}")), "")

    def _properties(self) -> Iterator[str]:
        for root in self._search:
            for place in self._tree.children(self._tree.resolve(f"{root}/unicore/lib").path):
                yield from (one for one in self._tree.children(place) if one.endswith(".pl"))

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    def _is_standard(self, path: str) -> bool:
        roots = [root for root in self._search if paths.below(path, root)]
        root = max(roots, key=len, default="")
        return bool(root) and _STANDARD.fullmatch(root) is not None and _INSTALLED.fullmatch(root) is None

    def _is_own(self, path: str) -> bool:
        """Whether a file is the application's, rather than what a distribution or CPAN installed."""
        roots = [root for root in self._search if paths.below(path, root)]
        if any(_STANDARD.fullmatch(root) or _INSTALLED.fullmatch(root) for root in roots):
            return False
        return not path.startswith(("/usr/bin/", "/usr/sbin/", "/usr/share/", "/usr/lib/", "/bin/", "/sbin/"))


def _tops(loaded: set[str], known: list[str]) -> Iterator[str]:
    """Directories of modules outside of @INC as far as it is known: what is called lib, or holds them."""
    tops = set()
    for path in loaded:
        if path.endswith(".pm") and not any(paths.below(path, root) for root in known):
            above = list(paths.parents(path))
            tops.add(next((place for place in above if paths.name(place) == "lib"), above[0]))
    yield from sorted(tops)


def _rank(root: str) -> tuple[int, str]:
    return next((at for at, begin in enumerate(_ORDER) if begin in root), len(_ORDER)), root


def _claim(file: str, path: str, mention: Mention) -> Claim:
    depth = Depth.LIBRARY if file.endswith(".so") else Depth.ALONE
    return Claim(file, Why.IMPORTED, path, f"{path}:{mention.line}", depth)


def _doubt(code: str, path: str, mention: Mention, text: str) -> Doubt:
    where = f"{paths.printable(path)}:{mention.line}"
    return Doubt(code, f"{where} {paths.printable(text[:300])}", path)
