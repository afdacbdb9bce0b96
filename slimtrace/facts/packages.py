"""What the metadata of packages says, as facts: one Manifest a package."""

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """In which way a file of metadata is read. The readers are in facts.manifests."""

    DPKG = "dpkg"  # the status of dpkg, or one stanza of it
    LIST = "list"  # dpkg's list of one package's files
    MD5SUMS = "md5sums"  # the same with a digest before each
    COPYRIGHT = "copyright"  # Debian's /usr/share/doc/NAME/copyright
    APK = "apk"
    RPM = "rpm"  # the SQLite database
    PYTHON = "python"  # METADATA or PKG-INFO
    RECORD = "record"  # what a wheel's installer wrote
    NPM = "npm"  # package.json
    GEM = "gem"  # a gemspec as RubyGems writes it
    MAVEN = "maven"  # the pom.properties in a jar, and in the jars in it


@dataclass(frozen=True, slots=True, order=True)
class Manifest:
    """One package as a file of metadata tells of it; what the file does not tell is empty.

    `version` is whole, with its epoch and release. `name` is the system's own: ``@scope/name`` for npm,
    ``group:artifact`` for Maven. `source` is the name of the package that it was built from, with
    `source_version` where that is another. `licenses` are as they are written. `files` are the paths as they
    are written, absolute or from the place that the format says. `key` is what the database itself calls it.
    """

    name: str = ""
    version: str = ""
    architecture: str = ""
    licenses: tuple[str, ...] = ()
    source: str = ""
    source_version: str = ""
    files: tuple[str, ...] = ()
    key: str = ""
