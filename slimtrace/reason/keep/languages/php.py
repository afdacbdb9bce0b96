"""PHP: the extensions that its configuration names, and the files and classes that the code in use names.

A page is named by a URL alone, so what lies in the web server's document root is the application's, each file a
beginning. Where none is configured, it is the directory of the scripts that ran. Packages in a vendor directory
are followed class by class, by Composer's maps.

Sources: php.net/manual configuration.file, extensions, function.include; httpd.apache.org DocumentRoot, Alias;
nginx.org ngx_http_core_module root.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Use
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.languages.composer import Composer

INCLUDE_PATH = (".", "/usr/share/php", "/usr/local/lib/php")  # Debian's, and PHP's own default
_EXTENSION = re.compile(r"^[ \t]*(?:zend_)?extension[ \t]*=[ \t]*[\"']?([^\s\"';]+)", re.MULTILINE)
_SETTING = re.compile(r"^[ \t]*([a-z_.]+)[ \t]*=[ \t]*[\"']?([^\n\"';]+)", re.MULTILINE)
_FILES = frozenset(("auto_prepend_file", "auto_append_file", "opcache.preload", "browscap", "curl.cainfo"))
_FILES |= {"openssl.cafile", "geoip.custom_directory"}
_ROOT = re.compile(r"^[ \t]*(?:DocumentRoot|root)[ \t]+[\"']?(/[^\s\"';]+)", re.MULTILINE)
_ALIAS = re.compile(r"^[ \t]*Alias[ \t]+\S+[ \t]+[\"']?(/[^\s\"';]+)", re.MULTILINE)
_LIBRARY = re.compile(r"(?:libphp|mod_php)[\w.-]*\.so")
_EXTENSIONS = re.compile(r".*/(?:20\d{6}|no-debug-(?:non-)?zts-20\d{6})(?=/[^/]+\.so$)")
_GENERATED = re.compile(r"/composer/(?:autoload_(?:static|psr4|classmap|namespaces|files)|installed)\.php$")
_SCRIPTS = (".php", ".inc", ".phtml", ".php5", ".phar")
_NOT_BELOW = frozenset(("vendor", "node_modules", ".git"))
MAX_BELOW = 50_000  # files of a directory that is named as a whole


class Php:
    """See `discovery.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree, self._contents = capture.tree, capture.contents
        self._cwd = capture.image.text("WorkingDir") or "/"
        uses = [use for use in capture.trace.uses if use.resolved and not use.error]
        self._ran = any(paths.name(run.binary).startswith("php") for run in capture.trace.execs) or any(
            use.use is Use.MAP and _LIBRARY.fullmatch(paths.name(use.resolved)) for use in uses
        )
        if not self._ran:
            return
        loaded = sorted({use.resolved for use in uses if use.use in (Use.MAP, Use.READ)})
        self._extensions = list(
            dict.fromkeys(found[0] for path in loaded if (found := _EXTENSIONS.match(path)))
        ) or [entry.path for entry in capture.tree if _EXTENSIONS.match(f"{entry.path}/x.so")]
        web = any(
            "fpm" in paths.name(run.binary) or "cgi" in paths.name(run.binary) or "-S" in run.argv
            for run in capture.trace.execs
        )
        web = web or any(_LIBRARY.fullmatch(paths.name(path)) for path in loaded)
        self._roots = self._document_roots(loaded) if web else ()
        self._include_path = list(INCLUDE_PATH)
        self._composers: dict[str, Composer] = {}
        self._classes: dict[str, tuple[str, str]] = {}  # named before any map was known: by whom, and where
        self._rooted = False

    def _document_roots(self, loaded: list[str]) -> tuple[str, ...]:
        """The directories that a web server's configuration serves, or those of the scripts that ran."""
        found: list[str] = []
        for path in loaded:
            if path.startswith(("/etc/", "/usr/local/", "/opt/")) and not path.endswith((".so", *_SCRIPTS)):
                if "/ssl/" in path or paths.name(path).startswith("lib") or self._contents.elf(path):
                    continue
                text = self._contents.text(path) or ""
                found += _ROOT.findall(text) + _ALIAS.findall(text)
        scripts = [path for path in loaded if path.endswith(".php") and "/vendor/" not in path]
        resolved = (self._tree.resolve(path) for path in found)
        roots = {place.path for place in resolved if place.entry and place.entry.kind is Kind.DIR}
        roots = {root for root in roots if any(paths.below(script, root) for script in scripts)}
        if not roots and scripts:
            roots = {min(map(paths.parent, scripts), key=lambda place: (place.count("/"), place))}
        return tuple(sorted(root for root in roots if root.count("/") > 1 or root not in ("/", "/usr", "/etc")))

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran:
            return
        if path.endswith(".ini"):
            yield from self._configured(path)
        elif path.endswith(_SCRIPTS) or self._is_script(path):
            yield from self._of_script(path)

    def _is_script(self, path: str) -> bool:
        line = (self._contents.head(path) or b"").partition(b"\n")[0] if "." not in paths.name(path) else b""
        return line.startswith(b"#!") and b"php" in line

    def _configured(self, path: str) -> Iterator[Claim]:
        text = self._contents.text(path) or ""
        if "/php" not in path and not _EXTENSION.search(text):
            return
        for name in _EXTENSION.findall(text):
            file = name if name.endswith(".so") else f"{name}.so"
            for place in self._extensions:
                if self._is(paths.join(place, file), Kind.FILE):
                    yield Claim(paths.join(place, file), Why.ON_DEMAND, path, path, Depth.LIBRARY)
                    break
        for key, value in _SETTING.findall(text):
            if key in _FILES and value.startswith("/") and self._is(value.strip(), Kind.FILE):
                yield Claim(value.strip(), Why.IMPORTED, path, key)
            elif key == "include_path":
                self._include_path += [place for place in value.split(":") if place.startswith("/")]

    def _of_script(self, path: str) -> Iterator[Claim | Doubt]:
        if not self._rooted:
            self._rooted = True
            for root in self._roots:
                yield from self._below(root, path, "the document root")
        if path.endswith(("/composer/autoload_real.php", "/vendor/autoload.php")):
            yield from self._composed(path)
        if _GENERATED.search(path):
            return  # lists every package; its maps are asked class by class
        mentions = self._contents.mentions(path, Language.PHP)
        evident = {mention.line for mention in mentions if mention.kind in ("path", "among")}
        own = "/vendor/" not in path and not any(paths.below(path, root) for root in self._roots)
        doubt: Doubt | None = None
        for mention in mentions:
            if not mention.computed:
                yield from self._of(path, mention)
            elif own and mention.line not in evident:
                doubt = doubt or _doubt(path, mention)
        if doubt:
            yield doubt

    def _of(self, path: str, mention: Mention) -> Iterator[Claim]:
        here, of = paths.parent(path), f"{path}:{mention.line}"
        match mention.kind:
            case "include":
                for place in self._places(here):
                    asked = paths.join(place, mention.name)
                    if self._is(asked, Kind.FILE):
                        yield Claim(asked, Why.IMPORTED, path, of)
                        break
            case "path":
                yield from self._data(paths.join(here, mention.name), path, of)
            case "among" | "file":
                for place in self._places(here):
                    asked = paths.join(place, mention.name)
                    if self._tree.resolve(asked).entry:
                        yield from self._data(asked, path, of)
                        break
            case "include_path":
                self._include_path.append(paths.join(here, mention.name))
            case "class":
                self._classes.setdefault(mention.name, (path, of))
                yield from self._class(mention.name, path, of)

    def _places(self, here: str) -> Iterator[str]:
        """Where an include is looked for: in the include path, beside the script; "." is the directory of the
        page that was asked for, or where PHP was started."""
        current = (*self._roots, self._cwd)
        for place in self._include_path:
            yield from current if place == "." else (place,)
        yield here

    def _class(self, name: str, path: str, of: str) -> Iterator[Claim]:
        for composer in self._composers.values():
            for file in composer.find(name):
                yield Claim(file, Why.IMPORTED, path, of)
                return

    def _composed(self, path: str) -> Iterator[Claim]:
        """An autoloader has come to be known: so are the files of the classes that were named before."""
        here = paths.parent(path)
        directory = here if path.endswith("_real.php") else f"{here}/composer"
        if directory not in self._composers and self._is(directory, Kind.DIR):
            composer = self._composers[directory] = Composer(self._tree, self._contents, directory)
            for file in composer.files():
                yield Claim(file, Why.IMPORTED, path, "its autoloader")
            for name, (source, of) in sorted(self._classes.items()):
                yield from self._class(name, source, of)

    def _data(self, asked: str, path: str, of: str) -> Iterator[Claim]:
        """A file, or a directory with all that lies below it; not one that holds the code itself."""
        found = self._tree.resolve(asked)
        if found.entry and found.entry.kind is Kind.FILE:
            yield Claim(asked, Why.IMPORTED, path, of)
        elif found.entry and found.entry.kind is Kind.DIR and not asked.startswith(("/etc", "/proc", "/dev")):
            yield Claim(asked, Why.IMPORTED, path, of)
            if not paths.below(path, found.path) and paths.name(found.path) not in _NOT_BELOW:
                yield from self._below(found.path, path, of)

    def _below(self, directory: str, path: str, of: str) -> Iterator[Claim]:
        todo = [directory]
        count = 0
        while todo and count < MAX_BELOW:
            for child in self._tree.children(todo.pop()):
                count += 1
                if paths.name(child) not in _NOT_BELOW:
                    yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
                    if self._tree[child].kind is Kind.DIR:
                        todo.append(child)

    def _is(self, path: str, kind: Kind) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is kind


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{path}:{mention.line} includes a file that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Php"]
