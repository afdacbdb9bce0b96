"""The Dockerfile instruction that made a line of an image's history; a part of `dockerfile`.

The forms are those that the builders write: Docker's classic one (moby builder/dockerfile/dispatchers.go and
internals.go) marks what is no RUN with ``#(nop)``, BuildKit (frontend/dockerfile/dockerfile2llb/convert.go)
marks what made a layer with ``# buildkit`` at the end. Both write values without the quotes that they had;
where that leaves a value open, the image's configuration has the result.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.reason.image.go_quoting import RUNE, STRING, strings, unquoted

DEFAULT_SHELL = ("/bin/sh", "-c")
KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_NOP = "#(nop)"
_BUILDKIT = "# buildkit"
_KEYWORD = re.compile(rf"({'|'.join(KEYWORDS)})(?:[ \t]+|$)")
_ARGUMENTS = re.compile(r"\|(\d{1,4}) ")
_COPIED_BY_HASH = re.compile(r"(?:(--\S+) )?(?:(file|dir|multi):([0-9a-f]{64})\S*)\s+in\s+(.*)", re.S)
_GUESS = "where one value ends and the next begins is a guess"
_NEXT_NAME = re.compile(r"\s([^\s=\"']+)=")
_PLAIN = re.compile(r"[\w./:@%+,=~-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_OPTION_VALUE = re.compile(f"{STRING}|{RUNE}|\\d+")
_HEREDOC = re.compile(r"<<-?\s*[\"']?[A-Za-z_]")
_HEALTHCHECK_OPTIONS = ("interval", "timeout", "start-period", "start-interval")
_CONTINUATION = re.compile(r"\s*(?:&&|\|)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction as the lines of a Dockerfile, and `notes` on what the history leaves open. `keyword` is
    empty for a line that no Dockerfile made."""

    keyword: str
    text: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class HistoryReader:
    """Reads a history line by line, oldest first; SHELL and ARG of one line hold for the next ones."""

    image: Image
    shell: tuple[str, ...] = DEFAULT_SHELL
    arguments: dict[str, str] = field(default_factory=dict)

    def read(self, created_by: str) -> Instruction:
        """The instruction of one line."""
        text = created_by.strip()
        buildkit = text.endswith(_BUILDKIT)
        # Of a here-document (RUN <<EOF) the last line break is a part of the command.
        text = text.removesuffix(_BUILDKIT).rstrip(" ")
        before, nop, rest = text.partition(_NOP)
        if nop and before.strip() in (" ".join(self.shell), " ".join(DEFAULT_SHELL), *self._new_shell(rest)):
            return self._of_keyword(rest.strip(), buildkit)
        if match := _KEYWORD.match(text):
            if match[1] != "RUN":
                return self._of_keyword(text, buildkit)
            return self._run_instruction(text[match.end() :], exec_form=buildkit)
        if self._is_shell(text) or _ARGUMENTS.match(text):
            return self._run_instruction(text, exec_form=True)
        # In a history of the classic builder any other line is a RUN without a shell, or that of docker commit,
        # which leaves the container's command; other builders write lines of their own.
        classic = any(_NOP in entry.created_by for entry in self.image.history)
        return self._run_instruction(text, exec_form=True) if text and classic else Instruction("", text)

    def _new_shell(self, rest: str) -> tuple[str, ...]:
        """The shell that a SHELL instruction sets: the classic builder writes it in front of that very line."""
        words = rest.strip()
        return (words[7:-1],) if words.startswith("SHELL [") and words.endswith("]") else ()

    def _is_shell(self, text: str) -> bool:
        return any(text.startswith(" ".join(shell) + " ") for shell in (self.shell, DEFAULT_SHELL))

    def _of_keyword(self, text: str, buildkit: bool) -> Instruction:
        match = _KEYWORD.match(text)
        if match is None:
            return Instruction("", text)
        keyword, rest = match[1], text[match.end() :].strip()
        if keyword in ("ENV", "LABEL"):
            known = self.image.environment if keyword == "ENV" else dict(self.image.config.get("Labels") or {})
            pairs, sure = split_pairs(rest, known)
            notes = () if sure else (_GUESS,)
            return Instruction(keyword, " ".join((keyword, *(_assignment(*pair) for pair in pairs))), notes)
        if keyword in ("ADD", "COPY"):
            return _copy(keyword, rest, buildkit)
        if keyword == "ARG":
            return self._arg_instruction(rest)
        if keyword == "SHELL":
            self.shell = self._shell_words(rest)
            return Instruction(keyword, f"SHELL {json_words(self.shell)}")
        if keyword in ("CMD", "ENTRYPOINT"):
            exec_form = rest.startswith("[") and rest.endswith("]")
            return Instruction(keyword, f"{keyword} {json_words(strings(rest)) if exec_form else rest}")
        if keyword == "HEALTHCHECK":
            return _healthcheck(rest)
        if keyword == "EXPOSE":
            return Instruction(keyword, f"EXPOSE {_exposed_ports(rest)}")
        if keyword == "VOLUME":
            return self._volume_instruction(rest)
        if keyword in ("USER", "WORKDIR", "STOPSIGNAL"):
            return Instruction(keyword, f"{keyword} {_escaped(_without_brackets(rest))}")
        return Instruction(keyword, f"{keyword} {rest}")  # MAINTAINER, ONBUILD

    def _run_instruction(self, text: str, exec_form: bool) -> Instruction:
        """The RUN whose shell and command, or whose words, are in `text`. Without `exec_form` a text that does
        not begin with a shell is a shell's command all the same (as kaniko writes it)."""
        notes: list[str] = []
        if match := _ARGUMENTS.match(text):
            build_arguments, text = self._build_arguments(text[match.end() :], int(match[1]))
            notes += [
                f"with build argument {name}={value}"
                for name, value in build_arguments
                if self.arguments.get(name) != value
            ]
        for shell in (self.shell, DEFAULT_SHELL):
            if text.startswith(" ".join(shell) + " "):
                return Instruction("RUN", _shell_run(text[len(" ".join(shell)) + 1 :]), tuple(notes))
        if not exec_form:
            return Instruction("RUN", _shell_run(text), tuple(notes))
        notes.append("run without a shell, or by docker commit: where its words begin and end is a guess")
        return Instruction("RUN", f"RUN {json_words(text.split())}", tuple(notes))

    def _build_arguments(self, text: str, count: int) -> tuple[list[tuple[str, str]], str]:
        """The `count` build arguments that `text` begins with, and what follows them."""
        found: list[tuple[str, str]] = []
        shells = [text.find(f" {' '.join(shell)} ") for shell in (self.shell, DEFAULT_SHELL)]
        shell = min((place for place in shells if place >= 0), default=-1)
        at = 0
        for left in range(count, 0, -1):
            equals = text.find("=", at)
            name, start = text[at:equals], equals + 1
            if equals < 0 or not _NAME.fullmatch(name):
                break
            known = self.arguments.get(name)
            end = start + len(known or "")
            if known is None or not text.startswith(f"{known} ", start):
                following = _NEXT_NAME.search(text, start) if left > 1 else None
                ends = [following.start()] if following else []
                ends += [shell if shell >= start else text.find(" ", start)]
                end = min((end for end in ends if end >= 0), default=len(text))
            found.append((name, text[start:end]))
            at = end + 1
        return found, text[at:]

    def _arg_instruction(self, rest: str) -> Instruction:
        words = rest.split(" ")
        several = len(words) > 1 and all("=" in word for word in words)
        out = []
        for item in words if several else [rest]:
            name, equals, value = item.partition("=")
            if equals:
                self.arguments[name] = value
            out.append(_assignment(name, value) if equals else name)
        return Instruction("ARG", " ".join(("ARG", *out)))

    def _shell_words(self, rest: str) -> tuple[str, ...]:
        if rest.startswith('["'):
            return tuple(strings(rest))
        listed = _without_brackets(rest)
        final = self.image.strings("Shell")
        return final if " ".join(final) == listed else tuple(listed.split())

    def _volume_instruction(self, rest: str) -> Instruction:
        if rest.startswith('["'):
            return Instruction("VOLUME", f"VOLUME {json_words(map(_escaped, strings(rest)))}")
        names = _known_words(_without_brackets(rest).split(" "), self.image.volumes)
        if all(_PLAIN.fullmatch(name) for name in names):
            return Instruction("VOLUME", " ".join(("VOLUME", *names)))
        return Instruction("VOLUME", f"VOLUME {json_words(map(_escaped, names))}", (_GUESS,))


def split_pairs(text: str, known: Mapping[str, str]) -> tuple[list[tuple[str, str]], bool]:
    """``A=b c D=e`` as pairs, and whether the split is sure. `known` are the image's values by name, unless
    later lines have changed them: they show which spaces are a value's own."""
    found: list[tuple[str, str]] = []
    sure = True
    at = 0
    while at < len(text):
        equals = text.find("=", at)
        if equals < 0:
            return ([*found, (text[at:], "")], False)
        name, start = text[at:equals], equals + 1
        value = known.get(name)
        end = start + len(value or "")
        if value is None or not text.startswith(value, start) or not (end == len(text) or text[end].isspace()):
            following = _NEXT_NAME.search(text, start)
            sure = sure and following is None
            end = following.start() if following else len(text)
        found.append((name, text[start:end]))
        at = end + 1
    return found, sure


def json_words(words: Iterable[str]) -> str:
    """The words as the exec form: a JSON list of printable characters alone."""
    text = json.dumps(list(words), ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _assignment(name: str, value: str) -> str:
    return f"{name if _PLAIN.fullmatch(name) else _quoted(name)}={_quoted(value)}"


def _quoted(value: str) -> str:
    """`value` in double quotes where it needs them, so that the builder reads it unchanged."""
    if _PLAIN.fullmatch(value):
        return value
    escaped = re.sub(r'([\\"$])', r"\\\1", value)
    return f'"{escaped}"'


def _escaped(value: str) -> str:
    """`value` escaped for an instruction in which the builder expands variables and removes quotes."""
    return re.sub(r"""([\\"'$])""", r"\\\1", value)


def _without_brackets(text: str) -> str:
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _known_words(pieces: Sequence[str], known: Iterable[str]) -> list[str]:
    """`pieces` of a text that was split at its spaces, joined again where they make a known word."""
    names, out, at = frozenset(known), [], 0
    longest = min(max((name.count(" ") for name in names), default=0), 64) + 1
    while at < len(pieces):
        ends = range(min(len(pieces), at + longest), at, -1)
        end = next((end for end in ends if " ".join(pieces[at:end]) in names), at + 1)
        out.append(" ".join(pieces[at:end]))
        at = end
    return out


def _exposed_ports(rest: str) -> str:
    """The ports of EXPOSE as any builder writes them: ``map[80/tcp:{}]``, ``[80/tcp 53/udp]`` or
    ``80 53/udp``."""
    if rest.startswith("map[") and rest.endswith("]"):
        return " ".join(port.partition(":")[0] for port in rest[4:-1].split())
    return _without_brackets(rest)


def _copy(keyword: str, rest: str, buildkit: bool) -> Instruction:
    if match := _COPIED_BY_HASH.fullmatch(rest):
        flag = f"{match[1]} " if match[1] else ""
        what = {"file": "a file", "dir": "a directory", "multi": "several files"}[match[2]]
        note = f"the source, {what}, is known by its hash only: sha256:{match[3]}"
        return Instruction(keyword, f"{keyword} {flag}{match[3][:12]} {match[4].strip()}", (note,))
    note = "the sources were relative to a build context or another stage: neither is part of the image"
    return Instruction(keyword, f"{keyword} {rest}", (note,) if buildkit else ())


def _healthcheck(rest: str) -> Instruction:
    """``&{["CMD-SHELL" "curl x"] "30s" "0s" "0s" '\\x03'}``: the command, then interval, timeout, start period,
    with later builders start interval, and the retries."""
    command, end, options = rest.removeprefix("&{[").removesuffix("}").rpartition("] ")
    values = [_option_value(item) for item in _OPTION_VALUE.findall(options)]
    if not rest.startswith("&{[") or not end or len(values) not in (4, 5):
        return Instruction("HEALTHCHECK", f"HEALTHCHECK {rest}")
    kind, *words = strings(command) or ("NONE",)
    if kind == "NONE":
        return Instruction("HEALTHCHECK", "HEALTHCHECK NONE")
    names = (*_HEALTHCHECK_OPTIONS[: len(values) - 1], "retries")
    flags = [f"--{name}={value}" for name, value in zip(names, values, strict=True) if value not in ("0s", "0")]
    command_text = json_words(words) if kind == "CMD" else " ".join(words)
    return Instruction("HEALTHCHECK", " ".join(("HEALTHCHECK", *flags, "CMD", command_text)))


def _option_value(item: str) -> str:
    if item.startswith('"'):
        return unquoted(item)
    return str(ord(unquoted(item)[:1] or "\0")) if item.startswith("'") else item


def _shell_run(command: str) -> str:
    """RUN with a shell's command. One of several lines was a here-document, unless its lines show that they
    belong together: a builder joins lines that a backslash continues."""
    command = command.strip(" ")
    if "\n" not in command:
        return f"RUN {command}"
    lines = command.rstrip("\n").split("\n")
    if _HEREDOC.search(lines[0]):
        return "\n".join((f"RUN {lines[0]}", *lines[1:]))
    if any(_CONTINUATION.match(line) or before.endswith("\\") for before, line in pairwise(lines)):
        joined = [line if line.endswith("\\") else f"{line.rstrip()} \\" for line in lines[:-1]]
        return "\n".join((f"RUN {joined[0]}", *joined[1:], lines[-1]))
    used = frozenset(lines)
    delimiter = next(delimiter for delimiter in _heredoc_delimiters() if delimiter not in used)
    return "\n".join((f"RUN <<{delimiter}", *lines, delimiter))


def _heredoc_delimiters() -> Iterable[str]:
    yield "EOF"
    number = 0
    while True:
        number += 1
        yield f"EOF{number}"


def printable_line(line: str) -> str:
    """A line of a Dockerfile with printable characters and tabs alone."""
    return "\t".join(printable(piece) for piece in line.split("\t"))


__all__ = [
    "DEFAULT_SHELL",
    "KEYWORDS",
    "HistoryReader",
    "Instruction",
    "json_words",
    "printable_line",
    "split_pairs",
]
