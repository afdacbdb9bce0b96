"""What a file names: the modules, files and programs that it may load, each with the line that names it."""

from dataclasses import dataclass
from enum import StrEnum


class Language(StrEnum):
    """The language or format that a file is read as; the reader of each is the module of that name in
    facts.sources."""

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

    `kind` is the manner of naming (``import``, ``require``, ``command``…; the docstring of each reader lists
    its kinds). `name` is the name of the thing, or, with `computed`, the source text of an expression whose
    value is known only when it runs. `line` counts from 1; it is 0 in files that have no lines. `lazy` means
    that the mention stands in a function: loading the file does not reach it.
    """

    kind: str
    name: str
    line: int = 0
    lazy: bool = False
    computed: bool = False
