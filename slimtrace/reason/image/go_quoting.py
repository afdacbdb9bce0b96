"""Literals that Go's fmt writes into a history with %q and %v, read back (Go language specification, "Rune
literals" and "String literals"; package strconv, Quote and QuoteRune). Other text is left as it is.
"""

import re

STRING = r'"(?:[^"\\\n]|\\.)*"'
RUNE = r"'(?:[^'\\\n]|\\[^\n][^'\n]{0,9}|\\')'"
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.S)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def strings(text: str) -> list[str]:
    """The quoted strings in `text`, such as the words of ``["jq" "a \\"b\\""]``."""
    return [unquoted(match) for match in re.findall(STRING, text)]


def unquoted(literal: str) -> str:
    """The value of a string or rune literal. A byte that is not UTF-8 comes as a surrogate, as in a path."""
    return _ESCAPE.sub(_escape, literal[1:-1])


def _escape(match: re.Match[str]) -> str:
    byte, short, long, char = match.groups()
    if byte:
        code = int(byte, 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    if short or long:
        code = int(short or long, 16)
        return chr(code) if code < 0x110000 else match[0]
    return _PLAIN.get(char, char)


__all__ = ["RUNE", "STRING", "strings", "unquoted"]
