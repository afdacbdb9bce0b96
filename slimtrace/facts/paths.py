"""Paths inside an image, as text.

A path is a ``str`` decoded with surrogateescape, so that any byte string a file system can hold comes back
unchanged from ``os.fsencode``. All paths are absolute within the image and written without ``.``, empty
parts or a trailing slash; ``..`` is kept until a tree resolves it, since only a tree knows the symlinks.
"""

from collections.abc import Iterator


def decode(raw: bytes) -> str:
    """Bytes from the kernel or an archive as a path."""
    return raw.decode("utf-8", "surrogateescape")


def encode(path: str) -> bytes:
    """The path's bytes, exactly as the file system holds them."""
    return path.encode("utf-8", "surrogateescape")


def clean(path: str) -> str:
    """`path` as absolute, with ``.``, doubled and trailing slashes removed; ``..`` stays."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def join(base: str, path: str) -> str:
    """`path` as seen from the directory `base`; an absolute `path` stands for itself."""
    return clean(path) if path.startswith("/") else clean(f"{base}/{path}")


def parent(path: str) -> str:
    """The directory that holds `path`; the root's parent is the root."""
    return path.rpartition("/")[0] or "/"


def name(path: str) -> str:
    """The last part of `path`; empty for the root."""
    return path.rpartition("/")[2]


def parents(path: str) -> Iterator[str]:
    """Every directory above `path`, nearest first, the root last; nothing for the root itself."""
    while path != "/":
        path = parent(path)
        yield path


def below(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies under it."""
    return path == directory or directory == "/" or path.startswith(directory + "/")


def printable(path: str) -> str:
    """`path` for a terminal, a log or a report: control characters, undecodable bytes and bidirectional
    overrides come out as escapes, so that a hostile file name cannot steer what shows it."""
    if path.isascii() and path.isprintable():
        return path
    return "".join(_escape(char) for char in path)


def _escape(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char in "\n\t\r":
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def on_disk(root: str, path: str) -> str:
    """Where the image path `path` lies under the directory `root`, without following anything."""
    return root.rstrip("/") + path if path != "/" else root


__all__ = ["below", "clean", "decode", "encode", "join", "name", "on_disk", "parent", "parents", "printable"]
