"""JavaScript under Node: the modules and files that the code in use names.

Which programs are Node's is told from the trace, which of their files are code from how they were reached. What
the code of an application or of a package names is followed, whether or not loading reaches it. Not followed is
the code of package managers: that one of them started the application is no reason to keep all it can do.
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
from slimtrace.reason.keep.languages.node_modules import Module, Modules, is_code, where

# Debian's own searched directories (its patch of lib/internal/modules/cjs/loader.js), TRIPLET beside them.
SHARED = ("/usr/share/nodejs", "/usr/lib/nodejs")
MANAGERS = frozenset(("npm", "corepack", "yarn", "pnpm", "npx"))
# process.arch by the image's architecture (nodejs.org/api/process.html#processarch).
ARCHITECTURES = {"amd64": "x64", "386": "ia32", "ppc64le": "ppc64", "mips64le": "mips64el"}
# Modules that look for the native part of the package that requires them.
_NATIVE_LOADERS = frozenset(
    ("bindings", "node-gyp-build", "node-gyp-build-optional-packages", "pkg-prebuilds", "node-pre-gyp")
)
_NATIVE_LOADERS |= {"@mapbox/node-pre-gyp"}
MAX_BELOW = 20_000  # files of a directory that is named as a whole


class Node:
    """See `discovery.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree, self._contents = capture.tree, capture.contents
        self._ran = _ran(capture)
        image = capture.image
        environment = image.environment
        home = environment.get("HOME", "")
        shared = [place for place in environment.get("NODE_PATH", "").split(":") if place.startswith("/")]
        shared += [f"{home}/.node_modules", f"{home}/.node_libraries"] if home.startswith("/") else []
        libraries = self._tree.children(self._tree.resolve("/usr/lib").path)
        shared += [f"{place}/nodejs" for place in libraries if f"{place}/nodejs" in self._tree]
        shared += SHARED
        self._modules = Modules(self._tree, self._contents, tuple(shared))
        self._cwd = image.text("WorkingDir") or "/"
        self._arch = ARCHITECTURES.get(image.architecture, image.architecture)
        self._musl = any("/ld-musl-" in path for path in self._tree.children(self._tree.resolve("/lib").path))
        self._starts = self._started(capture) if self._ran else set()
        self._run: set[str] = set(self._starts)  # files that are known to be run, not only read
        self._leads: dict[str, set[str]] = {}  # what a file that was asked requires
        self._held: dict[str, Doubt] = {}  # the doubt of a file that may turn out to be run

    def _started(self, capture: Capture) -> set[str]:
        """The files that Node was started with."""
        found = set()
        for run in capture.trace.execs:
            base = run.base if run.base.startswith("/") else self._cwd
            for word in (run.asked, *run.argv[1:]) if _is_node(run.binary) else ():
                if not word.startswith("-"):
                    for module in self._modules.load(paths.join(base, word)):
                        found.add(self._tree.resolve(module.path).path)
        return found

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """The claims and doubts of one file."""
        if not self._ran or not self._is_script(path) or _of_manager(path):
            return
        leads = self._leads.setdefault(path, set())
        package = _package(path)
        doubt: Doubt | None = None
        mentions = self._contents.mentions(path, Language.JAVASCRIPT)
        evident = {mention.line for mention in mentions if mention.kind == "among"}
        for mention in mentions:
            if mention.computed:
                if package:
                    yield from self._optional(path, mention)
                elif mention.line not in evident:
                    doubt = doubt or _doubt(path, mention)
                continue
            for claim in self._of(path, mention, package):
                if claim.why is Why.IMPORTED and is_code(claim.path):
                    leads.add(self._tree.resolve(claim.path).path)
                yield claim
        if doubt:
            self._held[path] = doubt
        if path in self._run:
            yield from self._reached(path)

    def _reached(self, path: str) -> Iterator[Doubt]:
        """The doubts that count now that `path` is known to be run: its own, and those of what it leads to."""
        todo = [path]
        while todo:
            here = todo.pop()
            if here in self._held:
                yield self._held.pop(here)
            new = self._leads.get(here, set()) - self._run
            self._run |= new
            todo += sorted(new)

    def _is_script(self, path: str) -> bool:
        if is_code(path):
            return True
        if "." in paths.name(path):
            return False
        line = (self._contents.head(path) or b"").partition(b"\n")[0]
        return path in self._starts or (line.startswith(b"#!") and b"node" in line)

    def _of(self, path: str, mention: Mention, package: str) -> Iterator[Claim]:
        match mention.kind:
            case "require" | "import":
                for module in self._modules.find(mention.name, path, mention.kind):
                    yield from self._module(path, mention, module)
                if mention.name in _NATIVE_LOADERS:
                    scope = package or self._modules.scope(paths.parent(path))
                    yield from self._natives(scope, path, mention) if scope else ()
                    yield from self._optional(path, mention)
            case "among":
                yield from self._among(path, mention)
            case "path":
                yield from self._data(path, mention, (paths.parent(path),))
            case "cwd" if not package:
                # sendFile has a root, Worker and createRequire their own ideas: beside the file is one more.
                yield from self._data(path, mention, (self._cwd, paths.parent(path)))

    def _module(self, path: str, mention: Mention, module: Module) -> Iterator[Claim]:
        of = where(path, mention)
        depth = Depth.LIBRARY if module.path.endswith(".node") else Depth.ALONE
        yield Claim(module.path, Why.IMPORTED, path, of, depth)
        # Node asks the nearest package.json whether a .js is an ECMAScript module.
        scope = self._modules.scope(paths.parent(self._tree.resolve(module.path).path))
        nearest = (paths.join(scope, "package.json"),) if scope is not None else ()
        for manifest in dict.fromkeys((*module.manifests, *nearest)):
            yield Claim(manifest, Why.IMPORTED, path, of)

    def _among(self, path: str, mention: Mention) -> Iterator[Claim]:
        """Everything that could be required of the directory that a computed specifier begins with."""
        directory = self._modules.directory(mention.name, path)
        if directory is None:
            return
        base = self._tree.resolve(directory).path
        for child in self._tree.children(base):
            kind = self._tree[child].kind
            if kind is Kind.DIR and paths.name(child) != "node_modules":
                modules = list(self._modules.load(child + "/"))
            else:
                modules = [Module(child)] if child.endswith((".js", ".cjs", ".mjs", ".json", ".node")) else []
            for module in modules:
                if self._tree.resolve(module.path).path != path:
                    yield from self._module(path, mention, module)

    def _data(self, path: str, mention: Mention, bases: tuple[str, ...]) -> Iterator[Claim]:
        """A file, or a directory with all that lies below it; one that holds the code itself would be
        everything, and stands for a place."""
        of = where(path, mention)
        for base in bases:
            asked = paths.join(base, mention.name)
            found = self._tree.resolve(asked)
            if found.entry is None:
                continue
            if found.entry.kind is Kind.FILE:
                depth = Depth.LIBRARY if asked.endswith((".node", ".so")) else Depth.ALONE
                yield Claim(asked, Why.IMPORTED, path, of, depth)
            elif found.entry.kind is Kind.DIR:
                yield Claim(asked, Why.IMPORTED, path, of)
                if not paths.below(path, found.path) and not mention.name.startswith("/"):
                    for child in self._below(found.path):
                        yield Claim(child, Why.ON_DEMAND, path, of, Depth.LIBRARY)
            return

    def _below(self, directory: str) -> Iterator[str]:
        todo = [directory]
        count = 0
        while todo and count < MAX_BELOW:
            for child in self._tree.children(todo.pop()):
                kind = self._tree[child].kind
                count += 1
                if kind is not Kind.DIR:
                    yield child
                elif paths.name(child) not in ("node_modules", ".git"):
                    yield child
                    todo.append(child)

    def _optional(self, path: str, mention: Mention) -> Iterator[Claim]:
        """The optional dependencies of a package that finds out what to load: its part for this platform."""
        scope = self._modules.scope(paths.parent(path))
        wanted = (self._modules.manifest(scope) or {}).get("optionalDependencies") if scope else None
        for name in sorted(wanted) if isinstance(wanted, dict) else ():
            package = self._modules.directory(f"{name}/", path) if ".." not in name else None
            manifest = self._modules.manifest(package) if package else None
            if not package or not manifest or not self._fits(manifest):
                continue
            for module in self._modules.find(name, path):
                yield from self._module(path, mention, module)
            yield from self._natives(package, path, mention)

    def _fits(self, manifest: object) -> bool:
        """Whether a package says that it is for this architecture and libc (npm's package.json, cpu, libc)."""
        if not isinstance(manifest, dict):
            return False
        libc = "musl" if self._musl else "glibc"
        return all(
            not isinstance(wanted := manifest.get(key), list) or own in wanted
            for key, own in (("cpu", self._arch), ("libc", libc), ("os", "linux"))
        )

    def _natives(self, package: str, path: str, mention: Mention) -> Iterator[Claim]:
        """The native parts of a package, where node-gyp, prebuildify and node-pre-gyp put them; of prebuilt
        ones those for the image's architecture and libc."""
        root = self._tree.resolve(package).path
        for child in self._below(root):
            inside = child[len(root) :]
            if child.endswith(".node") and self._is_native(inside):
                yield Claim(child, Why.ON_DEMAND, path, where(path, mention), Depth.LIBRARY)
                yield Claim(paths.join(package, "package.json"), Why.IMPORTED, path, where(path, mention))

    def _is_native(self, inside: str) -> bool:
        if "electron" in inside or ("glibc" if self._musl else "musl") in inside or "/obj.target/" in inside:
            return False
        if not inside.startswith("/prebuilds/"):
            return True
        platform, _, arch = inside.split("/")[2].partition("-")
        return platform in ("linux", "linuxmusl", "linuxglibc") and self._arch in arch.split("+")


def _ran(capture: Capture) -> bool:
    runs = (run.binary for run in capture.trace.execs)
    loaded = (use.resolved for use in capture.trace.uses if use.use in (Use.MAP, Use.READ))
    return any(map(_is_node, runs)) or any(paths.name(path).startswith("libnode.so") for path in loaded)


def _is_node(program: str) -> bool:
    return paths.name(program).rstrip("0123456789.") in ("node", "nodejs")


def _package(path: str) -> str:
    """The package's directory that `path` lies in; "" for a file of the application."""
    before, found, after = path.rpartition("/node_modules/")
    if not found:
        for shared in chain(SHARED, ("/nodejs",)):
            before, found, after = path.partition(f"{shared}/")
            if found and (before == "" or before.startswith("/usr/lib/")):
                break
        else:
            return ""
    parts = after.split("/")
    return before + found + "/".join(parts[: 2 if after.startswith("@") else 1])


def _of_manager(path: str) -> bool:
    package = _package(path)
    return package.startswith("/usr/") and paths.name(package) in MANAGERS


def _doubt(path: str, mention: Mention) -> Doubt:
    text = f"{where(path, mention)} requires a module that only a run would tell: {mention.name[:80]}"
    return Doubt("computed-import", paths.printable(text), path)


__all__ = ["Node"]
