"""Shell scripts: the commands, scripts and files that they name.

Kinds of mention:

- ``command``: the first word of a simple command, or of one that another command runs (exec, env, xargs,
  gosu…), or in the text of a trap, an eval or a ``sh -c``. No function of this file, no built-in command.
- ``source``: the file of ``.`` or ``source``.
- ``file``: a word that is an absolute path, or the one after ``=`` in an option; a relative one that ends as
  scripts and settings do.
- ``module``: what a Python is started with by ``-m``.
- ``output``: an absolute path to which output is redirected.
- ``variable``: ``NAME=value`` as it is assigned, the value a literal or with expansions.

`computed` names have expansions in them, as they are written; `lazy` is never set: a function is there to be
called. The built-in commands are those of POSIX (XCU 2.14 and 1.6), dash(1) and bash(1).
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS, SOURCE_LIMIT
from slimtrace.facts.sources.shell.syntax import (
    Command,
    Document,
    Function,
    Redirect,
    Scanner,
    starts_with_assignment,
)
from slimtrace.facts.sources.shell.words import Word

MAX_WRAPPED = 12  # env timeout nice…: commands that run one another
MAX_WITHIN = 5  # a trap in an eval in a sh -c…

_BUILTINS_WORDS = """
. : [ [[ alias bg bind break builtin caller cd chdir command compgen complete compopt continue declare dirs
disown echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout
mapfile popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap
true type typeset ulimit umask unalias unset wait
"""
_BUILTINS = frozenset(_BUILTINS_WORDS.split())
# Commands whose operand is a command: the options that take a value of their own, and how many operands come
# before it. From their manual pages: env(1), xargs(1), nice(1), timeout(1), setpriv(1), chroot(8), flock(1)…;
# su-exec and gosu take a user first (their README).
_WRAPPERS: dict[str, tuple[str, int]] = {
    "exec": ("-a", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "env": ("-u --unset -C --chdir", 0),
    "nohup": ("", 0),
    "nice": ("-n", 0),
    "ionice": ("-c -n", 0),
    "time": ("-f -o", 0),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e", 0),
    "xargs": ("-a -d -E -I -i -L -n -P -s --arg-file --delimiter --max-args --max-procs", 0),
    "sudo": ("-u -g -h -p -C -r -t -T -U -D -R", 0),
    "doas": ("-u -C", 0),
    "su-exec": ("", 1),
    "gosu": ("", 1),
    "chroot": ("", 1),
    "timeout": ("-k -s --kill-after --signal", 1),
    "flock": ("-w -E", 1),
    "chpst": ("-u -U -/ -n -l -L -m -d -o -p -f -c -e -b", 0),
    "tini": ("-p -e", 0),
    "dumb-init": ("-r", 0),
    "setpriv": (
        "--reuid --regid --ruid --euid --rgid --egid --groups --bounding-set --inh-caps --ambient-caps "
        "--pdeathsig",
        0,
    ),
    "setarch": ("", 1),
    "strace": ("-o -e -p -s", 0),
    "unshare": ("-S -G", 0),
}
# What runs its operand itself, not through a shell that has the built-in commands.
_INSIDE_SHELL = frozenset(("command", "builtin", "exec", "time"))
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "su", "runuser"))
_ABSOLUTE = re.compile(r"/[\w.@%+,:~/$(){}-]*")
_RELATIVE = re.compile(
    r"(?:[\w@%+-][\w@%.+-]*/|\.{1,2}/)*[\w@%+-][\w@%.+-]*"
    r"\.(?:py|pl|rb|js|mjs|cjs|php|jar|sh|bash|sql|conf|cfg|cnf|ini|toml|ya?ml|json|xml|lua|env|properties|ru)"
)
_PYTHON = re.compile(r"python[\d.]*")
_OPTION_PATH = re.compile(r"-[\w-]*=?(/.*)", re.DOTALL)


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the script open as `stream` names, in the order of its lines."""
    return in_text(paths.decode(stream.read(SOURCE_LIMIT)))


def in_text(text: str) -> tuple[Mention, ...]:
    """What the shell text `text` names."""
    reader = _Reader()
    reader.read(text)
    return reader.mentions()


class _Reader:
    def __init__(self) -> None:
        self._found: dict[Mention, None] = {}
        self._functions: set[str] = set()
        self._forced: set[Mention] = set()  # commands that a function of the same name does not hide
        self._todo: deque[tuple[str, int, int, bool]] = deque()

    def mentions(self) -> tuple[Mention, ...]:
        found = (
            one
            for one in self._found
            if one.kind != "command" or one.name not in self._functions or one in self._forced
        )
        return tuple(sorted(found, key=lambda one: one.line))

    def read(self, text: str) -> None:
        self._todo.append((text, 1, 0, False))
        while self._todo and len(self._found) < MAX_MENTIONS:
            text, line, depth, body = self._todo.popleft()
            for item in Scanner(text, line, body).items():
                if isinstance(item, Command):
                    self._read_command(item.words, depth)
                elif isinstance(item, Redirect):
                    kind = "file" if item.operator in ("<", "<>") else "output"
                    self._name_path(kind, item.target)
                elif isinstance(item, Function):
                    self._functions.add(item.name)
                elif isinstance(item, Document) and depth < MAX_WITHIN:
                    self._todo.append((item.text, item.line, depth + 1, True))
                if len(self._found) >= MAX_MENTIONS:
                    return

    def _add(self, kind: str, word: Word, name: str = "", forced: bool = False) -> None:
        mention = Mention(kind, name or word.text, word.line, computed=word.computed)
        self._found.setdefault(mention)
        if forced:
            self._forced.add(mention)

    def _read_command(self, words: tuple[Word, ...], depth: int) -> None:
        for word in words:
            self._name_path("file", word)
        begin = 0
        while begin < len(words) and _assigns(words[begin]):
            self._add("variable", words[begin])
            begin += 1
        self._read_words(words[begin:], depth)

    def _read_words(self, words: tuple[Word, ...], depth: int) -> None:
        """A command and its arguments, and what it runs in its turn."""
        outside = forced = False
        for _ in range(MAX_WRAPPED):
            if not words:
                return
            name = words[0].text
            base = name if words[0].computed else paths.name(name) or name
            if name and (outside or words[0].computed or name not in _BUILTINS):
                self._add("command", words[0], forced=forced)
            if words[0].computed:
                return
            self._read_arguments(base, words, depth)
            if base not in _WRAPPERS:
                return
            outside = base not in _INSIDE_SHELL or outside
            forced = True
            words = _operand(base, words[1:])

    def _read_arguments(self, name: str, words: tuple[Word, ...], depth: int) -> None:
        """The arguments of `name` that mean more than a file."""
        rest = words[1:]
        if name in (".", "source") and rest:
            self._add("source", rest[0])
        elif name in ("export", "readonly", "declare", "typeset", "local"):
            for word in rest:
                if _assigns(word):
                    self._add("variable", word)
        elif name == "trap" and rest:
            code = rest[1] if rest[0].text == "--" and len(rest) > 1 else rest[0]
            self._read_code(code, depth)
        elif name == "eval":
            for word in rest:
                self._read_code(word, depth)
        elif name in _SHELLS:
            self._read_shell(rest, depth)
        elif _PYTHON.fullmatch(name):
            for at, word in enumerate(rest[:-1]):
                if word.text == "-m" and not rest[at + 1].computed:
                    self._add("module", rest[at + 1])
                if not word.text.startswith("-"):
                    break
        elif name == "find":
            for at, word in enumerate(rest[:-1]):
                if word.text in ("-exec", "-execdir", "-ok", "-okdir"):
                    self._read_words(rest[at + 1 : at + 2], depth)
        elif name == "start-stop-daemon":
            for at, word in enumerate(rest[:-1]):
                if word.text in ("--exec", "-x", "--startas", "-a"):
                    self._read_words(rest[at + 1 : at + 2], depth)

    def _read_shell(self, rest: tuple[Word, ...], depth: int) -> None:
        """``sh -c 'code'``, or ``sh script``."""
        for at, word in enumerate(rest):
            if word.text.startswith("-") and not word.text.startswith("--") and word.text.endswith("c"):
                for code in rest[at + 1 : at + 2]:
                    self._read_code(code, depth)
                return
            if not word.text.startswith("-"):
                self._add("source", word)
                return

    def _read_code(self, word: Word, depth: int) -> None:
        # An expansion in it is read as one: what it stands for is not known here.
        if depth < MAX_WITHIN and (not word.computed or " " in word.text.strip()):
            self._todo.append((word.text, word.line, depth + 1, False))

    def _name_path(self, kind: str, word: Word) -> None:
        text = word.text
        if text.startswith("-") and (option := _OPTION_PATH.fullmatch(text)):
            text = option[1]
        elif "=" in text and starts_with_assignment(text):
            text = text.partition("=")[2]
        if not word.computed and len(text) < 500 and _RELATIVE.fullmatch(text):
            self._add(kind, word, text)
            return
        if not text.startswith(("/", "$")) or len(text) < 2 or text.startswith("/dev/"):
            return
        if (text[0] == "/" and _ABSOLUTE.fullmatch(text)) or (word.computed and "/" in text):
            self._add(kind, word, text)


def _assigns(word: Word) -> bool:
    return starts_with_assignment(word.text)


def _operand(name: str, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The command that `name` runs, and its arguments."""
    valued, before = _WRAPPERS[name]
    takes_value = valued.split()
    at = 0
    while at < len(words):
        text = words[at].text
        if text == "--":
            at += 1
            break
        if text.startswith("-") and len(text) > 1 and not words[at].computed:
            at += 2 if text in takes_value else 1
        elif name in ("env", "sudo", "doas", "command", "exec") and _assigns(words[at]):
            at += 1
        else:
            break
    if name == "command" and any(word.text in ("-v", "-V") for word in words[:at]):
        return ()  # it asks for it, and may have it or not
    return words[at + before :]


def programs(text: str) -> Iterator[str]:
    """The commands that the shell text `text` names literally, in order."""
    return (one.name for one in in_text(text) if one.kind == "command" and not one.computed)
