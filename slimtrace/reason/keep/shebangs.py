"""Scripts: which interpreters the image must have for a file to be executable.

Sources: Linux fs/binfmt_script.c (load_script) and fs/exec.c (exec_binprm), execve(2), exec(3), env(1).
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import HEAD_BYTES, Contents
from slimtrace.facts.formats.elf import MAGIC
from slimtrace.facts.sources.shell import source
from slimtrace.facts.tree import FileTree, Kind

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # the engine's, without ENV PATH
MAX_DEPTH = 5  # exec_binprm gives up with ELOOP when the fifth interpreter is a script again
SHELL = "/bin/sh"  # execvp(3) runs a file with it if execve(2) fails with ENOEXEC (_PATH_BSHELL)
_BLANK = b" \t"


@dataclass(frozen=True, slots=True)
class Shebang:
    """A ``#!`` line: the interpreter, and the rest of the line, which is one argument, or none."""

    interpreter: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class InterpreterStep:
    """One interpreter that executing the script at path `by` needs: its name as the script spells it (`asked`),
    and the `path` that this means, with links not yet resolved; "" where PATH does not lead to it."""

    asked: str
    by: str
    path: str


def parse(head: bytes) -> Shebang | None:
    """The ``#!`` line at the beginning of `head`, by the kernel's own rules; None where execve(2) fails with
    ENOEXEC: no ``#!``, nothing after it, or an interpreter's name that does not end within 256 bytes."""
    if not head.startswith(b"#!"):
        return None
    line = head[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0")[2:]
    text, zero, _ = line.partition(b"\0")
    text, newline, _ = text.partition(b"\n")
    if not newline and not zero:
        if not set(_BLANK) & set(text.lstrip(_BLANK)):
            return None  # only blanks, or a name that may go on after what was read
        text = text[:-1]  # the kernel ends the line one byte before its buffer does
    text = text.strip(_BLANK)
    name = text.replace(b"\t", b" ").partition(b" ")[0]
    if not name:
        return None
    # The argument keeps its inner blanks: cut it from the original text, where tabs are still tabs.
    argument = text[len(name) :].lstrip(_BLANK)
    return Shebang(paths.decode(name), paths.decode(argument))


def env_program(argument: str) -> str | None:
    """The program that ``#!/usr/bin/env argument`` runs: options and assignments are skipped, ``-S`` splits the
    rest into words. None where there is none, or it comes from a variable."""
    words = [argument] if argument else []
    if argument.startswith(("-S", "--split-string", "-vS")):
        split = argument.partition("S")[2] if not argument.startswith("--") else argument[14:].lstrip("=")
        try:
            words = shlex.split(split, comments=True)
        except ValueError:
            return None
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("-u", "--unset", "-C", "--chdir"):
            skip = True
        elif word.startswith("-") or ("=" in word and "/" not in word.partition("=")[0]):
            continue
        else:
            return None if "$" in word else word
    return None


def interpreter_name(head: bytes) -> str:
    """The name of the interpreter in a script's ``#!`` line, for ``env`` that of the program it runs; "" for a
    file that is no script."""
    line = parse(head)
    if line is None:
        return ""
    name = paths.name(line.interpreter)
    return paths.name(env_program(line.argument) or "") if name == "env" else name


def find_program(tree: FileTree, name: str, search: str = DEFAULT_PATH, base: str = "/") -> str | None:
    """The path at which execvp(3) would find `name`, not yet resolved: with a slash relative to `base`, else
    in the directories of `search`; it leads to a regular file with an execute bit. None where none does."""
    if not name:
        return None
    places = [base] if "/" in name else (part or base for part in search.split(":"))
    for place in places:
        path = paths.join(paths.join(base, place), name)
        entry = tree.resolve(path).entry
        if entry and entry.kind is Kind.FILE and entry.mode & 0o111:
            return path
    return None


def interpreters(
    tree: FileTree, contents: Contents, path: str, search: str = DEFAULT_PATH, base: str = "/"
) -> Iterator[InterpreterStep]:
    """Every interpreter from the executable file at (resolved) `path` to the ELF file that the kernel runs in
    the end, and the program that an ``env`` among them runs; whether or not the image has them. None for an ELF
    file.
    `base` is the working directory, for interpreters given by a relative path."""
    for _ in range(MAX_DEPTH):
        head = contents.head(path)
        if head is None or head.startswith(MAGIC):
            return
        line = parse(head)
        if line is None:
            if not head.startswith(b"#!") and b"\0" not in head.partition(b"\n")[0]:
                yield InterpreterStep(SHELL, path, SHELL)
            return
        wanted = paths.join(base, line.interpreter)
        yield InterpreterStep(line.interpreter, path, wanted)
        if paths.name(line.interpreter) == "env" and (name := env_program(line.argument)):
            wanted = find_program(tree, name, search, base) or ""
            yield InterpreterStep(name, path, wanted)
        if not wanted:
            return
        path = tree.resolve(wanted).path


def commands(text: str) -> tuple[str, ...]:
    """The programs that the shell script `text` runs, in order: for the one line of a shell form ENTRYPOINT,
    CMD or HEALTHCHECK. The shell's builtins are not among them."""
    return tuple(source.programs(text))
