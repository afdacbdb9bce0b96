"""Names as apparmor.d(5) writes them: literally, whatever they hold, or as the glob for names of a kind."""

import hashlib
import re
from collections.abc import Iterable

from slimtrace.facts import paths
from slimtrace.facts.image import Image

LETTERS = "rwklmx"  # permissions in the order in which a rule has them; x stands for ix
PID = "@{slimtrace_pid}"  # the template defines it
NUMBER = "[0-9]*"  # begins with a digit, and goes on as it likes: there are no repetitions in these globs
_PLAIN = re.compile(rb"[A-Za-z0-9/._+:=~%-]")
_NAME_LENGTH = 100  # characters of a profile's name: the kernel makes a directory of it (NAME_MAX is 255)

_OF_PROCESS = re.compile(r"/proc/\d+(/task/\d+)?(?=/|$)")
# What of a name is another one in the next run: a UUID, a hash, a number that is long (a pid, a date) or stands
# alone (a counter); what mkstemp(3) puts at the end (6 letters and digits), or Python's tempfile (8 of them).
_MADE_UP = re.compile(
    r"(?P<any>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?<![0-9A-Za-z])[0-9a-f]{12,}(?![0-9A-Za-z]))"
    r"|(?P<random>(?:(?<=[._#~-])|(?<=tmp))[A-Za-z0-9_]{6}(?:[A-Za-z0-9_]{2})?(?=$|\.))"
    r"|(?P<number>\d{3,}|(?<![0-9A-Za-z])\d+(?![0-9A-Za-z]))"
)


def profile_name(image: Image) -> str:
    """``slimtrace-`` and the image's reference in letters, digits, dots, dashes and underscores; of one that is
    too long its beginning, and a hash of all of it."""
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", image.reference).strip("-._")
    if len(slug) > _NAME_LENGTH:
        slug = f"{slug[: _NAME_LENGTH - 9]}-{hashlib.sha256(paths.encode(image.reference)).hexdigest()[:8]}"
    return f"slimtrace-{slug or re.sub('[^0-9a-f]', '', image.id.rpartition(':')[2])[:12] or 'image'}"


def literal(path: str) -> str:
    """`path`, to be put in quotes: every byte that could mean something as three octal digits (parser_misc.c,
    processquoted; the parser itself guards what stands for a glob)."""
    raw = paths.encode(path)
    return "".join(chr(b) if _PLAIN.match(bytes((b,))) else f"\\{b:03o}" for b in raw)


def quoted(path: str) -> str:
    """The literal name in its quotes."""
    return f'"{literal(path)}"'


def permissions(letters: Iterable[str]) -> str:
    """Letters as a rule has them."""
    wanted = set(letters)
    return "".join("ix" if letter == "x" else letter for letter in LETTERS if letter in wanted)


def varying(name: str) -> str:
    """The glob for names of the kind of `name`, the last part of a path; its literal where nothing in it looks
    made up for one run."""
    found, at = "", 0
    for match in _MADE_UP.finditer(name):
        glob = NUMBER if match["number"] else "*"
        if match["random"] and not _is_random(match[0]):
            continue
        found += literal(name[at : match.start()]) + glob
        at = match.end()
    return found + literal(name[at:])


def is_varying(name: str) -> bool:
    """Whether the program would choose another name next time."""
    return varying(name) != literal(name)


def of_system(path: str) -> str:
    """A path below /proc or /sys, where numbers count processes, descriptors, processors and devices; any other
    literally."""
    if match := _OF_PROCESS.match(path):
        task = f"/task/{PID}" if match[1] else ""
        return f"/proc/{PID}{task}{_numbered(path[match.end() :])}"
    return _numbered(path) if path.startswith("/sys/") else literal(path)


def _numbered(path: str) -> str:
    """A part that is a number, or ends with one (cpu0, eth0), stands for all of its kind."""
    stems = [(part, re.sub(r"[0-9]+\Z", "", part)) for part in path.split("/")]
    return "/".join(literal(stem) + (NUMBER if stem != part else "") for part, stem in stems)


def _is_random(text: str) -> bool:
    """Whether letters look drawn by lot: of two kinds at least, and no word with a number behind."""
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return kinds >= 2 and not re.fullmatch(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*", text)
