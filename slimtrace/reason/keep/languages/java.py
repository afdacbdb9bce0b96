"""Java: the class path of each java that ran, and the files that the JDK's own code loads after its start.

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
from slimtrace.reason.keep.evidence import Claim, Depth, exec_session_test

ARGV_BYTES = 4095  # the most that a recording has of the arguments of one exec
MAX_ARGFILES = 32
ARGFILE_BYTES = 1 << 17
_ARCHIVES = (".jar", ".war", ".ear", ".zip")
_OPTION_VARIABLES = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
_CLASS_PATH_OPTIONS = frozenset(("-cp", "-classpath", "--class-path"))
_MODULE_PATH_OPTIONS = frozenset(("-p", "--module-path", "--upgrade-module-path"))
# Options of the launcher whose value is the next argument.
_OPTIONS_WITH_VALUE = frozenset(
    (
        "--add-modules", "--add-reads", "--add-exports", "--add-opens", "--limit-modules", "--patch-module",
        "--source", "--describe-module", "-d", "--enable-native-access",
    )
)  # fmt: skip

# Libraries that the JDK's own classes load when they are first used, in any program without a desktop.
_NATIVE_LIBRARIES = (
    "libjava", "libjimage", "libzip", "libverify", "libnet", "libnio", "libextnet", "libmanagement",
    "libmanagement_ext", "libprefs", "librmi", "libjaas", "libsyslookup",
)  # fmt: skip
# Once libawt is loaded the program draws pictures or text, also without a screen; these then go with it.
_AWT_LIBRARIES = (
    "libawt",
    "libawt_headless",
    "libfontmanager",
    "libfreetype",
    "libjavajpeg",
    "liblcms",
    "libmlib_image",
)
_SPAWN_HELPER = "jspawnhelper"  # ProcessBuilder starts programs through it
# What java.util.logging, java.net, java.security, javax.net.ssl and java.time read; with the files that
# java.security names.
_CONFIGURATION_FILES = (
    "conf/logging.properties", "conf/net.properties", "conf/security/java.policy",
    "conf/security/java.security", "conf/security/policy/unlimited", "lib/security/blocked.certs",
    "lib/security/cacerts", "lib/security/default.policy", "lib/security/public_suffix_list.dat",
    "lib/tzdb.dat", "lib/jvm.cfg",
)  # fmt: skip
# The same before JDK 9, and the jars that it opens only when a class was not found elsewhere.
_JDK_8_FILES = (
    "lib/logging.properties", "lib/net.properties", "lib/security/java.policy", "lib/security/java.security",
    "lib/security/blacklisted.certs", "lib/security/blocked.certs", "lib/content-types.properties",
    "lib/currency.data", "lib/calendars.properties", "lib/rt.jar", "lib/jce.jar", "lib/jsse.jar",
    "lib/charsets.jar", "lib/resources.jar", "lib/security/policy/unlimited", "lib/security/policy/limited",
    "lib/ext",
)  # fmt: skip
# A class path that leads to one of these is not the application's alone: it would keep half of the image.
_SYSTEM_DIRECTORIES = frozenset(
    (
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc",
        "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local",
        "/usr/share", "/var", "/var/lib",
    )
)  # fmt: skip


class Java:
    """For the java program, what the arguments of its runs name; for libjvm.so and libawt.so, files of the JDK;
    for a jar, the jars of its manifest's Class-Path."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._tree = capture.tree
        self._java_runs: dict[str, list[Exec]] = {}
        in_exec_session = exec_session_test(capture.trace, capture.image)
        for run in capture.trace.execs:
            program = self._tree.resolve(paths.join(run.base, run.asked)).path
            if paths.name(program) == "java" and not in_exec_session(run.pid, run.origin):
                self._java_runs.setdefault(program, []).append(run)

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        name = paths.name(path)
        if name == "libjvm.so":
            yield from self._jdk_files(path)
        elif name == "libawt.so":
            yield from self._libraries(_AWT_LIBRARIES, paths.parent(path), path)
        elif name == "java":
            for run in self._java_runs.get(path, ()):
                yield from self._of_command_line(run, path)
        elif name.lower().endswith(_ARCHIVES):
            yield from self._manifest_class_path(path)

    def _jdk_files(self, path: str) -> Iterator[Claim]:
        """The files of a run-time image that holds this libjvm.so: in lib/server, or lib/ARCH/server."""
        library_directory = paths.parent(paths.parent(path))
        since_jdk_9 = paths.name(library_directory) == "lib"
        java_home = paths.parent(library_directory if since_jdk_9 else paths.parent(library_directory))
        yield from self._libraries(_NATIVE_LIBRARIES, library_directory, path)
        for directory in (library_directory, f"{java_home}/lib"):
            yield from self._claim(f"{directory}/{_SPAWN_HELPER}", path, "starting programs", Depth.PROGRAM)
        for file in _CONFIGURATION_FILES if since_jdk_9 else (*_CONFIGURATION_FILES, *_JDK_8_FILES):
            yield from self._claim(f"{java_home}/{file}", path, "the JDK", recursive=True)

    def _libraries(self, names: tuple[str, ...], directory: str, path: str) -> Iterator[Claim]:
        for name in names:
            yield from self._claim(f"{directory}/{name}.so", path, "the JDK", Depth.LIBRARY)

    def _of_command_line(self, run: Exec, path: str) -> Iterator[Claim | Doubt]:
        """What the arguments of one run and the image's environment name."""
        environment = self._capture.image.environment
        words = list(run.argv[1:])
        if sum(len(paths.encode(word)) + 1 for word in run.argv) >= ARGV_BYTES:
            text = (
                "java's arguments are longer than a recording has them: not all of its class path may be kept"
            )
            yield Doubt("class-path", text, path)
        for name in _OPTION_VARIABLES:
            words = [*_split_options(environment.get(name, "")), *words]
        for base in self._working_directories(run):
            for element in environment.get("CLASSPATH", "").split(":"):
                yield from self._class_path_element(element, base, path, "CLASSPATH")
            for kind, value in self._option_values(words, base):
                if kind == "class path":
                    for element in value.split(":"):
                        yield from self._class_path_element(element, base, path, kind)
                elif kind == "module path":
                    for element in value.split(":"):
                        yield from self._claim(paths.join(base, element), path, kind, recursive=True)
                else:
                    yield from self._claim(paths.join(base, value), path, kind, Depth.LIBRARY)

    def _working_directories(self, run: Exec) -> list[str]:
        """The working directories that the process may have had, in which it looked up relative paths."""
        observed = {use.base for use in self._capture.trace.uses if use.pid == run.pid and use.base}
        return sorted({*observed, run.base, self._capture.image.text("WorkingDir") or "/"} - {""})

    def _option_values(self, words: list[str], base: str) -> Iterator[tuple[str, str]]:
        """The files and paths that the launcher's options name, each with its kind, up to the main class or
        jar: the arguments after that are the program's own."""
        todo = words[::-1]
        argfiles = 0
        while todo:
            word = todo.pop()
            option, equals, value = word.partition("=")
            if word.startswith("@") and argfiles < MAX_ARGFILES:
                argfiles += 1
                found = self._tree.resolve(paths.join(base, word[1:]))
                yield "argument file", word[1:]
                todo += reversed(
                    _split_options((self._capture.contents.text(found.path) or "")[:ARGFILE_BYTES])
                )
            elif word in _CLASS_PATH_OPTIONS | _MODULE_PATH_OPTIONS and todo:
                yield ("class path" if word in _CLASS_PATH_OPTIONS else "module path"), todo.pop()
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
            elif word in _OPTIONS_WITH_VALUE and todo:
                todo.pop()

    def _class_path_element(self, element: str, base: str, path: str, of: str) -> Iterator[Claim | Doubt]:
        """What one element of a class path means: a jar, a directory with all below it, or, with a wildcard,
        all jars in a directory."""
        if not element:
            return
        if element == "*" or element.endswith("/*"):
            directory = self._tree.resolve(paths.join(base, element[:-1])).path
            for child in self._tree.children(directory):
                if child.lower().endswith(".jar"):
                    yield from self._claim(child, path, of)
            return
        found = self._tree.resolve(paths.join(base, element))
        if found.path in _SYSTEM_DIRECTORIES:
            text = f"java's class path names {found.path}: what it may load from there is not kept"
            yield Doubt("class-path", text, found.path)
        else:
            yield from self._claim(paths.join(base, element), path, of, recursive=True)

    def _manifest_class_path(self, path: str) -> Iterator[Claim]:
        for mention in self._capture.contents.mentions(path, Language.ZIP):
            if mention.kind == "class-path" and ":" not in mention.name.removeprefix("file:"):
                name = unquote(mention.name.removeprefix("file:"), errors="surrogateescape")
                yield from self._claim(
                    paths.join(paths.parent(path), name), path, "its manifest", recursive=True
                )

    def _claim(
        self, path: str, by: str, of: str, depth: Depth = Depth.ALONE, recursive: bool = False
    ) -> Iterator[Claim]:
        """The file at `path`; with `recursive` also all that is below it, if it is a directory of the
        application. `by` is the file that names it, `of` the words of the reason."""
        found = self._tree.resolve(path)
        if found.entry is None:
            return
        why = Why.ON_DEMAND if paths.name(by) in ("libjvm.so", "libawt.so") else Why.IMPORTED
        yield Claim(paths.clean(path), why, by, of, depth)
        todo = (
            [found.path]
            if recursive and found.entry.kind is Kind.DIR and found.path not in _SYSTEM_DIRECTORIES
            else []
        )
        while todo:
            for child in self._tree.children(todo.pop()):
                yield Claim(child, why, by, of)
                if self._tree[child].kind is Kind.DIR:
                    todo.append(child)


def _split_options(text: str) -> list[str]:
    """The options in an environment variable or an @argfile: separated by blanks, with quotes; # begins a
    comment."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()
