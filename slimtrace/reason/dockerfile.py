"""A Dockerfile for an image that came without one, from its history.

The history keeps each instruction's effect, not its source: what COPY copied is known by hash at best, and
the base image's own instructions stand at the beginning like any others. Comments say so.
"""

import json
import re

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.facts.paths import printable

_SHELL = "/bin/sh -c "
_NOP = re.compile(r"^/bin/sh -c #\(nop\)\s*")
_BUILD_ARGS = re.compile(r"^(?:RUN )?\|(\d+) ")
_COPY = re.compile(r"^(ADD|COPY) (?:(--\S+) )?(?:(?:file|dir|multi):([0-9a-f]{64})\S*)\s+in\s+(.*?)\s*$", re.S)
_INSTRUCTION = re.compile(
    r"^(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL"
    r"|USER|VOLUME|WORKDIR)(?=\s|$)"
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORDS = re.compile(r'^(CMD|ENTRYPOINT|SHELL|VOLUME|ADD|COPY|RUN) \["', re.S)
_EXPOSE_MAP = re.compile(r"^EXPOSE map\[(.*)\]$")
_LIST = re.compile(r"^(USER|WORKDIR|STOPSIGNAL|EXPOSE|VOLUME) \[(.*)\]$", re.S)


def reverse(image: Image) -> str:
    """The Dockerfile, ending in a newline. A line that cannot stand as an instruction becomes a comment."""
    lines = [
        f"# Reconstructed by slimtrace from the history of {printable(image.reference)}",
        f"# {image.id}",
        "# The history does not say where the base image ends: its own instructions come first.",
    ]
    for number, entry in enumerate(image.history):
        lines += _lines(entry, first=number == 0)
    if not any(line.startswith("FROM ") for line in lines):
        lines.insert(3, "FROM scratch")
    if not image.history:
        lines += _from_config(image)
    return "\n".join(lines) + "\n"


def _lines(entry: HistoryEntry, first: bool) -> list[str]:
    text = entry.created_by.strip()
    found = []
    if entry.comment.startswith(("Imported from", "imported from")) or (first and not text):
        origin = printable(entry.comment) or "a layer of unknown making"
        found += [
            f"# {origin}, {entry.size} bytes: not known further",
            "FROM scratch" if first else "# (imported over what was there)",
        ]
        if not text:
            return found
    if not text:
        return [*found, f"# a layer of {entry.size} bytes whose history says nothing"]
    instruction, notes = _instruction(text)
    size = [f"# {entry.size} bytes"] if entry.size else []
    return [*found, "", *size, *notes, instruction]


def _instruction(text: str) -> tuple[str, list[str]]:
    """The Dockerfile instruction for one line of history, and comments to go above it."""
    buildkit = text.endswith("# buildkit")
    text = text.removesuffix("# buildkit").rstrip()
    notes: list[str] = []
    nop = _NOP.match(text)
    if nop:
        text = text[nop.end() :]
    elif match := _BUILD_ARGS.match(text):
        arguments, text = _build_arguments(text[match.end() :], int(match[1]))
        notes += [f"# with build argument {printable(argument)}" for argument in arguments]
        text = f"RUN {text.removeprefix(_SHELL)}"
    elif text.startswith(_SHELL):
        text = f"RUN {text.removeprefix(_SHELL)}"
    elif text.startswith(f"RUN {_SHELL}"):
        text = f"RUN {text.removeprefix('RUN ' + _SHELL)}"
    if match := _COPY.match(text):
        flag = f"{match[2]} " if match[2] else ""
        notes.append(f"# the source is known by its hash only: sha256:{match[3]}")
        text = f"{match[1]} {flag}{match[3][:12]} {match[4]}"
    elif buildkit and text.startswith(("COPY ", "ADD ")):
        notes.append("# the sources were relative to a build context that is not part of the image")
    if not _INSTRUCTION.match(text):
        # Made by docker commit, or by another builder: say what is known, promise nothing.
        return _comment(text), notes
    return _continued(_normal(text)), notes


def _build_arguments(text: str, count: int) -> tuple[list[str], str]:
    """The `count` build arguments at the start of `text`, and what follows. Values may hold spaces: the last
    one ends where the shell begins."""
    head, shell, command = text.partition(_SHELL)
    if not shell:
        return [], text
    names = re.split(r"\s+(?=[A-Za-z_][A-Za-z0-9_]*=)", head.strip())
    return names[:count] if count else [], command


def _normal(text: str) -> str:
    """Spellings that only occur in a history, turned back into what a Dockerfile has."""
    if match := _EXPOSE_MAP.match(text):
        return "EXPOSE " + " ".join(port.partition(":")[0] for port in match[1].split())
    if (match := _LIST.match(text)) and not match[2].startswith('"'):
        return f"{match[1]} {match[2]}"
    if _WORDS.match(text) and text.endswith("]"):
        # The classic builder prints a Go list, without commas: as it is, it would be read as a shell command.
        keyword, _, words = text.partition(" ")
        return f"{keyword} [{', '.join(_QUOTED.findall(words))}]"
    if text.startswith(("ENV ", "LABEL ")):
        keyword, _, pair = text.partition(" ")
        name, equals, value = pair.partition("=")
        if equals and " " in value and value[:1] not in "\"'" and not re.search(r"\s[\w.-]+=", value):
            return f"{keyword} {name}={json.dumps(value, ensure_ascii=False)}"
    if match := re.match(r'^(HEALTHCHECK) &\{\["(CMD|CMD-SHELL|NONE)"\s*(.*?)\]\s*(.*)\}$', text, re.S):
        return _healthcheck(match[2], match[3], match[4])
    return text


def _healthcheck(kind: str, words: str, times: str) -> str:
    """A HEALTHCHECK as Go prints its structure: the command, then interval, timeout, start period, retries."""
    if kind == "NONE":
        return "HEALTHCHECK NONE"
    options = []
    given = [word.strip('"') for word in times.split()]
    for name, value in zip(("interval", "timeout", "start-period", "retries"), given, strict=False):
        if value not in ("0s", "0", "'\\x00'"):
            code = re.fullmatch(r"'\\x([0-9a-f]{2})'", value)
            options.append(f"--{name}={int(code[1], 16) if code else value}")
    if kind == "CMD":
        command = "[" + ", ".join(_QUOTED.findall(words)) + "]"
    else:
        command = words.strip().strip('"').replace('\\"', '"')
    return " ".join(["HEALTHCHECK", *options, "CMD", command])


def _continued(text: str) -> str:
    """A text of several lines, with the backslashes that the Dockerfile must have had."""
    lines = [line.rstrip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    whole = [line if line.endswith("\\") else f"{line} \\" for line in lines[:-1]]
    return "\n".join([*(_safe(line) for line in whole), _safe(lines[-1])])


def _safe(line: str) -> str:
    return printable(line.replace("\t", "    "))


def _comment(text: str) -> str:
    return "\n".join(f"# {_safe(line)}" for line in text.split("\n") if line.strip())


def _from_config(image: Image) -> list[str]:
    """For an image without any history: what its configuration says."""
    lines = [f"ENV {name}={json.dumps(value)}" for name, value in image.environment.items()]
    if image.text("WorkingDir"):
        lines.append(f"WORKDIR {_safe(image.text('WorkingDir'))}")
    if image.text("User"):
        lines.append(f"USER {_safe(image.text('User'))}")
    for key in ("Entrypoint", "Cmd"):
        if image.strings(key):
            lines.append(f"{key.upper()} {json.dumps(list(image.strings(key)))}")
    return lines
