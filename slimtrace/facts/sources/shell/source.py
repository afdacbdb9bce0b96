"""Shell scripts: the commands, scripts and files that they name.

Kinds of mention:

- ``command``: the first word of a simple command, or of one that another command runs (exec, env, xargs,
  gosu…), also in the text of a trap, an eval or a ``sh -c``; without functions of this file and built-in
  commands.
- ``source``: the file of ``.`` or ``source``, or the script that a shell is started with.
- ``file``: an absolute path that is a word, or stands after ``=`` in an option; a relative path with the suffix
  of a script or configuration file.
- ``module``: the module in ``python -m``.
- ``output``: a path to which output is redirected.
- ``variable``: an assignment ``NAME=value``, the value a literal or with expansions.

`computed` names have expansions in them, as they are written. `lazy` is never set: a script's functions are
there to be called. The built-in commands are those of POSIX (XCU 2.14 and 1.6), dash(1) and bash(1).
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
    Function,
    HereDocument,
    Redirect,
    Scanner,
    starts_with_assignment,
)
from slimtrace.facts.sources.shell.words import Word

MAX_WRAPPERS = 12  # commands that run one another (env timeout nice…)
MAX_NESTED_TEXTS = 5  # nested shell texts (a trap in an eval in a sh -c…)

_BUILTIN_WORDS = """
. : [ [[ alias bg bind break builtin caller cd chdir command compgen complete compopt continue declare dirs
disown echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout
mapfile popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap
true type typeset ulimit umask unalias unset wait
"""
_BUILTINS = frozenset(_BUILTIN_WORDS.split())
# Commands with a command as their operand: the options that have a value in the next word, and how many
# operands come before the command. From their manual pages: env(1), xargs(1), nice(1), timeout(1), setpriv(1),
# chroot(8), flock(1)…; su-exec and gosu take a user before it (their README).
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
# Wrappers whose operand may be a built-in command: the shell itself runs it.
_KEEPS_BUILTINS = frozenset(("command", "builtin", "exec", "time"))
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "su", "runuser"))
_ABSOLUTE_PATH = re.compile(r"/[\w.@%+,:~/$(){}-]*")
_RELATIVE_FILE = re.compile(
    r"(?:[\w@%+-][\w@%.+-]*/|\.{1,2}/)*[\w@%+-][\w@%.+-]*"
    r"\.(?:py|pl|rb|js|mjs|cjs|php|jar|sh|bash|sql|conf|cfg|cnf|ini|toml|ya?ml|json|xml|lua|env|properties|ru)"
)
_PYTHON = re.compile(r"python[\d.]*")
_OPTION_PATH = re.compile(r"-[\w-]*=?(/.*)", re.DOTALL)


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the script open as `stream` names, in the order of its lines."""
    return mentions_in(paths.decode(stream.read(SOURCE_LIMIT)))


def mentions_in(text: str) -> tuple[Mention, ...]:
    """What the shell text `text` names."""
    reader = _Reader()
    reader.read(text)
    return reader.mentions()


class _Reader:
    def __init__(self) -> None:
        self._found: dict[Mention, None] = {}
        self._functions: set[str] = set()
        self._not_functions: set[Mention] = set()  # commands that cannot mean a function of the same name
        self._todo: deque[tuple[str, int, int, bool]] = deque()

    def mentions(self) -> tuple[Mention, ...]:
        found = (
            mention
            for mention in self._found
            if mention.kind != "command"
            or mention.name not in self._functions
            or mention in self._not_functions
        )
        return tuple(sorted(found, key=lambda mention: mention.line))

    def read(self, text: str) -> None:
        self._todo.append((text, 1, 0, False))
        while self._todo and len(self._found) < MAX_MENTIONS:
            text, line, depth, body = self._todo.popleft()
            for item in Scanner(text, line, body).items():
                if isinstance(item, Command):
                    self._read_command(item.words, depth)
                elif isinstance(item, Redirect):
                    kind = "file" if item.operator in ("<", "<>") else "output"
                    self._add_path(kind, item.target)
                elif isinstance(item, Function):
                    self._functions.add(item.name)
                elif isinstance(item, HereDocument) and depth < MAX_NESTED_TEXTS:
                    self._todo.append((item.text, item.line, depth + 1, True))
                if len(self._found) >= MAX_MENTIONS:
                    return

    def _add(self, kind: str, word: Word, name: str = "", not_function: bool = False) -> None:
        mention = Mention(kind, name or word.text, word.line, computed=word.computed)
        self._found.setdefault(mention)
        if not_function:
            self._not_functions.add(mention)

    def _read_command(self, words: tuple[Word, ...], depth: int) -> None:
        for word in words:
            self._add_path("file", word)
        begin = 0
        while begin < len(words) and _assigns(words[begin]):
            self._add("variable", words[begin])
            begin += 1
        self._read_simple_command(words[begin:], depth)

    def _read_simple_command(self, words: tuple[Word, ...], depth: int) -> None:
        """Read a command with its arguments, and the commands that it runs."""
        not_builtin = not_function = False
        for _ in range(MAX_WRAPPERS):
            if not words:
                return
            name = words[0].text
            base = name if words[0].computed else paths.name(name) or name
            if name and (not_builtin or words[0].computed or name not in _BUILTINS):
                self._add("command", words[0], not_function=not_function)
            if words[0].computed:
                return
            self._read_arguments(base, words, depth)
            if base not in _WRAPPERS:
                return
            not_builtin = base not in _KEEPS_BUILTINS or not_builtin
            not_function = True
            words = _wrapped_command(base, words[1:])

    def _read_arguments(self, name: str, words: tuple[Word, ...], depth: int) -> None:
        """Read the arguments of the command `name` that mean other things than files."""
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
                    self._read_simple_command(rest[at + 1 : at + 2], depth)
        elif name == "start-stop-daemon":
            for at, word in enumerate(rest[:-1]):
                if word.text in ("--exec", "-x", "--startas", "-a"):
                    self._read_simple_command(rest[at + 1 : at + 2], depth)

    def _read_shell(self, rest: tuple[Word, ...], depth: int) -> None:
        """Read the arguments of a shell: ``-c 'code'``, or a script."""
        for at, word in enumerate(rest):
            if word.text.startswith("-") and not word.text.startswith("--") and word.text.endswith("c"):
                for code in rest[at + 1 : at + 2]:
                    self._read_code(code, depth)
                return
            if not word.text.startswith("-"):
                self._add("source", word)
                return

    def _read_code(self, word: Word, depth: int) -> None:
        # Code that is a single expansion is not known; expansions within longer code are read as such.
        if depth < MAX_NESTED_TEXTS and (not word.computed or " " in word.text.strip()):
            self._todo.append((word.text, word.line, depth + 1, False))

    def _add_path(self, kind: str, word: Word) -> None:
        text = word.text
        if text.startswith("-") and (option := _OPTION_PATH.fullmatch(text)):
            text = option[1]
        elif "=" in text and starts_with_assignment(text):
            text = text.partition("=")[2]
        if not word.computed and len(text) < 500 and _RELATIVE_FILE.fullmatch(text):
            self._add(kind, word, text)
            return
        if not text.startswith(("/", "$")) or len(text) < 2 or text.startswith("/dev/"):
            return
        if (text[0] == "/" and _ABSOLUTE_PATH.fullmatch(text)) or (word.computed and "/" in text):
            self._add(kind, word, text)


def _assigns(word: Word) -> bool:
    return starts_with_assignment(word.text)


def _wrapped_command(name: str, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words of the command that the wrapper `name` runs; `words` are the arguments of the wrapper."""
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
        return ()  # command -v only looks the command up
    return words[at + before :]


def programs(text: str) -> Iterator[str]:
    """The literal command names in the shell text `text`, in order."""
    return (mention.name for mention in mentions_in(text) if mention.kind == "command" and not mention.computed)
