"""PHP: the extensions that its configuration names, and the files and classes that the code in use names.

A URL alone names a page: every file in the web server's document root is the application's and may be
requested. Where no document root is configured, it is the directory of the scripts that ran. Packages in a
vendor directory are followed class by class, by Composer's autoload maps.

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
from slimtrace.reason.keep.languages.composer import Autoloader

INCLUDE_PATH = (".", "/usr/share/php", "/usr/local/lib/php")  # Debian's, and PHP's own default
_EXTENSION = re.compile(r"^[ \t]*(?:zend_)?extension[ \t]*=[ \t]*[\"']?([^\s\"';]+)", re.MULTILINE)
_SETTING = re.compile(r"^[ \t]*([a-z_.]+)[ \t]*=[ \t]*[\"']?([^\n\"';]+)", re.MULTILINE)
_FILE_SETTINGS = frozenset(
    ("auto_prepend_file", "auto_append_file", "opcache.preload", "browscap", "curl.cainfo")
)
_FILE_SETTINGS |= {"openssl.cafile", "geoip.custom_directory"}
_DOCUMENT_ROOT = re.compile(r"^[ \t]*(?:DocumentRoot|root)[ \t]+[\"']?(/[^\s\"';]+)", re.MULTILINE)
_ALIAS = re.compile(r"^[ \t]*Alias[ \t]+\S+[ \t]+[\"']?(/[^\s\"';]+)", re.MULTILINE)
_PHP_LIBRARY = re.compile(r"(?:libphp|mod_php)[\w.-]*\.so")
_EXTENSION_DIRECTORY = re.compile(r".*/(?:20\d{6}|no-debug-(?:non-)?zts-20\d{6})(?=/[^/]+\.so$)")
_COMPOSER_GENERATED = re.compile(
    r"/composer/(?:autoload_(?:static|psr4|classmap|namespaces|files)|installed)\.php$"
)
_SCRIPT_SUFFIXES = (".php", ".inc", ".phtml", ".php5", ".phar")
_SKIPPED_DIRECTORIES = frozenset(("vendor", "node_modules", ".git"))
MAX_SUBTREE = 50_000  # files below a directory that the code names


class Php:
    """See `finders.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree, self._contents = capture.tree, capture.contents
        self._cwd = capture.image.text("WorkingDir") or "/"
        uses = [use for use in capture.trace.uses if use.resolved and not use.error]
        self._ran = any(paths.name(run.binary).startswith("php") for run in capture.trace.execs) or any(
            use.use is Use.MAP and _PHP_LIBRARY.fullmatch(paths.name(use.resolved)) for use in uses
        )
        if not self._ran:
            return
        loaded = sorted({use.resolved for use in uses if use.use in (Use.MAP, Use.READ)})
        self._extension_directories = list(
            dict.fromkeys(found[0] for path in loaded if (found := _EXTENSION_DIRECTORY.match(path)))
        ) or [entry.path for entry in capture.tree if _EXTENSION_DIRECTORY.match(f"{entry.path}/x.so")]
        served = any(
            "fpm" in paths.name(run.binary) or "cgi" in paths.name(run.binary) or "-S" in run.argv
            for run in capture.trace.execs
        )
        served = served or any(_PHP_LIBRARY.fullmatch(paths.name(path)) for path in loaded)
        self._document_roots = self._find_document_roots(loaded) if served else ()
        self._include_path = list(INCLUDE_PATH)
        self._autoloaders: dict[str, Autoloader] = {}
        # By class: the file and the place that name it first, for autoloaders that are found later.
        self._named_classes: dict[str, tuple[str, str]] = {}
        self._roots_claimed = False

    def _find_document_roots(self, loaded: list[str]) -> tuple[str, ...]:
        """The directories that a web server's configuration serves and scripts ran from; where there are none,
        the topmost directory of the scripts that ran."""
        configured: list[str] = []
        for path in loaded:
            if path.startswith(("/etc/", "/usr/local/", "/opt/")) and not path.endswith(
                (".so", *_SCRIPT_SUFFIXES)
            ):
                if "/ssl/" in path or paths.name(path).startswith("lib") or self._contents.elf(path):
                    continue
                text = self._contents.text(path) or ""
                configured += _DOCUMENT_ROOT.findall(text) + _ALIAS.findall(text)
        scripts = [path for path in loaded if path.endswith(".php") and "/vendor/" not in path]
        resolved = (self._tree.resolve(path) for path in configured)
        roots = {
            directory.path for directory in resolved if directory.entry and directory.entry.kind is Kind.DIR
        }
        roots = {root for root in roots if any(paths.below(script, root) for script in scripts)}
        if not roots and scripts:
            roots = {min(map(paths.parent, scripts), key=lambda directory: (directory.count("/"), directory))}
        return tuple(sorted(root for root in roots if root.count("/") > 1 or root not in ("/", "/usr", "/etc")))

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran:
            return
        if path.endswith(".ini"):
            yield from self._of_ini(path)
        elif path.endswith(_SCRIPT_SUFFIXES) or self._is_script(path):
            yield from self._of_script(path)

    def _is_script(self, path: str) -> bool:
        line = (self._contents.head(path) or b"").partition(b"\n")[0] if "." not in paths.name(path) else b""
        return line.startswith(b"#!") and b"php" in line

    def _of_ini(self, path: str) -> Iterator[Claim]:
        """The extensions and files that an ini file names."""
        text = self._contents.text(path) or ""
        if "/php" not in path and not _EXTENSION.search(text):
            return
        for name in _EXTENSION.findall(text):
            file = name if name.endswith(".so") else f"{name}.so"
            for directory in self._extension_directories:
                if self._is_kind(paths.join(directory, file), Kind.FILE):
                    yield Claim(paths.join(directory, file), Why.ON_DEMAND, path, path, Depth.LIBRARY)
                    break
        for key, value in _SETTING.findall(text):
            if key in _FILE_SETTINGS and value.startswith("/") and self._is_kind(value.strip(), Kind.FILE):
                yield Claim(value.strip(), Why.IMPORTED, path, key)
            elif key == "include_path":
                self._include_path += [directory for directory in value.split(":") if directory.startswith("/")]

    def _of_script(self, path: str) -> Iterator[Claim | Doubt]:
        if not self._roots_claimed:
            self._roots_claimed = True
            for root in self._document_roots:
                yield from self._subtree(root, path, "the document root")
        if path.endswith(("/composer/autoload_real.php", "/vendor/autoload.php")):
            yield from self._of_autoloader(path)
        if _COMPOSER_GENERATED.search(path):
            return  # it lists every package; `Autoloader` looks classes up in its maps
        mentions = self._contents.mentions(path, Language.PHP)
        lines_with_path = {mention.line for mention in mentions if mention.kind in ("path", "among")}
        with_doubts = "/vendor/" not in path and not any(
            paths.below(path, root) for root in self._document_roots
        )
        doubt: Doubt | None = None
        for mention in mentions:
            if not mention.computed:
                yield from self._of_mention(path, mention)
            elif with_doubts and mention.line not in lines_with_path:
                doubt = doubt or _doubt(path, mention)
        if doubt:
            yield doubt

    def _of_mention(self, path: str, mention: Mention) -> Iterator[Claim]:
        script_directory, of = paths.parent(path), f"{path}:{mention.line}"
        match mention.kind:
            case "include":
                for directory in self._search_directories(script_directory):
                    named = paths.join(directory, mention.name)
                    if self._is_kind(named, Kind.FILE):
                        yield Claim(named, Why.IMPORTED, path, of)
                        break
            case "path":
                yield from self._data_files(paths.join(script_directory, mention.name), path, of)
            case "among" | "file":
                for directory in self._search_directories(script_directory):
                    named = paths.join(directory, mention.name)
                    if self._tree.resolve(named).entry:
                        yield from self._data_files(named, path, of)
                        break
            case "include_path":
                self._include_path.append(paths.join(script_directory, mention.name))
            case "class":
                self._named_classes.setdefault(mention.name, (path, of))
                yield from self._class_file(mention.name, path, of)

    def _search_directories(self, script_directory: str) -> Iterator[str]:
        """The directories in which an include is searched: those of the include path, then that of the script.
        "." is the directory of the requested page, or the one in which PHP was started."""
        current = (*self._document_roots, self._cwd)
        for directory in self._include_path:
            yield from current if directory == "." else (directory,)
        yield script_directory

    def _class_file(self, name: str, path: str, of: str) -> Iterator[Claim]:
        for autoloader in self._autoloaders.values():
            for file in autoloader.find_class(name):
                yield Claim(file, Why.IMPORTED, path, of)
                return

    def _of_autoloader(self, path: str) -> Iterator[Claim]:
        """The files that a Composer autoloader, found at `path`, loads at once and for the classes that were
        named before it was found."""
        parent = paths.parent(path)
        directory = parent if path.endswith("_real.php") else f"{parent}/composer"
        if directory not in self._autoloaders and self._is_kind(directory, Kind.DIR):
            autoloader = self._autoloaders[directory] = Autoloader(self._tree, self._contents, directory)
            for file in autoloader.files():
                yield Claim(file, Why.IMPORTED, path, "its autoloader")
            for name, (source, of) in sorted(self._named_classes.items()):
                yield from self._class_file(name, source, of)

    def _data_files(self, named: str, path: str, of: str) -> Iterator[Claim]:
        """The file at a path that the code names, or the directory with all below it; of a directory that holds
        the code itself only the directory."""
        found = self._tree.resolve(named)
        if found.entry and found.entry.kind is Kind.FILE:
            yield Claim(named, Why.IMPORTED, path, of)
        elif found.entry and found.entry.kind is Kind.DIR and not named.startswith(("/etc", "/proc", "/dev")):
            yield Claim(named, Why.IMPORTED, path, of)
            if not paths.below(path, found.path) and paths.name(found.path) not in _SKIPPED_DIRECTORIES:
                yield from self._subtree(found.path, path, of)

    def _subtree(self, directory: str, path: str, of: str) -> Iterator[Claim]:
        todo = [directory]
        count = 0
        while todo and count < MAX_SUBTREE:
            for child in self._tree.children(todo.pop()):
                count += 1
                if paths.name(child) not in _SKIPPED_DIRECTORIES:
                    yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
                    if self._tree[child].kind is Kind.DIR:
                        todo.append(child)

    def _is_kind(self, path: str, kind: Kind) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is kind


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{path}:{mention.line} includes a file that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Php"]
