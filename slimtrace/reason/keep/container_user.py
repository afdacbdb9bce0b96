"""Which user a container starts as, in numbers, as far as the image tells."""

from slimtrace.facts.capture import Capture

ROOT = 0
_MOST = (1 << 32) - 2  # chown(2): the last number, (uid_t) -1, stands for none


def identity(capture: Capture, user: str) -> tuple[int | None, int | None]:
    """The user's and the group's number of `user`, written as Docker's USER (a name or number, and after a
    colon those of a group); "" is root. None for what the image's passwd(5) and group(5) do not tell. A user
    without a group has that of passwd(5), root's where that has none (moby, daemon/oci_linux.go, getUser)."""
    name, colon, group = user.partition(":")
    account = _line(capture, "/etc/passwd", name or "0", 4)
    uid = _number(name or "0") if _number(name or "0") is not None else _number(account[2]) if account else None
    if colon and group:
        line = _line(capture, "/etc/group", group, 3)
        return uid, _number(group) if _number(group) is not None else _number(line[2]) if line else None
    if account:
        return uid, _number(account[3])
    return uid, None if uid is None else ROOT


def _line(capture: Capture, file: str, name: str, fields: int) -> list[str] | None:
    """The line of passwd(5) or group(5) of what is so named or numbered, split."""
    text = capture.contents.text(capture.tree.resolve(file).path) or ""
    for line in text.splitlines():
        words = line.split(":")
        if len(words) >= fields and name in (words[0], words[2]):
            return words
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MOST else None
