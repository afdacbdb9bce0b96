"""Shell scripts: the programs, scripts and files that they name.

A script is a file with the ``#!`` line of a shell, a file that a shell is started with or that another script
sources, and an executed text without a ``#!`` line (execvp(3)). Programs are found as the shell finds them
(POSIX XCU 2.9.1.4): through the PATH that the script or the image sets. Expansions are followed as far as the
values of their variables are literals in the same script or in the image's ENV.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Use
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import shebangs
from slimtrace.reason.keep.evidence import Claim, Depth

SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox", "rbash"))
SOURCED_SUFFIXES = (".sh", ".bash", ".ash", ".envsh")  # a shell that opens a file with one of these sources it
# Directories of the distribution: a command that a script there computes is no doubt about the application.
_SYSTEM_DIRECTORIES = (
    "/bin",
    "/sbin",
    "/etc",
    "/lib",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/share",
)
_KERNEL_FILESYSTEMS = ("/proc", "/sys", "/dev")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?[-=]([^{}$]*))?\})")
# "$@" and "$1": the command that the image's configuration or the user passes to the script.
_POSITIONAL = re.compile(r"\$(?:[0-9@*]|\{[0-9@*]+(?:[:#%/?+-][^}]*)?\})")
MAX_VALUES = 4  # literals that one variable is followed to
MAX_EXPANSIONS = 16  # of one word
MAX_CHARS = 4096  # of an expansion: PATH_MAX

Variables = Mapping[str, tuple[str, ...]]


class Shell:
    """The finder for shell scripts: see `finders.Finder`."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._environment = capture.image.environment
        self._working_directory = capture.image.text("WorkingDir") or "/"
        self._scripts = set(_scripts_run(capture))

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the script at `path` names; nothing for a file that is no script."""
        if not self._is_script(path):
            return
        mentions = self._contents.mentions(path, Language.SHELL)
        variables = self._variable_values(mentions)
        doubted = False
        for mention in mentions:
            texts = _expand(mention.name, variables) if mention.computed else (mention.name,)
            if mention.kind == "command":
                if (
                    not texts
                    and not doubted
                    and not path.startswith(_SYSTEM_DIRECTORIES)
                    and _is_computed_by_script(mention.name)
                ):
                    doubted = True
                    yield _doubt(path, mention)
                yield from self._programs(path, mention, texts, variables)
            elif mention.kind == "source":
                yield from self._sourced(path, mention, texts, variables)
            elif mention.kind in ("file", "output"):
                yield from self._files(path, mention, texts)

    def _is_script(self, path: str) -> bool:
        return path in self._scripts or shebangs.interpreter_name(self._contents.head(path) or b"") in SHELLS

    def _variable_values(self, mentions: Iterable[Mention]) -> dict[str, tuple[str, ...]]:
        """The literals that each variable may have as its value, that of the image's ENV last."""
        variables: dict[str, tuple[str, ...]] = {}
        assigned: dict[str, list[str]] = {}
        variables |= {name: (value,) for name, value in self._environment.items()}
        variables.setdefault("PATH", (shebangs.DEFAULT_PATH,))
        for mention in mentions:
            if mention.kind == "variable":
                name, _, value = mention.name.partition("=")
                literals = assigned.setdefault(name.removesuffix("+"), [])
                texts = _expand(value, variables) if mention.computed else (value,)
                literals += [text for text in texts if 0 < len(text) <= MAX_CHARS and text not in literals]
                del literals[MAX_VALUES:]
                from_env = (self._environment[name],) if name in self._environment else ()
                variables[name.removesuffix("+")] = (*literals, *from_env)
        return variables

    def _programs(
        self, path: str, mention: Mention, texts: Iterable[str], variables: Variables
    ) -> Iterator[Claim | Doubt]:
        search = ":".join((*variables["PATH"], shebangs.DEFAULT_PATH))
        for text in texts:
            name = text.split()[0] if mention.computed and text.split() else text
            if program := shebangs.find_program(self._tree, name, search, self._working_directory):
                yield self._claim(program, path, mention, Depth.PROGRAM)

    def _sourced(
        self, path: str, mention: Mention, texts: Iterable[str], variables: Variables
    ) -> Iterator[Claim | Doubt]:
        for text in texts:
            # A name without a slash is looked up in PATH, by bash also in the working directory.
            directories = [self._working_directory, paths.parent(path)]
            if "/" not in text:
                directories = [*":".join(variables["PATH"]).split(":"), *directories]
            for directory in directories:
                wanted = paths.join(paths.join(self._working_directory, directory), text)
                resolved = self._tree.resolve(wanted)
                if resolved.entry and resolved.entry.kind is Kind.FILE:
                    self._scripts.add(resolved.path)
                    yield self._claim(wanted, path, mention, Depth.ALONE)
                    break

    def _files(self, path: str, mention: Mention, texts: Iterable[str]) -> Iterator[Claim | Doubt]:
        for text in texts:
            for wanted in text[:MAX_CHARS].split(":"):
                if not wanted.startswith("/"):
                    candidates = (
                        paths.join(self._working_directory, wanted),
                        paths.join(paths.parent(path), wanted),
                    )
                    wanted = next(
                        (candidate for candidate in candidates if self._tree.resolve(candidate).entry), ""
                    )
                if not wanted or wanted.startswith(_KERNEL_FILESYSTEMS):
                    continue
                entry = self._tree.resolve(wanted).entry
                if entry is None or entry.path == "/":
                    # A file that a script is going to write needs its directory.
                    parent = self._tree.resolve(paths.parent(paths.clean(wanted)))
                    if mention.kind == "output" and parent.entry:
                        yield self._claim(parent.path, path, mention, Depth.ALONE)
                elif entry.kind is Kind.FILE and entry.mode & 0o111:
                    yield self._claim(wanted, path, mention, Depth.PROGRAM)
                else:
                    yield self._claim(wanted, path, mention, Depth.LIBRARY)

    def _claim(self, wanted: str, path: str, mention: Mention, depth: Depth) -> Claim:
        return Claim(wanted, Why.IMPORTED, path, f"{path}:{mention.line}", depth, base=self._working_directory)


def _scripts_run(capture: Capture) -> Iterator[str]:
    """Every script that a shell was seen to run or to open for reading commands, resolved."""
    tree = capture.tree
    shells = set()
    for run in capture.trace.execs:
        base = run.base or capture.image.text("WorkingDir") or "/"
        if paths.name(run.asked) in SHELLS or paths.name(run.binary) in SHELLS:
            shells.add(run.asked)
        if paths.name(run.asked) in SHELLS:
            operand = next((word for word in run.argv[1:] if not word.startswith(("-", "+"))), "")
            if operand and not any(word.endswith("c") and word[0] in "-+" for word in run.argv[1:] if word):
                yield tree.resolve(paths.join(base, operand)).path
        elif paths.name(run.binary) in SHELLS:
            yield tree.resolve(paths.join(base, run.asked)).path
    for use in capture.trace.uses:
        if (
            use.use is Use.READ
            and not use.error
            and use.program in shells
            and use.resolved.endswith(SOURCED_SUFFIXES)
        ):
            yield use.resolved


def _expand(text: str, variables: Variables) -> tuple[str, ...]:
    """What `text` may expand to; empty where the value of a variable is not known."""
    pieces: list[tuple[str, ...]] = []
    at = 0
    for match in _VARIABLE.finditer(text):
        pieces.append((text[at : match.start()],))
        pieces.append(variables.get(match[1] or match[2]) or ((match[3],) if match[3] else ()))
        at = match.end()
    pieces.append((text[at:],))
    if not all(pieces) or len(pieces) > 40 or any("$" in piece for part in pieces for piece in part):
        return ()
    expansions: list[str] = []
    for choice in product(*pieces):
        if sum(map(len, choice)) <= MAX_CHARS:
            expansions.append("".join(choice))
        if len(expansions) >= MAX_EXPANSIONS:
            break
    return tuple(dict.fromkeys(expansions))


def _is_computed_by_script(name: str) -> bool:
    """Whether a computed command is not one that is passed to the script."""
    return not _POSITIONAL.match(name)


def _doubt(path: str, mention: Mention) -> Doubt:
    where = f"{paths.printable(path)}:{mention.line}"
    text = f"{where} runs a command that only a run would tell: {paths.printable(mention.name[:80])}"
    return Doubt("computed-command", text, path)
