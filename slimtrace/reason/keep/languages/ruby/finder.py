"""Ruby: the features, gems and files that the code in use names.

What an application or a gem names is followed wherever it stands; of Ruby's own library what loading a file
reaches. An autoload is followed when its constant is named in other code or a template. Of RubyGems and Bundler
nothing is followed: they ran, and what they could install is no need.

Sources: docs.ruby-lang.org Kernel#require, #autoload; Ruby's load.c; RubyGems' core_ext/kernel_require.rb;
Ruby's enc/trans for which library converts what.
"""

import re
from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Use
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.languages.ruby.gems import Gem, Gems
from slimtrace.reason.keep.languages.ruby.load_path import LoadPath

_TOOLS = re.compile(r"/(?:rubygems|bundler)(?:/|\.rb$|-\d)")
# What gems offer to developers behind a switch; followed only where the application itself names it.
_DEVELOPING = frozenset(
    ("objspace", "coverage", "ripper", "irb", "debug", "byebug", "pry", "rdoc", "tracer", "pp")
)
# What reads a command line. That was read when the program started: a gem that did not ask for these then will
# not, unless an ENTRYPOINT lets the user give another.
_COMMAND_LINE = frozenset(("optparse", "getoptlong"))
_LOCKED = re.compile(r"^ {4}([\w.-]+) \(", re.MULTILINE)
_SCRIPTS = (".rb", ".ru", ".rake")
_TEMPLATES = (".erb", ".haml", ".slim", ".builder", ".jbuilder", ".rhtml", ".arb")
_WORD_STARTS = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Which of enc/trans converts an encoding to and from UTF-8, by the encoding's name.
_CONVERTERS = (
    (re.compile(r"iso_8859|windows_1[0-9]|ibm|cp[478]|koi8|mac|tis_620|windows_874"), "single_byte"),
    (re.compile(r"utf_(?:16|32)"), "utf_16_32"),
    (re.compile(r"shift_jis|sjis|windows_31j|cp932"), "japanese_sjis"),
    (re.compile(r"euc_?jp|cp51932"), "japanese_euc"),
    (re.compile(r"iso_2022"), "iso2022"),
    (re.compile(r"euc_kr|cp949"), "korean"),
    (re.compile(r"gb2312|euc_cn|gb12345"), "chinese"),
    (re.compile(r"gbk|cp936"), "gbk"),
    (re.compile(r"gb18030"), "gb18030"),
    (re.compile(r"big5|cp95[01]"), "big5"),
)
_ALIASES = {"sjis": "windows_31j", "cp932": "windows_31j", "eucjp": "euc_jp", "euckr": "euc_kr", "cp936": "gbk"}
_ALIASES |= {"ansi_x3.4": "", "latin1": "iso_8859_1", "iso8859_1": "iso_8859_1"}
MAX_BELOW = 20_000  # files of a directory that is named as a whole


class Ruby:
    """See `discovery.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree, self._contents = capture.tree, capture.contents
        self._cwd = capture.image.text("WorkingDir") or "/"
        self._ran = any(paths.name(run.binary).startswith("ruby") for run in capture.trace.execs) or any(
            use.use in (Use.MAP, Use.READ) and paths.name(use.resolved).startswith("libruby")
            for use in capture.trace.uses
        )
        if not self._ran:
            return
        self._gems = Gems(capture.tree, capture.contents)
        self._tools = _DEVELOPING | (frozenset() if capture.image.strings("Entrypoint") else _COMMAND_LINE)
        self._named: set[str] = set()  # constants that some code names
        self._waiting: dict[str, list[Claim]] = {}  # what is loaded when one comes to be named
        self._load_path = LoadPath(capture, self._gems)

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran or not self._is_script(path) or _TOOLS.search(path):
            return
        gem = self._gems.of(path)
        own = gem is None and self._load_path.is_own(path)
        third = gem is not None or self._load_path.is_site(path)
        if gem:
            yield from self._activate(gem, path, "its gem")
        mentions = self._contents.mentions(path, Language.RUBY)
        yield from self._name(mention.name for mention in mentions if mention.kind == "constant")
        evident = {mention.line for mention in mentions if mention.kind in ("among", "path")}
        doubt: Doubt | None = None
        for mention in mentions:
            if own and (mention.lazy or mention.computed):
                continue
            if mention.computed:
                if not third and mention.line not in evident and not path.endswith(_TEMPLATES):
                    doubt = doubt or _doubt(path, mention)
            else:
                yield from self._of(path, mention, gem, not (own or third))
        if doubt:
            yield doubt

    def _is_script(self, path: str) -> bool:
        name = paths.name(path)
        if name.endswith((*_SCRIPTS, *_TEMPLATES)) or name in ("Gemfile", "Rakefile"):
            return True
        line = (self._contents.head(path) or b"").partition(b"\n")[0] if "." not in name else b""
        return line.startswith(b"#!") and b"ruby" in line

    def _of(self, path: str, mention: Mention, gem: Gem | None, application: bool) -> Iterator[Claim]:
        here, of = paths.parent(path), f"{path}:{mention.line}"
        match mention.kind:
            case "require" if application or not self._is_tool(mention):
                yield from self._feature(mention.name, path, of)
            case "autoload":
                yield from self._autoload(mention.name, path, of)
            case "require_relative":
                yield from self._file(paths.join(here, mention.name), path, of)
            case "load":
                for base in (*self._load_path, self._cwd):
                    if self._is(paths.join(base, mention.name), Kind.FILE):
                        yield Claim(paths.join(base, mention.name), Why.IMPORTED, path, of)
                        break
            case "among":
                yield from self._among(mention.name, path, of)
            case "gem":
                wanted = self._gems.named(mention.name)
                yield from self._activate(wanted, path, of) if wanted else ()
            case "bundler" if application:
                yield from self._bundled(path, of)
            case "load_path":
                self._load_path.add(self._tree.resolve(paths.join(here, mention.name)).path)
            case "zeitwerk":
                yield from self._below(path.removesuffix(".rb"), path, of)
            case "path":
                yield from self._data(paths.join(here, mention.name), path, of)
            case "cwd" if application:
                yield from self._data(paths.join(self._cwd, mention.name), path, of)
            case "view" if application:
                yield from self._feature(f"tilt/{mention.name}", path, of)
                for base in dict.fromkeys((here, self._cwd)):
                    yield from self._data(f"{base}/views", path, of)
            case "encoding":
                yield from self._encoding(mention.name, path, of)

    def _feature(self, name: str, path: str, of: str) -> Iterator[Claim]:
        """What `require name` loads: from the load path, or from a gem that has it and is activated for it. A
        gem that is newer than what comes with Ruby under the same name is kept beside that."""
        if name.startswith(("/", "./", "../", "~")):
            yield from self._file(paths.join(self._cwd, name), path, of)
            return
        for place in self._load_path:
            found = tuple(self._file(f"{place}/{name}", path, of))
            yield from found
            if found and not self._load_path.is_own(place):
                return
            if found:
                break
        for gem in self._gems:
            if not gem.default and any(tuple(self._file(f"{lib}/{name}", path, of)) for lib in gem.lib):
                yield from self._activate(gem, path, of)
                for lib in gem.lib:
                    yield from self._file(f"{lib}/{name}", path, of)
                return

    def _autoload(self, name: str, path: str, of: str) -> Iterator[Claim]:
        constant, _, feature = name.partition(" ")
        if feature.startswith("./"):
            claims = self._file(paths.join(paths.parent(path), feature), path, of)
        elif feature:
            claims = self._feature(feature, path, of)
        else:
            own = constant.rpartition("::")[2]
            claims = self._file(f"{path.removesuffix('.rb')}/{underscored(own)}", path, of)
        useful = [claim for claim in claims if not self._needs_tools(claim.path)]
        if constant in self._named:
            yield from useful
        else:
            self._waiting.setdefault(constant, []).extend(useful)

    def _is_tool(self, mention: Mention) -> bool:
        return mention.name.partition("/")[0] in self._tools

    def _needs_tools(self, path: str) -> bool:
        """Whether loading the file at `path` loads what a gem is not followed to: it is a tool itself."""
        mentions = self._contents.mentions(self._tree.resolve(path).path, Language.RUBY)
        return any(
            mention.kind == "require" and not mention.lazy and self._is_tool(mention) for mention in mentions
        )

    def _name(self, mentioned: Iterable[str]) -> Iterator[Claim]:
        """What was waiting for constants that are named now. What a name means where it stands is not known: it
        may be looked up in any of the classes and modules around it."""
        new: set[str] = set()
        for name in mentioned:
            scope, _, constant = name.partition(" ")
            around = scope.split("::") if scope else []
            inner = constant.split("::")
            for depth in range(len(around) + 1):
                for size in range(1, len(inner) + 1):
                    new.add("::".join((*around[:depth], *inner[:size])))
        self._named |= new
        for constant in sorted(new & self._waiting.keys()):
            yield from self._waiting.pop(constant)

    def _file(self, asked: str, path: str, of: str) -> Iterator[Claim]:
        """A feature at a place: with its own ending, as Ruby, or as a compiled extension."""
        endings = ("",) if asked.endswith((".rb", ".so")) else (".rb", ".so")
        for ending in endings:
            if self._is(asked + ending, Kind.FILE):
                depth = Depth.LIBRARY if (asked + ending).endswith(".so") else Depth.ALONE
                yield Claim(asked + ending, Why.IMPORTED, path, of, depth)
                return

    def _activate(self, gem: Gem, path: str, of: str) -> Iterator[Claim]:
        """What RubyGems reads to put a gem on the load path: its specification, and of those it depends on."""
        for needed in self._gems.needs(gem):
            yield Claim(needed.specification, Why.IMPORTED, path, of)
            for lib in needed.lib:
                self._load_path.add(lib)
            if self._is(f"{needed.extension}/gem.build_complete", Kind.FILE):
                yield Claim(f"{needed.extension}/gem.build_complete", Why.IMPORTED, path, of)

    def _bundled(self, path: str, of: str) -> Iterator[Claim]:
        """Bundler.require: each gem that the Gemfile.lock lists, by the feature that is named as it is."""
        for base in dict.fromkeys((self._cwd, paths.parent(path), *paths.parents(paths.parent(path)))):
            lock = self._tree.resolve(paths.join(base, "Gemfile.lock"))
            if lock.entry and lock.entry.kind is Kind.FILE:
                for name in dict.fromkeys(_LOCKED.findall(self._contents.text(lock.path) or "")):
                    if gem := self._gems.named(name):
                        yield from self._activate(gem, path, of)
                        yield from self._feature(name, path, of)
                        yield from self._feature(name.replace("-", "/"), path, of)
                return

    def _among(self, name: str, path: str, of: str) -> Iterator[Claim]:
        relative = name.startswith(("./", "../"))
        for place in (paths.parent(path),) if relative else self._load_path:
            directory = self._tree.resolve(paths.join(place, name)).path
            for child in self._tree.children(directory):
                if child.endswith((".rb", ".so")):
                    yield from self._file(child, path, of)

    def _data(self, asked: str, path: str, of: str) -> Iterator[Claim]:
        """A file, or a directory with all that lies below it; not one that holds the code itself."""
        found = self._tree.resolve(asked)
        if found.entry and found.entry.kind is Kind.FILE:
            yield Claim(asked, Why.IMPORTED, path, of)
        elif found.entry and found.entry.kind is Kind.DIR and not paths.below(path, found.path):
            yield Claim(asked, Why.IMPORTED, path, of)
            yield from self._below(found.path, path, of)

    def _below(self, directory: str, path: str, of: str) -> Iterator[Claim]:
        todo = [self._tree.resolve(directory).path]
        count = 0
        while todo and count < MAX_BELOW:
            for child in self._tree.children(todo.pop()):
                count += 1
                if paths.name(child) not in (".git", "node_modules"):
                    yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
                    if self._tree[child].kind is Kind.DIR:
                        todo.append(child)

    def _encoding(self, name: str, path: str, of: str) -> Iterator[Claim]:
        """The table of an encoding, and the library that converts it."""
        for spelled in re.split(r"[:|,]", name.lower()):
            plain = spelled.strip().replace("-", "_")
            plain = _ALIASES.get(plain, re.sub(r"^cp(125\d)$", r"windows_\1", plain))
            if not re.fullmatch(r"\w+", plain):
                continue
            yield from self._feature(f"enc/{plain}.so", path, of)
            for pattern, converter in _CONVERTERS:
                if pattern.match(plain):
                    yield from self._feature(f"enc/trans/{converter}.so", path, of)
                    break

    def _is(self, path: str, kind: Kind) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is kind


def underscored(name: str) -> str:
    """A constant's name as a file's (ActiveSupport's String#underscore)."""
    return _WORD_STARTS.sub("_", name).replace("::", "/").lower()


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{path}:{mention.line} requires a feature that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Ruby"]
