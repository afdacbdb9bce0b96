"""Paths as apparmor.d(5) writes them: literally, whatever they hold, or as a glob for all paths of a kind."""

import hashlib
import re
from collections.abc import Iterable

from slimtrace.facts import paths
from slimtrace.facts.image import Image

LETTERS = "rwklmx"  # permissions in the order of a rule; x stands for ix
PID_VARIABLE = "@{slimtrace_pid}"  # the template defines it
NUMBER_GLOB = "[0-9]*"  # a digit, then anything: AppArmor's globs have no repetition
_PLAIN = re.compile(rb"[A-Za-z0-9/._+:=~%-]")
_NAME_LENGTH = 100  # characters of a profile's name: the kernel makes a directory of it (NAME_MAX is 255)

_PROCESS_DIRECTORY = re.compile(r"/proc/\d+(/task/\d+)?(?=/|$)")
# The part of a name that differs in the next run: a UUID, a hash, a number that is long (a pid, a date) or
# stands alone (a counter); what mkstemp(3) puts at the end (6 letters and digits), or Python's tempfile (8 of
# them).
_VOLATILE_PART = re.compile(
    r"(?P<any>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?<![0-9A-Za-z])[0-9a-f]{12,}(?![0-9A-Za-z]))"
    r"|(?P<random>(?:(?<=[._#~-])|(?<=tmp))[A-Za-z0-9_]{6}(?:[A-Za-z0-9_]{2})?(?=$|\.))"
    r"|(?P<number>\d{3,}|(?<![0-9A-Za-z])\d+(?![0-9A-Za-z]))"
)


def profile_name(image: Image) -> str:
    """``slimtrace-`` and the image's reference in letters, digits, dots, dashes and underscores; of a reference
    that is too long the beginning, and a hash of the whole."""
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", image.reference).strip("-._")
    if len(slug) > _NAME_LENGTH:
        slug = f"{slug[: _NAME_LENGTH - 9]}-{hashlib.sha256(paths.encode(image.reference)).hexdigest()[:8]}"
    return f"slimtrace-{slug or re.sub('[^0-9a-f]', '', image.id.rpartition(':')[2])[:12] or 'image'}"


def literal(path: str) -> str:
    """`path`, to be put in quotes: every byte that could have a meaning as three octal digits (parser_misc.c,
    processquoted; the parser itself escapes the glob characters among them)."""
    raw = paths.encode(path)
    return "".join(chr(b) if _PLAIN.match(bytes((b,))) else f"\\{b:03o}" for b in raw)


def quoted(path: str) -> str:
    """The literal `path` in quotes."""
    return f'"{literal(path)}"'


def permissions(letters: Iterable[str]) -> str:
    """The letters in the order and spelling of a rule."""
    wanted = set(letters)
    return "".join("ix" if letter == "x" else letter for letter in LETTERS if letter in wanted)


def volatile_glob(name: str) -> str:
    """The glob for names like `name`, the last part of a path; its literal where no part of it looks made up
    for one run."""
    found, at = "", 0
    for match in _VOLATILE_PART.finditer(name):
        glob = NUMBER_GLOB if match["number"] else "*"
        if match["random"] and not _is_random(match[0]):
            continue
        found += literal(name[at : match.start()]) + glob
        at = match.end()
    return found + literal(name[at:])


def is_volatile(name: str) -> bool:
    """Whether the program would choose another name next time."""
    return volatile_glob(name) != literal(name)


def kernel_path_glob(path: str) -> str:
    """The glob for a path below /proc or /sys, where numbers count processes, descriptors, processors and
    devices; the literal of any other path."""
    if match := _PROCESS_DIRECTORY.match(path):
        task = f"/task/{PID_VARIABLE}" if match[1] else ""
        return f"/proc/{PID_VARIABLE}{task}{_numbered(path[match.end() :])}"
    return _numbered(path) if path.startswith("/sys/") else literal(path)


def _numbered(path: str) -> str:
    """The glob for a path in which a part that is a number, or ends with one (cpu0, eth0), stands for any
    number."""
    stems = [(part, re.sub(r"[0-9]+\Z", "", part)) for part in path.split("/")]
    return "/".join(literal(stem) + (NUMBER_GLOB if stem != part else "") for part, stem in stems)


def _is_random(text: str) -> bool:
    """Whether the characters look random: of two kinds at least, and no word with a number behind."""
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return kinds >= 2 and not re.fullmatch(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*", text)
