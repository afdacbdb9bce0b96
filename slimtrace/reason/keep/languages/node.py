"""JavaScript under Node: the modules and files that the code in use names.

The trace tells whether a Node ran, and with which scripts. What the code of an application or of a package
names is followed, whether or not loading reaches it. The code of package managers is not followed: that one of
them started the application is no reason to keep all that it can do.
"""

from collections.abc import Iterator
from itertools import chain

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Use
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.languages.node_modules import Module, ModuleResolver, is_code, location

# The directories that Debian's patch of lib/internal/modules/cjs/loader.js adds; /usr/lib/TRIPLET/nodejs is
# the third.
DEBIAN_DIRECTORIES = ("/usr/share/nodejs", "/usr/lib/nodejs")
PACKAGE_MANAGERS = frozenset(("npm", "corepack", "yarn", "pnpm", "npx"))
# process.arch by the image's architecture (nodejs.org/api/process.html#processarch).
ARCHITECTURES = {"amd64": "x64", "386": "ia32", "ppc64le": "ppc64", "mips64le": "mips64el"}
# Modules that look for the native addon of the package that requires them.
_ADDON_LOADERS = frozenset(
    ("bindings", "node-gyp-build", "node-gyp-build-optional-packages", "pkg-prebuilds", "node-pre-gyp")
)
_ADDON_LOADERS |= {"@mapbox/node-pre-gyp"}
MAX_SUBTREE = 20_000  # files below a directory that the code names


class Node:
    """See `finders.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree, self._contents = capture.tree, capture.contents
        self._ran = _ran(capture)
        image = capture.image
        environment = image.environment
        home = environment.get("HOME", "")
        global_directories = [
            directory for directory in environment.get("NODE_PATH", "").split(":") if directory.startswith("/")
        ]
        global_directories += (
            [f"{home}/.node_modules", f"{home}/.node_libraries"] if home.startswith("/") else []
        )
        library_directories = self._tree.children(self._tree.resolve("/usr/lib").path)
        global_directories += [
            f"{directory}/nodejs" for directory in library_directories if f"{directory}/nodejs" in self._tree
        ]
        global_directories += DEBIAN_DIRECTORIES
        self._resolver = ModuleResolver(self._tree, self._contents, tuple(global_directories))
        self._cwd = image.text("WorkingDir") or "/"
        self._arch = ARCHITECTURES.get(image.architecture, image.architecture)
        self._musl = any("/ld-musl-" in path for path in self._tree.children(self._tree.resolve("/lib").path))
        self._entry_scripts = self._find_entry_scripts(capture) if self._ran else set()
        self._known_run: set[str] = set(self._entry_scripts)  # files that Node runs, and not only reads
        self._required: dict[str, set[str]] = {}  # by file: the files that it requires
        self._pending_doubts: dict[str, Doubt] = {}  # by file: its doubt, if the file comes to be known to run

    def _find_entry_scripts(self, capture: Capture) -> set[str]:
        """The scripts on the command lines of Node."""
        found = set()
        for run in capture.trace.execs:
            base = run.base if run.base.startswith("/") else self._cwd
            for word in (run.asked, *run.argv[1:]) if _is_node(run.binary) else ():
                if not word.startswith("-"):
                    for module in self._resolver.load(paths.join(base, word)):
                        found.add(self._tree.resolve(module.path).path)
        return found

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran or not self._is_script(path) or _is_of_package_manager(path):
            return
        required = self._required.setdefault(path, set())
        package = _package_directory(path)
        doubt: Doubt | None = None
        mentions = self._contents.mentions(path, Language.JAVASCRIPT)
        lines_with_directory = {mention.line for mention in mentions if mention.kind == "among"}
        for mention in mentions:
            if mention.computed:
                if package:
                    yield from self._optional_dependencies(path, mention)
                elif mention.line not in lines_with_directory:
                    doubt = doubt or _doubt(path, mention)
                continue
            for claim in self._of_mention(path, mention, package):
                if claim.why is Why.IMPORTED and is_code(claim.path):
                    required.add(self._tree.resolve(claim.path).path)
                yield claim
        if doubt:
            self._pending_doubts[path] = doubt
        if path in self._known_run:
            yield from self._doubts_of_run_files(path)

    def _doubts_of_run_files(self, path: str) -> Iterator[Doubt]:
        """The doubts that count now that `path` is known to be run: its own, and those of the files that it
        requires, directly or through others."""
        todo = [path]
        while todo:
            file = todo.pop()
            if file in self._pending_doubts:
                yield self._pending_doubts.pop(file)
            newly_run = self._required.get(file, set()) - self._known_run
            self._known_run |= newly_run
            todo += sorted(newly_run)

    def _is_script(self, path: str) -> bool:
        if is_code(path):
            return True
        if "." in paths.name(path):
            return False
        line = (self._contents.head(path) or b"").partition(b"\n")[0]
        return path in self._entry_scripts or (line.startswith(b"#!") and b"node" in line)

    def _of_mention(self, path: str, mention: Mention, package: str) -> Iterator[Claim]:
        match mention.kind:
            case "require" | "import":
                for module in self._resolver.find(mention.name, path, mention.kind):
                    yield from self._module(path, mention, module)
                if mention.name in _ADDON_LOADERS:
                    scope = package or self._resolver.scope(paths.parent(path))
                    yield from self._addons(scope, path, mention) if scope else ()
                    yield from self._optional_dependencies(path, mention)
            case "among":
                yield from self._modules_in_directory(path, mention)
            case "path":
                yield from self._data_files(path, mention, (paths.parent(path),))
            case "cwd" if not package:
                # sendFile takes a root, Worker and createRequire resolve in their own ways: the file's
                # directory is tried too.
                yield from self._data_files(path, mention, (self._cwd, paths.parent(path)))

    def _module(self, path: str, mention: Mention, module: Module) -> Iterator[Claim]:
        of = location(path, mention)
        depth = Depth.LIBRARY if module.path.endswith(".node") else Depth.ALONE
        yield Claim(module.path, Why.IMPORTED, path, of, depth)
        # Node asks the nearest package.json whether a .js is an ECMAScript module.
        scope = self._resolver.scope(paths.parent(self._tree.resolve(module.path).path))
        nearest = (paths.join(scope, "package.json"),) if scope is not None else ()
        for manifest in dict.fromkeys((*module.manifests, *nearest)):
            yield Claim(manifest, Why.IMPORTED, path, of)

    def _modules_in_directory(self, path: str, mention: Mention) -> Iterator[Claim]:
        """All modules in the directory that a computed specifier begins with."""
        directory = self._resolver.directory(mention.name, path)
        if directory is None:
            return
        base = self._tree.resolve(directory).path
        for child in self._tree.children(base):
            kind = self._tree[child].kind
            if kind is Kind.DIR and paths.name(child) != "node_modules":
                modules = list(self._resolver.load(child + "/"))
            else:
                modules = [Module(child)] if child.endswith((".js", ".cjs", ".mjs", ".json", ".node")) else []
            for module in modules:
                if self._tree.resolve(module.path).path != path:
                    yield from self._module(path, mention, module)

    def _data_files(self, path: str, mention: Mention, bases: tuple[str, ...]) -> Iterator[Claim]:
        """The file at a path that the code names, or the directory with all below it. Of a directory that holds
        the code itself only the directory is kept: all below it could be the whole application."""
        of = location(path, mention)
        for base in bases:
            named = paths.join(base, mention.name)
            found = self._tree.resolve(named)
            if found.entry is None:
                continue
            if found.entry.kind is Kind.FILE:
                depth = Depth.LIBRARY if named.endswith((".node", ".so")) else Depth.ALONE
                yield Claim(named, Why.IMPORTED, path, of, depth)
            elif found.entry.kind is Kind.DIR:
                yield Claim(named, Why.IMPORTED, path, of)
                if not paths.below(path, found.path) and not mention.name.startswith("/"):
                    for child in self._subtree(found.path):
                        yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
            return

    def _subtree(self, directory: str) -> Iterator[str]:
        todo = [directory]
        count = 0
        while todo and count < MAX_SUBTREE:
            for child in self._tree.children(todo.pop()):
                kind = self._tree[child].kind
                count += 1
                if kind is not Kind.DIR:
                    yield child
                elif paths.name(child) not in ("node_modules", ".git"):
                    yield child
                    todo.append(child)

    def _optional_dependencies(self, path: str, mention: Mention) -> Iterator[Claim]:
        """For a package that computes what it loads: those of its optionalDependencies that are for this
        platform."""
        scope = self._resolver.scope(paths.parent(path))
        wanted = (self._resolver.manifest(scope) or {}).get("optionalDependencies") if scope else None
        for name in sorted(wanted) if isinstance(wanted, dict) else ():
            package = self._resolver.directory(f"{name}/", path) if ".." not in name else None
            manifest = self._resolver.manifest(package) if package else None
            if not package or not manifest or not self._fits_platform(manifest):
                continue
            for module in self._resolver.find(name, path):
                yield from self._module(path, mention, module)
            yield from self._addons(package, path, mention)

    def _fits_platform(self, manifest: object) -> bool:
        """Whether a package is for this architecture, libc and system (npm's package.json: cpu, libc, os)."""
        if not isinstance(manifest, dict):
            return False
        libc = "musl" if self._musl else "glibc"
        return all(
            not isinstance(wanted := manifest.get(key), list) or own in wanted
            for key, own in (("cpu", self._arch), ("libc", libc), ("os", "linux"))
        )

    def _addons(self, package: str, path: str, mention: Mention) -> Iterator[Claim]:
        """The native addons (.node) of a package, where node-gyp, prebuildify and node-pre-gyp put them; of
        prebuilt ones those for the image's architecture and libc."""
        root = self._tree.resolve(package).path
        for child in self._subtree(root):
            path_in_package = child[len(root) :]
            if child.endswith(".node") and self._is_fitting_addon(path_in_package):
                yield Claim(child, Why.ON_DEMAND, path, location(path, mention), Depth.LIBRARY)
                yield Claim(paths.join(package, "package.json"), Why.IMPORTED, path, location(path, mention))

    def _is_fitting_addon(self, path_in_package: str) -> bool:
        if (
            "electron" in path_in_package
            or ("glibc" if self._musl else "musl") in path_in_package
            or "/obj.target/" in path_in_package
        ):
            return False
        if not path_in_package.startswith("/prebuilds/"):
            return True
        platform, _, arch = path_in_package.split("/")[2].partition("-")
        return platform in ("linux", "linuxmusl", "linuxglibc") and self._arch in arch.split("+")


def _ran(capture: Capture) -> bool:
    """Whether a Node ran, or a program with libnode."""
    runs = (run.binary for run in capture.trace.execs)
    loaded = (use.resolved for use in capture.trace.uses if use.use in (Use.MAP, Use.READ))
    return any(map(_is_node, runs)) or any(paths.name(path).startswith("libnode.so") for path in loaded)


def _is_node(program: str) -> bool:
    return paths.name(program).rstrip("0123456789.") in ("node", "nodejs")


def _package_directory(path: str) -> str:
    """The directory of the package that `path` lies in; "" for a file of the application."""
    before, found, after = path.rpartition("/node_modules/")
    if not found:
        for directory in chain(DEBIAN_DIRECTORIES, ("/nodejs",)):
            before, found, after = path.partition(f"{directory}/")
            if found and (before == "" or before.startswith("/usr/lib/")):
                break
        else:
            return ""
    parts = after.split("/")
    return before + found + "/".join(parts[: 2 if after.startswith("@") else 1])


def _is_of_package_manager(path: str) -> bool:
    package = _package_directory(path)
    return package.startswith("/usr/") and paths.name(package) in PACKAGE_MANAGERS


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{location(path, mention)} requires a module that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Node"]
