"""The metadata of packages as facts: one Manifest a package."""

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """The format of a file of package metadata. The readers are in facts.manifests."""

    DPKG = "dpkg"  # the status of dpkg, or one stanza of it
    LIST = "list"  # dpkg's list of one package's files
    MD5SUMS = "md5sums"  # the same with an MD5 digest before each name
    COPYRIGHT = "copyright"  # Debian's /usr/share/doc/NAME/copyright
    APK = "apk"
    RPM = "rpm"  # the SQLite database
    PYTHON = "python"  # METADATA or PKG-INFO
    RECORD = "record"  # the list of files that a wheel's installer wrote
    NPM = "npm"  # package.json
    GEM = "gem"  # a gemspec as RubyGems writes it
    MAVEN = "maven"  # the pom.properties in a jar, and in the jars in it


@dataclass(frozen=True, slots=True, order=True)
class Manifest:
    """One package as a file of metadata describes it; what the file does not say is empty.

    `version` is whole, with its epoch and release. `name` is the system's own: ``@scope/name`` for npm,
    ``group:artifact`` for Maven. `source` is the name of the package that it was built from, with
    `source_version` where that is another. `licenses` are as they are written. `files` are the paths as they
    are written, absolute or relative to a directory that depends on the format. `key` is the package's
    identifier in its database.
    """

    name: str = ""
    version: str = ""
    architecture: str = ""
    licenses: tuple[str, ...] = ()
    source: str = ""
    source_version: str = ""
    files: tuple[str, ...] = ()
    key: str = ""
