"""What a file names: the modules, files and programs that it may load, and where it says so."""

from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """In which way a file is read. The readers are in facts.sources."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    RUBY = "ruby"
    PERL = "perl"
    PHP = "php"
    SHELL = "shell"
    POSTGRES = "postgres"  # its catalogue and SQL scripts
    ZIP = "zip"  # a jar, war or zip: its entries' names and its manifest
    BINARY = "binary"  # the strings of an ELF file


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """One thing that a file names.

    `kind` is a word of its language (``import``, ``require``, ``command``…; the reader's docstring lists its
    own). `name` is what is named, or, with `computed`, the source text of an expression whose value only a run
    would tell. `line` counts from 1, 0 where lines mean nothing. `lazy` tells that it stands in a function:
    loading the file does not reach it.
    """

    kind: str
    name: str
    line: int = 0
    lazy: bool = False
    computed: bool = False
