"""Ruby: the features, gems and files that the code in use names.

What an application or a gem names is followed wherever it stands; in Ruby's own library only what loading a
file reaches. An autoload is followed when code or a template names its constant. The code of RubyGems and
Bundler is not followed: it ran, and what else it can do (install gems) is not needed.

Sources: docs.ruby-lang.org Kernel#require, #autoload; Ruby's load.c; RubyGems' core_ext/kernel_require.rb;
Ruby's enc/trans for which library converts which encoding.
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

_RUBYGEMS = re.compile(r"/(?:rubygems|bundler)(?:/|\.rb$|-\d)")
# Features that gems require for developers, behind a switch; followed only where the application names them.
_DEVELOPER_FEATURES = frozenset(
    ("objspace", "coverage", "ripper", "irb", "debug", "byebug", "pry", "rdoc", "tracer", "pp")
)
# Parsers of command lines. The command line was read when the program started: a gem that did not require these
# then will not later, unless an ENTRYPOINT lets the user give other arguments.
_COMMAND_LINE_PARSERS = frozenset(("optparse", "getoptlong"))
_LOCKED_GEM = re.compile(r"^ {4}([\w.-]+) \(", re.MULTILINE)
_SCRIPT_SUFFIXES = (".rb", ".ru", ".rake")
_TEMPLATE_SUFFIXES = (".erb", ".haml", ".slim", ".builder", ".jbuilder", ".rhtml", ".arb")
_WORD_STARTS = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The library in enc/trans that converts an encoding to and from UTF-8, by the encoding's name.
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
MAX_SUBTREE = 20_000  # files below a directory that the code names


class Ruby:
    """See `finders.Finder`."""

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
        self._tool_features = _DEVELOPER_FEATURES | (
            frozenset() if capture.image.strings("Entrypoint") else _COMMAND_LINE_PARSERS
        )
        self._named_constants: set[str] = set()  # constants that code in use names
        self._pending_autoloads: dict[str, list[Claim]] = {}  # by constant, until code in use names it
        self._load_path = LoadPath(capture, self._gems)

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran or not self._is_script(path) or _RUBYGEMS.search(path):
            return
        gem = self._gems.owner(path)
        ruby_library = gem is None and self._load_path.is_ruby_library(path)
        third_party = gem is not None or self._load_path.is_site(path)
        if gem:
            yield from self._activate(gem, path, "its gem")
        mentions = self._contents.mentions(path, Language.RUBY)
        yield from self._name_constants(mention.name for mention in mentions if mention.kind == "constant")
        lines_with_path = {mention.line for mention in mentions if mention.kind in ("among", "path")}
        doubt: Doubt | None = None
        for mention in mentions:
            if ruby_library and (mention.lazy or mention.computed):
                continue
            if mention.computed:
                if (
                    not third_party
                    and mention.line not in lines_with_path
                    and not path.endswith(_TEMPLATE_SUFFIXES)
                ):
                    doubt = doubt or _doubt(path, mention)
            else:
                yield from self._of_mention(path, mention, gem, not (ruby_library or third_party))
        if doubt:
            yield doubt

    def _is_script(self, path: str) -> bool:
        name = paths.name(path)
        if name.endswith((*_SCRIPT_SUFFIXES, *_TEMPLATE_SUFFIXES)) or name in ("Gemfile", "Rakefile"):
            return True
        line = (self._contents.head(path) or b"").partition(b"\n")[0] if "." not in name else b""
        return line.startswith(b"#!") and b"ruby" in line

    def _of_mention(self, path: str, mention: Mention, gem: Gem | None, application: bool) -> Iterator[Claim]:
        here, of = paths.parent(path), f"{path}:{mention.line}"
        match mention.kind:
            case "require" if application or not self._is_tool(mention):
                yield from self._feature(mention.name, path, of)
            case "autoload":
                yield from self._autoload(mention.name, path, of)
            case "require_relative":
                yield from self._feature_file(paths.join(here, mention.name), path, of)
            case "load":
                for base in (*self._load_path, self._cwd):
                    if self._is_kind(paths.join(base, mention.name), Kind.FILE):
                        yield Claim(paths.join(base, mention.name), Why.IMPORTED, path, of)
                        break
            case "among":
                yield from self._features_in_directory(mention.name, path, of)
            case "gem":
                wanted = self._gems.newest(mention.name)
                yield from self._activate(wanted, path, of) if wanted else ()
            case "bundler" if application:
                yield from self._bundler_require(path, of)
            case "load_path":
                self._load_path.add(self._tree.resolve(paths.join(here, mention.name)).path)
            case "zeitwerk":
                yield from self._subtree(path.removesuffix(".rb"), path, of)
            case "path":
                yield from self._data_files(paths.join(here, mention.name), path, of)
            case "cwd" if application:
                yield from self._data_files(paths.join(self._cwd, mention.name), path, of)
            case "view" if application:
                yield from self._feature(f"tilt/{mention.name}", path, of)
                for base in dict.fromkeys((here, self._cwd)):
                    yield from self._data_files(f"{base}/views", path, of)
            case "encoding":
                yield from self._encoding(mention.name, path, of)

    def _feature(self, name: str, path: str, of: str) -> Iterator[Claim]:
        """What `require name` loads: from the load path, or from a gem that has the feature and is activated
        for it. If Ruby's own library has the feature, a gem with the same one, maybe newer, is kept too."""
        if name.startswith(("/", "./", "../", "~")):
            yield from self._feature_file(paths.join(self._cwd, name), path, of)
            return
        for directory in self._load_path:
            found = tuple(self._feature_file(f"{directory}/{name}", path, of))
            yield from found
            if found and not self._load_path.is_ruby_library(directory):
                return
            if found:
                break
        for gem in self._gems:
            if not gem.default and any(tuple(self._feature_file(f"{lib}/{name}", path, of)) for lib in gem.lib):
                yield from self._activate(gem, path, of)
                for lib in gem.lib:
                    yield from self._feature_file(f"{lib}/{name}", path, of)
                return

    def _autoload(self, name: str, path: str, of: str) -> Iterator[Claim]:
        constant, _, feature = name.partition(" ")
        if feature.startswith("./"):
            claims = self._feature_file(paths.join(paths.parent(path), feature), path, of)
        elif feature:
            claims = self._feature(feature, path, of)
        else:
            last = constant.rpartition("::")[2]
            claims = self._feature_file(f"{path.removesuffix('.rb')}/{underscored(last)}", path, of)
        followed = [claim for claim in claims if not self._needs_tools(claim.path)]
        if constant in self._named_constants:
            yield from followed
        else:
            self._pending_autoloads.setdefault(constant, []).extend(followed)

    def _is_tool(self, mention: Mention) -> bool:
        return mention.name.partition("/")[0] in self._tool_features

    def _needs_tools(self, path: str) -> bool:
        """Whether loading the file at `path` requires a tool feature: then it is for developers too."""
        mentions = self._contents.mentions(self._tree.resolve(path).path, Language.RUBY)
        return any(
            mention.kind == "require" and not mention.lazy and self._is_tool(mention) for mention in mentions
        )

    def _name_constants(self, mentioned: Iterable[str]) -> Iterator[Claim]:
        """The autoloads of constants that are named now for the first time. A name may mean the constant in any
        of the classes and modules around it: all of them count as named."""
        newly_named: set[str] = set()
        for name in mentioned:
            scope, _, constant = name.partition(" ")
            scopes = scope.split("::") if scope else []
            parts = constant.split("::")
            for depth in range(len(scopes) + 1):
                for size in range(1, len(parts) + 1):
                    newly_named.add("::".join((*scopes[:depth], *parts[:size])))
        self._named_constants |= newly_named
        for constant in sorted(newly_named & self._pending_autoloads.keys()):
            yield from self._pending_autoloads.pop(constant)

    def _feature_file(self, feature_path: str, path: str, of: str) -> Iterator[Claim]:
        """The file of a feature at an absolute path: with the ending that it has, or with .rb, or with .so."""
        endings = ("",) if feature_path.endswith((".rb", ".so")) else (".rb", ".so")
        for ending in endings:
            if self._is_kind(feature_path + ending, Kind.FILE):
                depth = Depth.LIBRARY if (feature_path + ending).endswith(".so") else Depth.ALONE
                yield Claim(feature_path + ending, Why.IMPORTED, path, of, depth)
                return

    def _activate(self, gem: Gem, path: str, of: str) -> Iterator[Claim]:
        """What RubyGems reads to activate a gem: the specifications of the gem and its dependencies."""
        for needed in self._gems.with_dependencies(gem):
            yield Claim(needed.specification, Why.IMPORTED, path, of)
            for lib in needed.lib:
                self._load_path.add(lib)
            if self._is_kind(f"{needed.extension_directory}/gem.build_complete", Kind.FILE):
                yield Claim(f"{needed.extension_directory}/gem.build_complete", Why.IMPORTED, path, of)

    def _bundler_require(self, path: str, of: str) -> Iterator[Claim]:
        """Bundler.require: for each gem in Gemfile.lock the feature of the gem's name."""
        for base in dict.fromkeys((self._cwd, paths.parent(path), *paths.parents(paths.parent(path)))):
            lock = self._tree.resolve(paths.join(base, "Gemfile.lock"))
            if lock.entry and lock.entry.kind is Kind.FILE:
                for name in dict.fromkeys(_LOCKED_GEM.findall(self._contents.text(lock.path) or "")):
                    if gem := self._gems.newest(name):
                        yield from self._activate(gem, path, of)
                        yield from self._feature(name, path, of)
                        yield from self._feature(name.replace("-", "/"), path, of)
                return

    def _features_in_directory(self, name: str, path: str, of: str) -> Iterator[Claim]:
        relative = name.startswith(("./", "../"))
        for parent in (paths.parent(path),) if relative else self._load_path:
            directory = self._tree.resolve(paths.join(parent, name)).path
            for child in self._tree.children(directory):
                if child.endswith((".rb", ".so")):
                    yield from self._feature_file(child, path, of)

    def _data_files(self, named: str, path: str, of: str) -> Iterator[Claim]:
        """The file at a path that the code names, or the directory with all below it; nothing of a directory
        that holds the code itself."""
        found = self._tree.resolve(named)
        if found.entry and found.entry.kind is Kind.FILE:
            yield Claim(named, Why.IMPORTED, path, of)
        elif found.entry and found.entry.kind is Kind.DIR and not paths.below(path, found.path):
            yield Claim(named, Why.IMPORTED, path, of)
            yield from self._subtree(found.path, path, of)

    def _subtree(self, directory: str, path: str, of: str) -> Iterator[Claim]:
        todo = [self._tree.resolve(directory).path]
        count = 0
        while todo and count < MAX_SUBTREE:
            for child in self._tree.children(todo.pop()):
                count += 1
                if paths.name(child) not in (".git", "node_modules"):
                    yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
                    if self._tree[child].kind is Kind.DIR:
                        todo.append(child)

    def _encoding(self, name: str, path: str, of: str) -> Iterator[Claim]:
        """The library of an encoding (enc), and the one that converts it (enc/trans)."""
        for spelling in re.split(r"[:|,]", name.lower()):
            encoding = spelling.strip().replace("-", "_")
            encoding = _ALIASES.get(encoding, re.sub(r"^cp(125\d)$", r"windows_\1", encoding))
            if not re.fullmatch(r"\w+", encoding):
                continue
            yield from self._feature(f"enc/{encoding}.so", path, of)
            for pattern, converter in _CONVERTERS:
                if pattern.match(encoding):
                    yield from self._feature(f"enc/trans/{converter}.so", path, of)
                    break

    def _is_kind(self, path: str, kind: Kind) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is kind


def underscored(name: str) -> str:
    """The file name for a constant's name (ActiveSupport's String#underscore)."""
    return _WORD_STARTS.sub("_", name).replace("::", "/").lower()


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{path}:{mention.line} requires a feature that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Ruby"]
