"""Java: the class path of what ran, and what the JDK's own code loads late.

Sources: java(1) (options, @argfiles, JDK_JAVA_OPTIONS, wildcards), the JAR File Specification (Class-Path),
JEP 220 (the layout of a run-time image); for the native libraries the System.loadLibrary calls of java.base,
java.management, java.prefs, java.rmi, jdk.security.auth, jdk.net in the JDK's source.
"""

import re
import shlex
from collections.abc import Iterator
from urllib.parse import unquote

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Exec
from slimtrace.facts.mentions import Language
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim, Depth, strangers

ARGV_BYTES = 4095  # as much as a recording has of the arguments
MAX_ARGFILES = 32
ARGFILE_BYTES = 1 << 17
_ARCHIVES = (".jar", ".war", ".ear", ".zip")
_OPTIONS_IN_ENV = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
_CLASS_PATHS = frozenset(("-cp", "-classpath", "--class-path"))
_MODULE_PATHS = frozenset(("-p", "--module-path", "--upgrade-module-path"))
# Options of the launcher whose value is a word of its own.
_WITH_VALUE = frozenset(
    (
        "--add-modules", "--add-reads", "--add-exports", "--add-opens", "--limit-modules", "--patch-module",
        "--source", "--describe-module", "-d", "--enable-native-access",
    )
)  # fmt: skip

# Loaded by the JDK's own classes when they are first used, in any program without a desktop.
_NATIVES = (
    "libjava", "libjimage", "libzip", "libverify", "libnet", "libnio", "libextnet", "libmanagement",
    "libmanagement_ext", "libprefs", "librmi", "libjaas", "libsyslookup",
)  # fmt: skip
# Where one of these was loaded, pictures or fonts are drawn, also without a screen.
_AWT = ("libawt", "libawt_headless", "libfontmanager", "libfreetype", "libjavajpeg", "liblcms", "libmlib_image")
_HELPER = "jspawnhelper"  # what ProcessBuilder starts programs with
# java.util.logging, java.net, java.security and javax.net.ssl with what java.security names; java.time.
_CONFIGURATION = (
    "conf/logging.properties", "conf/net.properties", "conf/security/java.policy",
    "conf/security/java.security", "conf/security/policy/unlimited", "lib/security/blocked.certs",
    "lib/security/cacerts", "lib/security/default.policy", "lib/security/public_suffix_list.dat",
    "lib/tzdb.dat", "lib/jvm.cfg",
)  # fmt: skip
# The same before JDK 9, and the jars that were opened only when a class was missing elsewhere.
_CONFIGURATION_8 = (
    "lib/logging.properties", "lib/net.properties", "lib/security/java.policy", "lib/security/java.security",
    "lib/security/blacklisted.certs", "lib/security/blocked.certs", "lib/content-types.properties",
    "lib/currency.data", "lib/calendars.properties", "lib/rt.jar", "lib/jce.jar", "lib/jsse.jar",
    "lib/charsets.jar", "lib/resources.jar", "lib/security/policy/unlimited", "lib/security/policy/limited",
    "lib/ext",
)  # fmt: skip
# A class path that leads here is not the application's alone: it would bring half of the image.
_SYSTEM = frozenset(
    (
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc",
        "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local",
        "/usr/share", "/var", "/var/lib",
    )
)  # fmt: skip


class Java:
    """Asked of the java program for the arguments that it had, of libjvm and libawt for the JDK, of a jar for
    those that its manifest names."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._tree = capture.tree
        self._runs: dict[str, list[Exec]] = {}
        stranger = strangers(capture.trace, capture.image)
        for run in capture.trace.execs:
            program = self._tree.resolve(paths.join(run.base, run.asked)).path
            if paths.name(program) == "java" and not stranger(run.pid, run.origin):
                self._runs.setdefault(program, []).append(run)

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        name = paths.name(path)
        if name == "libjvm.so":
            yield from self._jdk(path)
        elif name == "libawt.so":
            yield from self._libraries(_AWT, paths.parent(path), path)
        elif name == "java":
            for run in self._runs.get(path, ()):
                yield from self._run(run, path)
        elif name.lower().endswith(_ARCHIVES):
            yield from self._archive(path)

    def _jdk(self, path: str) -> Iterator[Claim]:
        """The set of a run-time image, from where its libjvm.so lies: lib/server, or lib/ARCH/server."""
        natives = paths.parent(paths.parent(path))
        modern = paths.name(natives) == "lib"
        home = paths.parent(natives if modern else paths.parent(natives))
        yield from self._libraries(_NATIVES, natives, path)
        for directory in (natives, f"{home}/lib"):
            yield from self._claim(f"{directory}/{_HELPER}", path, "starting programs", Depth.PROGRAM)
        for file in _CONFIGURATION if modern else (*_CONFIGURATION, *_CONFIGURATION_8):
            yield from self._claim(f"{home}/{file}", path, "the JDK", whole=True)

    def _libraries(self, names: tuple[str, ...], directory: str, path: str) -> Iterator[Claim]:
        for name in names:
            yield from self._claim(f"{directory}/{name}.so", path, "the JDK", Depth.LIBRARY)

    def _run(self, run: Exec, path: str) -> Iterator[Claim | Doubt]:
        environment = self._capture.image.environment
        words = list(run.argv[1:])
        if sum(len(paths.encode(word)) + 1 for word in run.argv) >= ARGV_BYTES:
            text = (
                "java's arguments are longer than a recording has them: not all of its class path may be kept"
            )
            yield Doubt("class-path", text, path)
        for name in _OPTIONS_IN_ENV:
            words = [*_split(environment.get(name, "")), *words]
        for base in self._bases(run):
            for element in environment.get("CLASSPATH", "").split(":"):
                yield from self._element(element, base, path, "CLASSPATH")
            for kind, value in self._options(words, base):
                if kind == "class path":
                    for element in value.split(":"):
                        yield from self._element(element, base, path, kind)
                elif kind == "module path":
                    for element in value.split(":"):
                        yield from self._claim(paths.join(base, element), path, kind, whole=True)
                else:
                    yield from self._claim(paths.join(base, value), path, kind, Depth.LIBRARY)

    def _bases(self, run: Exec) -> list[str]:
        """The working directories that the process may have had: where its relative paths were looked up."""
        seen = {use.base for use in self._capture.trace.uses if use.pid == run.pid and use.base}
        return sorted({*seen, run.base, self._capture.image.text("WorkingDir") or "/"} - {""})

    def _options(self, words: list[str], base: str) -> Iterator[tuple[str, str]]:
        """What the launcher's options name, up to the main class: the rest is the program's own."""
        todo = words[::-1]
        argfiles = 0
        while todo:
            word = todo.pop()
            option, equals, value = word.partition("=")
            if word.startswith("@") and argfiles < MAX_ARGFILES:
                argfiles += 1
                found = self._tree.resolve(paths.join(base, word[1:]))
                yield "argument file", word[1:]
                todo += reversed(_split((self._capture.contents.text(found.path) or "")[:ARGFILE_BYTES]))
            elif word in _CLASS_PATHS | _MODULE_PATHS and todo:
                yield ("class path" if word in _CLASS_PATHS else "module path"), todo.pop()
            elif option in ("--class-path", "--module-path", "--upgrade-module-path") and equals:
                yield option[2:].replace("-", " ").removeprefix("upgrade "), value
            elif word == "-jar" and todo:
                yield "jar", todo.pop()
                return
            elif word in ("-m", "--module") or not word.startswith("-"):
                return
            elif word.startswith("-javaagent:"):
                yield "agent", option.removeprefix("-javaagent:")
            elif word.startswith("-agentpath:"):
                yield "agent", option.removeprefix("-agentpath:")
            elif word.startswith("-Xbootclasspath"):
                yield "class path", word.partition(":")[2]
            elif option in ("-Dloader.path", "-Djava.ext.dirs"):
                yield "class path", ":".join(f"{part}:{part}/*" for part in re.split("[,:]", value) if part)
            elif word.startswith("-D") and "/" in value:
                yield option, value.removeprefix("file:")
            elif word in _WITH_VALUE and todo:
                todo.pop()

    def _element(self, element: str, base: str, path: str, of: str) -> Iterator[Claim | Doubt]:
        """One element of a class path: a jar, a directory with all in it, or all jars of a directory."""
        if not element:
            return
        if element == "*" or element.endswith("/*"):
            directory = self._tree.resolve(paths.join(base, element[:-1])).path
            for child in self._tree.children(directory):
                if child.lower().endswith(".jar"):
                    yield from self._claim(child, path, of)
            return
        found = self._tree.resolve(paths.join(base, element))
        if found.path in _SYSTEM:
            text = f"java's class path names {found.path}: what it may load from there is not kept"
            yield Doubt("class-path", text, found.path)
        else:
            yield from self._claim(paths.join(base, element), path, of, whole=True)

    def _archive(self, path: str) -> Iterator[Claim]:
        for mention in self._capture.contents.mentions(path, Language.ZIP):
            if mention.kind == "class-path" and ":" not in mention.name.removeprefix("file:"):
                name = unquote(mention.name.removeprefix("file:"), errors="surrogateescape")
                yield from self._claim(paths.join(paths.parent(path), name), path, "its manifest", whole=True)

    def _claim(
        self, path: str, by: str, of: str, depth: Depth = Depth.ALONE, whole: bool = False
    ) -> Iterator[Claim]:
        """What is at `path`; with `whole` all that is below it, if it is a directory of the application."""
        found = self._tree.resolve(path)
        if found.entry is None:
            return
        why = Why.ON_DEMAND if paths.name(by) in ("libjvm.so", "libawt.so") else Why.IMPORTED
        yield Claim(paths.clean(path), why, by, of, depth)
        todo = [found.path] if whole and found.entry.kind is Kind.DIR and found.path not in _SYSTEM else []
        while todo:
            for child in self._tree.children(todo.pop()):
                yield Claim(child, why, by, of)
                if self._tree[child].kind is Kind.DIR:
                    todo.append(child)


def _split(text: str) -> list[str]:
    """Options in a variable or an @argfile: blanks part them, quotes hold together, # begins a comment."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()
