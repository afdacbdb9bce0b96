"""The layers of an image from the archive in which the engine saves it, read once and forwards.

Two layouts are known, and an archive may have both: Docker's, with manifest.json and a layer.tar for every
layer (moby image/spec/v1.2.md), and OCI's, with index.json and blobs named by their digests (image-spec
image-layout.md), whose layers may be compressed. The file that says which file is which layer may come last, so
every file is read. Of the files' content only hashes and package databases are kept; no name in the archive is
opened on this machine, and nothing is written.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.formats.tar import BLOCK, Malformed, Member, header
from slimtrace.facts.layers import DATABASE_LIMIT, Layer, LayerEntry, is_database
from slimtrace.facts.tree import Kind
from slimtrace.observe.image.streams import ForwardReader, decompressed, read_members

ENTRY_LIMIT = 5_000_000  # of all layers
JSON_LIMIT = 1 << 24  # bytes of one JSON file of the archive
TOTAL_JSON_LIMIT = 1 << 26  # bytes of all JSON files
DIGEST_BYTES = 16
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_KINDS = {"0": Kind.FILE, "2": Kind.LINK, "3": Kind.CHAR, "4": Kind.BLOCK, "5": Kind.DIR, "6": Kind.FIFO}
_CAPABILITY = "security.capability"

Progress = Callable[[int], None]


def layers_of_archive(
    pieces: Iterable[bytes], diff_ids: Sequence[str] = (), progress: Progress = lambda _: None
) -> tuple[Layer, ...]:
    """The layers, lowest first, of an image in an engine's archive: if the archive holds several images (as for
    several platforms), of the one with these `diff_ids`, else of the first. `progress` is called with the
    number of bytes read so far. Raises SlimtraceError (BAD_INPUT) for an archive that has no image, or is
    damaged."""
    try:
        return _read(ForwardReader(pieces), diff_ids, progress)
    except (Malformed, RecursionError) as error:
        said = paths.printable(str(error))
        raise SlimtraceError(f"cannot read the image's layers: {said}", "--no-files tells the rest") from error


def _read(source: ForwardReader, diff_ids: Sequence[str], progress: Progress) -> tuple[Layer, ...]:
    layers: dict[str, Layer] = {}
    documents: dict[str, bytes] = {}
    links: dict[str, str] = {}  # a layer that occurs twice is a symlink or hardlink the second time
    entries_left, json_left = ENTRY_LIMIT, TOTAL_JSON_LIMIT
    for member in read_members(source):
        progress(source.offset)
        name = paths.clean(member.path)
        if member.type == "2":
            links[name] = _resolved(paths.join(paths.parent(name), member.link))
        elif member.type == "1":
            links[name] = paths.clean(member.link)
        elif member.type == "0" and member.stored:
            if _is_json(source.peek(1)):
                if member.stored <= min(json_left, JSON_LIMIT):
                    documents[name] = source.take(member.stored)
                    json_left -= member.stored
            elif _may_be_layer(source.peek(BLOCK)):
                layers[name] = _read_layer(_with_progress(source, member.stored, progress), entries_left)
                entries_left -= len(layers[name].entries) + len(layers[name].whiteouts)
    return tuple(_layer_in(name, layers, links) for name in _layer_names(documents, diff_ids))


def _with_progress(source: ForwardReader, count: int, progress: Progress) -> Iterable[bytes]:
    """The next `count` bytes in chunks, with a call of `progress` before each."""
    for piece in source.chunks(count):
        progress(source.offset)
        yield bytes(piece)


def _is_json(first: bytes) -> bool:
    return first in (b"{", b"[")


def _may_be_layer(begin: bytes) -> bool:
    """Whether a file that begins so is gzip, zstd or a tar."""
    if begin[:2] == b"\x1f\x8b" or begin[:4] == b"\x28\xb5\x2f\xfd":
        return True
    try:
        header(begin)
    except Malformed:
        return False
    return True


def _resolved(path: str) -> str:
    """`path`, absolute, with each ``..`` resolved as text. Raises Malformed for a path that leads above the
    root."""
    path = paths.clean(path)
    if "/.." not in path:
        return path
    out: list[str] = []
    for part in path.split("/")[1:]:
        if part != "..":
            out.append(part)
        elif not out:
            raise Malformed(f"the path {path} leads out of the image")
        else:
            out.pop()
    return "/" + "/".join(out)


def _layer_in(name: str, layers: Mapping[str, Layer], links: Mapping[str, str]) -> Layer:
    """The layer in the file `name` of the archive, which may be a link to another file. Raises Malformed."""
    for _ in range(8):
        if name in layers:
            return layers[name]
        name = links.get(name, name)
    raise Malformed(f"the archive lacks the layer {name}")


def _layer_names(documents: Mapping[str, bytes], diff_ids: Sequence[str]) -> list[str]:
    """The names of the archive's files that are the image's layers, lowest first. Raises Malformed."""
    images = list(
        _docker_images(documents) if "/manifest.json" in documents else _oci_images(documents, "/index.json")
    )
    for config, layers in images:
        root = _json(documents, config).get("rootfs") if config in documents else None
        if isinstance(root, dict) and root.get("diff_ids") == list(diff_ids):
            return layers
    if not images:
        raise Malformed("the archive does not say which layers there are")
    return images[0][1]


def _docker_images(documents: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Each image in manifest.json: the names of its configuration and of its layers."""
    images = _json(documents, "/manifest.json")
    for image in images if isinstance(images, list) else ():
        if isinstance(image, dict):
            layers = _as_list(image.get("Layers"))
            yield paths.clean(str(image.get("Config"))), [paths.clean(str(name)) for name in layers]


def _oci_images(documents: Mapping[str, bytes], name: str, depth: int = 4) -> Iterator[tuple[str, list[str]]]:
    """Each image in the manifest or index `name`, as _docker_images gives it; an index may name other
    indexes."""
    found = _json(documents, name)
    if "layers" in found:
        yield _blob(found.get("config")), [_blob(item) for item in _as_list(found["layers"])]
    for item in _as_list(found.get("manifests")) if depth else ():
        if _blob(item) in documents:
            yield from _oci_images(documents, _blob(item), depth - 1)


def _json(documents: Mapping[str, bytes], name: str) -> Any:
    """The content of a JSON file of the archive; {} where it is no object (manifest.json may be a list). Raises
    Malformed."""
    try:
        found = json.loads(documents[name])
    except KeyError:
        raise Malformed(f"there is no {name} in the archive") from None
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from error
    return found if isinstance(found, dict) or name == "/manifest.json" else {}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _blob(descriptor: Any) -> str:
    """The name of the blob of an OCI descriptor. Raises Malformed for a descriptor without a digest."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str):
        raise Malformed("a descriptor has no digest")
    return paths.clean(f"/blobs/{digest.replace(':', '/')}")


def _read_layer(pieces: Iterable[bytes], most_entries: int) -> Layer:
    """The layer whose tar, compressed or not, is `pieces`. Raises Malformed where it has more than
    `most_entries` entries."""
    source = ForwardReader(decompressed(pieces))
    entries: dict[str, LayerEntry] = {}
    whiteouts: set[str] = set()
    opaques: set[str] = set()
    databases: dict[str, bytes] = {}
    database_bytes_left = DATABASE_LIMIT
    for member in read_members(source):
        path = _resolved(member.path)
        if len(entries) + len(whiteouts) >= most_entries:
            raise Malformed(f"the layers have more than {ENTRY_LIMIT} entries")
        parent, _, name = path.rpartition("/")
        if name.startswith(_WHITEOUT):
            if name == _OPAQUE:
                opaques.add(parent or "/")
            # Any other name with this prefix is aufs' own bookkeeping, or forged.
            elif not name.startswith(_WHITEOUT * 2) and name not in (".wh.", ".wh..", ".wh..."):
                whiteouts.add(f"{parent}/{name.removeprefix(_WHITEOUT)}")
            continue
        entry = _entry(path, member)
        if entry is None or path == "/":
            continue
        if entry.kind is Kind.FILE and not entry.same_as:
            database: list[bytes] | None = None
            if is_database(path) and member.stored <= database_bytes_left and member.stored == member.size:
                database = []
                database_bytes_left -= member.stored
            entry = _entry(path, member, _digest(source, member, database))
            if database is not None:
                databases[path] = b"".join(database)
        entries[path] = entry  # type: ignore[assignment]  # not None: its kind is known since the first call
    return Layer(entries, frozenset(whiteouts), frozenset(opaques), databases)


def _digest(source: ForwardReader, member: Member, database: list[bytes] | None) -> bytes:
    """The digest of the member's content, which is added to the list `database` if one is given."""
    state = blake2b(digest_size=DIGEST_BYTES)
    if member.stored != member.size:
        # A reader of a sparse file gets other bytes than those that are stored.
        state.update(b"sparse %d" % member.size)
    for piece in source.chunks(member.stored):
        state.update(piece)
        if database is not None:
            database.append(bytes(piece))
    return state.digest()


def _entry(path: str, member: Member, digest: bytes = b"") -> LayerEntry | None:
    """The entry for a member of a layer; None for a member of an unknown type."""
    same_as = _resolved(member.link) if member.type == "1" else ""
    kind = Kind.FILE if same_as else _KINDS.get(member.type)
    if kind is None:
        return None
    size = member.size if kind is Kind.FILE and not same_as else 0
    capability = member.xattrs.get(_CAPABILITY, b"") if member.xattrs else b""
    return LayerEntry(path, kind, member.mode, member.uid, member.gid, size, digest, same_as, capability)


__all__ = ["layers_of_archive"]
