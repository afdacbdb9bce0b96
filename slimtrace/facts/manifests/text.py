"""Text of metadata: read in a bounded amount, and its header fields."""

from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths

TEXT_LIMIT = 1 << 24  # bytes: the status of 15,000 Debian packages
SMALL_LIMIT = 1 << 20  # bytes of a file about one package
MAX_FILES = 1_000_000  # listed in one file of metadata


def text(stream: BinaryIO, limit: int = SMALL_LIMIT) -> str:
    """At most `limit` bytes of `stream`; what is not UTF-8 as surrogates."""
    return paths.decode(stream.read(limit))


def lines(content: str) -> Iterator[str]:
    """The lines, ended by line feeds alone, one at a time: a list of a forged file's lines would take all
    memory."""
    at = 0
    while at < len(content):
        end = content.find("\n", at)
        if end < 0:
            end = len(content)
        yield content[at:end]
        at = end + 1


def fields(stanza: str) -> Iterator[tuple[str, str]]:
    """The fields of a stanza (deb822(5), RFC 822 headers) in order, names in lower case; of a field that goes
    on over several lines the first line."""
    for line in lines(stanza):
        name, colon, value = line.partition(":")
        if colon and name and name[0] not in " \t#":
            yield name.lower(), value.strip()
