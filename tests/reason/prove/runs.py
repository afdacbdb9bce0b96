"""A run of one program, and what is kept beyond what it used."""

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, FileUse
from slimtrace.reason.keep.rules import Keep, Rules

from ..trees import GLIBC, INTERP, capture, kept

LIB = "/usr/lib/x86_64-linux-gnu"
APP = Exec("/usr/bin/app", "", "/usr/bin/app", 1, 0)
EXACT = Rules(keep=Keep.EXACT)


def seen(says: str, spec: dict[str, str], *uses: FileUse, **env: str) -> Capture:
    """A run of an app that says so much, in a tree, with variables in ENV."""
    app = f"elf 0755 {INTERP} needs=libc.so.6 says={says}"
    config = {"Env": [f"{name}={value}" for name, value in env.items()]}
    return capture({**GLIBC, "/usr/bin/app": app, **spec}, uses, [APP], config)


def more(run: Capture) -> set[str]:
    """What is kept beyond --keep exact, without the directories on the way."""
    return kept(run) - kept(run, EXACT)
