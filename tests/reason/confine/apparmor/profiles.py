"""A profile as apparmor_parser understands it: what of the files it allows, by the expressions it compiles.

    Policy(text).allows("/etc/passwd", "r")

Nothing is loaded into the kernel.
"""

import os
import re
import subprocess

from slimtrace.facts import paths

PARSER = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# Of each rule with -D rule-exprs: the expression, then "deny" if it is one, and what a file's owner may do (the
# lower 14 bits, parser/immunix.h).
_RULE = re.compile(rb"^rule: (.*?)  ->  .*? (deny )?\(0x([0-9a-f]+)/[0-9a-f]+\)<", re.DOTALL | re.MULTILINE)
_BITS = {"x": 0x01, "w": 0x02, "r": 0x04, "l": 0x10, "k": 0x20, "m": 0x40}
_TOKEN = re.compile(rb"\\x00|\\(.)|(\[\^?[^]]*\])|([()|*.])|(.)", re.DOTALL)


def compiled(text: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Through the parser's whole compiler, nothing loaded, nothing cached."""
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--stdout", *options]
    return subprocess.run(
        command, input=text.encode("ascii"), capture_output=True, env={"PATH": PARSER}, timeout=120, check=False
    )


class Policy:
    """The file rules of a profile."""

    def __init__(self, text: str, *options: str) -> None:
        done = compiled(text, "-D", "rule-exprs", *options)
        assert done.returncode == 0, done.stderr[-1000:]
        self._rules = [
            (re.compile(_expression(match[1]), re.DOTALL), bool(match[2]), int(match[3], 16))
            for match in _RULE.finditer(done.stderr)
        ]
        assert self._rules

    def allows(self, path: str, letters: str) -> bool:
        """Whether all these uses of a path are allowed; a directory's ends with a slash."""
        wanted = sum(_BITS[letter] for letter in letters)
        allowed = denied = 0
        for expression, deny, bits in self._rules:
            if expression.fullmatch(paths.encode(path)):
                allowed, denied = (allowed, denied | bits) if deny else (allowed | bits, denied)
        return allowed & wanted == wanted and not denied & wanted


def _expression(raw: bytes) -> bytes:
    """The parser's expression as Python's: alone the operators that it knows mean something."""

    def token(match: re.Match[bytes]) -> bytes:
        if match[0] == rb"\x00" or match[2] or match[3]:
            return match[0]
        return re.escape(match[1] or match[4])

    return _TOKEN.sub(token, raw)
