"""The user ID and group ID that a container starts with, as far as the image tells them."""

from slimtrace.facts.capture import Capture

ROOT = 0
_MAX_ID = (1 << 32) - 2  # chown(2): (uid_t) -1 stands for no ID


def uid_and_gid(capture: Capture, user: str) -> tuple[int | None, int | None]:
    """The uid and the gid of `user`, which is written as Docker's USER (a user's name or number, and after a
    colon a group's name or number); "" is root. None for an ID that the image's passwd(5) and group(5) do not
    tell. A user without a group has the group of passwd(5), or root's where passwd(5) has no line for the user
    (moby, daemon/oci_linux.go, getUser)."""
    name, colon, group = user.partition(":")
    account = _fields(capture, "/etc/passwd", name or "0", 4)
    uid = _number(name or "0") if _number(name or "0") is not None else _number(account[2]) if account else None
    if colon and group:
        line = _fields(capture, "/etc/group", group, 3)
        return uid, _number(group) if _number(group) is not None else _number(line[2]) if line else None
    if account:
        return uid, _number(account[3])
    return uid, None if uid is None else ROOT


def _fields(capture: Capture, file: str, name: str, count: int) -> list[str] | None:
    """The fields of the line of passwd(5) or group(5) with this name or number, if it has at least `count`."""
    text = capture.contents.text(capture.tree.resolve(file).path) or ""
    for line in text.splitlines():
        words = line.split(":")
        if len(words) >= count and name in (words[0], words[2]):
            return words
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MAX_ID else None
