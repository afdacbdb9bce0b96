"""The layers of an image as facts: what each of them brings, replaces and takes away."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slimtrace.facts.tree import Kind

# The paths of package databases: the content of these files is kept while a layer is read.
DATABASES = frozenset((
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/share/rpm/rpmdb.sqlite",
))  # fmt: skip
DATABASE_FOLDERS = ("/var/lib/dpkg/status.d/",)  # distroless images: a file a package
DATABASE_LIMIT = 1 << 26  # bytes of one database, and of all


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """One path that a layer brings.

    `size` is in bytes and `digest` a hash of the content, for a regular file; a hard link to a file has
    neither, its `same_as` is the path of that file, which may be a lower layer's. `capability` is the extended
    attribute security.capability (capabilities(7)), empty for none.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    digest: bytes = b""
    same_as: str = ""
    capability: bytes = b""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer brings, each path once, and what it hides of those below it: `whiteouts` are paths that it
    takes away with all below them, `opaques` directories of which it takes away the content (OCI image-spec
    layer.md, "Whiteouts"). `databases` holds the content of package databases in it."""

    entries: Mapping[str, LayerEntry] = field(default_factory=dict)
    whiteouts: frozenset[str] = frozenset()
    opaques: frozenset[str] = frozenset()
    databases: Mapping[str, bytes] = field(default_factory=dict)


def is_database(path: str) -> bool:
    """Whether `path` is that of a package database."""
    return path in DATABASES or (path.startswith(DATABASE_FOLDERS) and not path.endswith(".md5sums"))
