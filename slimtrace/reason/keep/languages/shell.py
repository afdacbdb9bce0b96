"""Shell scripts: the programs, scripts and files that they name.

A script is what runs by a ``#!`` line of a shell, what a shell is started with, what another script sources,
and an executed text without a ``#!`` line (execvp(3)). Programs are found as the shell finds them (POSIX XCU
2.9.1.4): through the PATH that the script or the image sets. Expansions are followed as far as the values of
their variables are literals in the same script or in the image's ENV.
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
SOURCED = (".sh", ".bash", ".ash", ".envsh")  # a file of such a name that a shell opens is one that it sources
# What distributions install: a command that is computed there is not the application's.
_SYSTEM = ("/bin", "/sbin", "/etc", "/lib", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share")
_KERNELS = ("/proc", "/sys", "/dev")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?[-=]([^{}$]*))?\})")
# "$@" and "$1" are the command that the image's configuration or the user gives.
_POSITIONAL = re.compile(r"\$(?:[0-9@*]|\{[0-9@*]+(?:[:#%/?+-][^}]*)?\})")
MAX_VALUES = 4  # literals that one variable is followed to
MAX_EXPANSIONS = 16  # of one word
MAX_CHARS = 4096  # of an expansion: PATH_MAX

Values = Mapping[str, tuple[str, ...]]


class Shell:
    """Reads every script of the capture that is in use."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._contents = capture.contents
        self._environment = capture.image.environment
        self._base = capture.image.text("WorkingDir") or "/"
        self._scripts = set(_started(capture))

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """What the script at `path` names; nothing for what is no script."""
        if not self._is_script(path):
            return
        mentions = self._contents.mentions(path, Language.SHELL)
        values = self._values(mentions)
        doubted = False
        for mention in mentions:
            texts = _expand(mention.name, values) if mention.computed else (mention.name,)
            if mention.kind == "command":
                if not texts and not doubted and not path.startswith(_SYSTEM) and _is_doubtful(mention.name):
                    doubted = True
                    yield _doubt(path, mention)
                yield from self._programs(path, mention, texts, values)
            elif mention.kind == "source":
                yield from self._sourced(path, mention, texts, values)
            elif mention.kind in ("file", "output"):
                yield from self._files(path, mention, texts)

    def _is_script(self, path: str) -> bool:
        return path in self._scripts or shebangs.language(self._contents.head(path) or b"") in SHELLS

    def _values(self, mentions: Iterable[Mention]) -> dict[str, tuple[str, ...]]:
        """The literals that each variable may have, those of the image's ENV last."""
        found: dict[str, tuple[str, ...]] = {}
        assigned: dict[str, list[str]] = {}
        found |= {name: (value,) for name, value in self._environment.items()}
        found.setdefault("PATH", (shebangs.DEFAULT_PATH,))
        for mention in mentions:
            if mention.kind == "variable":
                name, _, value = mention.name.partition("=")
                own = assigned.setdefault(name.removesuffix("+"), [])
                texts = _expand(value, found) if mention.computed else (value,)
                own += [text for text in texts if 0 < len(text) <= MAX_CHARS and text not in own]
                del own[MAX_VALUES:]
                ours = (self._environment[name],) if name in self._environment else ()
                found[name.removesuffix("+")] = (*own, *ours)
        return found

    def _programs(
        self, path: str, mention: Mention, texts: Iterable[str], values: Values
    ) -> Iterator[Claim | Doubt]:
        search = ":".join((*values["PATH"], shebangs.DEFAULT_PATH))
        for text in texts:
            name = text.split()[0] if mention.computed and text.split() else text
            if program := shebangs.find_program(self._tree, name, search, self._base):
                yield self._claim(program, path, mention, Depth.PROGRAM)

    def _sourced(
        self, path: str, mention: Mention, texts: Iterable[str], values: Values
    ) -> Iterator[Claim | Doubt]:
        for text in texts:
            # A name without a slash is looked up in PATH, by bash then also here.
            places = [self._base, paths.parent(path)]
            if "/" not in text:
                places = [*":".join(values["PATH"]).split(":"), *places]
            for place in places:
                wanted = paths.join(paths.join(self._base, place), text)
                led = self._tree.resolve(wanted)
                if led.entry and led.entry.kind is Kind.FILE:
                    self._scripts.add(led.path)
                    yield self._claim(wanted, path, mention, Depth.ALONE)
                    break

    def _files(self, path: str, mention: Mention, texts: Iterable[str]) -> Iterator[Claim | Doubt]:
        for text in texts:
            for wanted in text[:MAX_CHARS].split(":"):
                if not wanted.startswith("/"):
                    places = (paths.join(self._base, wanted), paths.join(paths.parent(path), wanted))
                    wanted = next((one for one in places if self._tree.resolve(one).entry), "")
                if not wanted or wanted.startswith(_KERNELS):
                    continue
                entry = self._tree.resolve(wanted).entry
                if entry is None or entry.path == "/":
                    # What a script is going to write needs the directory that it writes it in.
                    above = self._tree.resolve(paths.parent(paths.clean(wanted)))
                    if mention.kind == "output" and above.entry:
                        yield self._claim(above.path, path, mention, Depth.ALONE)
                elif entry.kind is Kind.FILE and entry.mode & 0o111:
                    yield self._claim(wanted, path, mention, Depth.PROGRAM)
                else:
                    yield self._claim(wanted, path, mention, Depth.LIBRARY)

    def _claim(self, wanted: str, path: str, mention: Mention, depth: Depth) -> Claim:
        return Claim(wanted, Why.IMPORTED, path, f"{path}:{mention.line}", depth, base=self._base)


def _started(capture: Capture) -> Iterator[str]:
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
        if use.use is Use.READ and not use.error and use.program in shells and use.resolved.endswith(SOURCED):
            yield use.resolved


def _expand(text: str, values: Values) -> tuple[str, ...]:
    """What `text` may stand for; empty where a value is not known."""
    pieces: list[tuple[str, ...]] = []
    at = 0
    for match in _VARIABLE.finditer(text):
        pieces.append((text[at : match.start()],))
        pieces.append(values.get(match[1] or match[2]) or ((match[3],) if match[3] else ()))
        at = match.end()
    pieces.append((text[at:],))
    if not all(pieces) or len(pieces) > 40 or any("$" in piece for part in pieces for piece in part):
        return ()
    found: list[str] = []
    for choice in product(*pieces):
        if sum(map(len, choice)) <= MAX_CHARS:
            found.append("".join(choice))
        if len(found) >= MAX_EXPANSIONS:
            break
    return tuple(dict.fromkeys(found))


def _is_doubtful(name: str) -> bool:
    return not _POSITIONAL.match(name)


def _doubt(path: str, mention: Mention) -> Doubt:
    where = f"{paths.printable(path)}:{mention.line}"
    text = f"{where} runs a command that only a run would tell: {paths.printable(mention.name[:80])}"
    return Doubt("computed-command", text, path)
