"""The layers of an image out of the archive in which the engine hands it over, read once and forwards.

Two layouts are known, also both in one archive: Docker's, with manifest.json and a layer.tar for every layer
(moby image/spec/v1.2.md), and OCI's, with index.json and blobs named by their digests (image-spec
image-layout.md), whose layers may be packed. Which file is which layer stands in a file that may come last, so
every file is looked at. Of content nothing is kept but hashes and package databases; a name is only a name, and
nothing is written.
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
from slimtrace.observe.image.streams import Forward, members, unpacked

ENTRY_LIMIT = 5_000_000  # of all layers
JSON_LIMIT = 1 << 24  # bytes of one description
JSONS_LIMIT = 1 << 26  # and of all
DIGEST_BYTES = 16
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_KINDS = {"0": Kind.FILE, "2": Kind.LINK, "3": Kind.CHAR, "4": Kind.BLOCK, "5": Kind.DIR, "6": Kind.FIFO}
_CAPABILITY = "security.capability"

Progress = Callable[[int], None]


def of_archive(
    pieces: Iterable[bytes], diff_ids: Sequence[str] = (), progress: Progress = lambda _: None
) -> tuple[Layer, ...]:
    """The layers, lowest first, of an image in an engine's archive: if that holds several (as for several
    platforms), of the one with these `diff_ids`, else the first. `progress` is told the bytes read so far.
    Raises SlimtraceError (BAD_INPUT) for what is no such archive."""
    try:
        return _read(Forward(pieces), diff_ids, progress)
    except (Malformed, RecursionError) as error:
        said = paths.printable(str(error))
        raise SlimtraceError(f"cannot read the image's layers: {said}", "--no-files tells the rest") from error


def _read(source: Forward, diff_ids: Sequence[str], progress: Progress) -> tuple[Layer, ...]:
    layers: dict[str, Layer] = {}
    documents: dict[str, bytes] = {}
    links: dict[str, str] = {}  # a layer that occurs twice is a link the second time
    room, space = ENTRY_LIMIT, JSONS_LIMIT
    for member in members(source):
        progress(source.offset)
        name = paths.clean(member.path)
        if member.type == "2":
            links[name] = _inside(paths.join(paths.parent(name), member.link))
        elif member.type == "1":
            links[name] = paths.clean(member.link)
        elif member.type == "0" and member.stored:
            if _is_text(source.peek(1)):
                if member.stored <= min(space, JSON_LIMIT):
                    documents[name] = source.take(member.stored)
                    space -= member.stored
            elif _may_be_layer(source.peek(BLOCK)):
                layers[name] = _layer(_watched(source, member.stored, progress), room)
                room -= len(layers[name].entries) + len(layers[name].whiteouts)
    return tuple(_chosen(name, layers, links) for name in _order(documents, diff_ids))


def _watched(source: Forward, count: int, progress: Progress) -> Iterable[bytes]:
    for piece in source.chunks(count):
        progress(source.offset)
        yield bytes(piece)


def _is_text(first: bytes) -> bool:
    return first in (b"{", b"[")


def _may_be_layer(begin: bytes) -> bool:
    if begin[:2] == b"\x1f\x8b" or begin[:4] == b"\x28\xb5\x2f\xfd":
        return True
    try:
        header(begin)
    except Malformed:
        return False
    return True


def _inside(path: str) -> str:
    """`path` as text without ``..``. Raises Malformed for one that leads out."""
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


def _chosen(name: str, layers: Mapping[str, Layer], links: Mapping[str, str]) -> Layer:
    for _ in range(8):
        if name in layers:
            return layers[name]
        name = links.get(name, name)
    raise Malformed(f"the archive lacks the layer {name}")


def _order(documents: Mapping[str, bytes], diff_ids: Sequence[str]) -> list[str]:
    """The names of the files that are the image's layers, lowest first."""
    images = list(_docker(documents) if "/manifest.json" in documents else _oci(documents, "/index.json"))
    for config, layers in images:
        root = _json(documents, config).get("rootfs") if config in documents else None
        if isinstance(root, dict) and root.get("diff_ids") == list(diff_ids):
            return layers
    if not images:
        raise Malformed("the archive does not say which layers there are")
    return images[0][1]


def _docker(documents: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Each image in manifest.json: its configuration's name, and its layers'."""
    images = _json(documents, "/manifest.json")
    for image in images if isinstance(images, list) else ():
        if isinstance(image, dict):
            layers = _list(image.get("Layers"))
            yield paths.clean(str(image.get("Config"))), [paths.clean(str(name)) for name in layers]


def _oci(documents: Mapping[str, bytes], name: str, depth: int = 4) -> Iterator[tuple[str, list[str]]]:
    """The same for an index, which may name an index, or for a manifest."""
    found = _json(documents, name)
    if "layers" in found:
        yield _blob(found.get("config")), [_blob(item) for item in _list(found["layers"])]
    for item in _list(found.get("manifests")) if depth else ():
        if _blob(item) in documents:
            yield from _oci(documents, _blob(item), depth - 1)


def _json(documents: Mapping[str, bytes], name: str) -> Any:
    """A description; an empty object for one that is neither object nor list."""
    try:
        found = json.loads(documents[name])
    except KeyError:
        raise Malformed(f"there is no {name} in the archive") from None
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from error
    return found if isinstance(found, dict) or name == "/manifest.json" else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _blob(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str):
        raise Malformed("a descriptor has no digest")
    return paths.clean(f"/blobs/{digest.replace(':', '/')}")


def _layer(pieces: Iterable[bytes], room: int) -> Layer:
    source = Forward(unpacked(pieces))
    entries: dict[str, LayerEntry] = {}
    whiteouts: set[str] = set()
    opaques: set[str] = set()
    databases: dict[str, bytes] = {}
    space = DATABASE_LIMIT
    for member in members(source):
        path = _inside(member.path)
        if len(entries) + len(whiteouts) >= room:
            raise Malformed(f"the layers have more than {ENTRY_LIMIT} entries")
        parent, _, name = path.rpartition("/")
        if name.startswith(_WHITEOUT):
            if name == _OPAQUE:
                opaques.add(parent or "/")
            # What is left but names no file is aufs' own bookkeeping, or forged.
            elif not name.startswith(_WHITEOUT * 2) and name not in (".wh.", ".wh..", ".wh..."):
                whiteouts.add(f"{parent}/{name.removeprefix(_WHITEOUT)}")
            continue
        entry = _entry(path, member)
        if entry is None or path == "/":
            continue
        if entry.kind is Kind.FILE and not entry.same_as:
            kept: list[bytes] | None = None
            if is_database(path) and member.stored <= space and member.stored == member.size:
                kept = []
                space -= member.stored
            entry = _entry(path, member, _digest(source, member, kept))
            if kept is not None:
                databases[path] = b"".join(kept)
        entries[path] = entry  # type: ignore[assignment]  # it has a kind, as before
    return Layer(entries, frozenset(whiteouts), frozenset(opaques), databases)


def _digest(source: Forward, member: Member, kept: list[bytes] | None) -> bytes:
    state = blake2b(digest_size=DIGEST_BYTES)
    if member.stored != member.size:
        state.update(b"sparse %d" % member.size)  # what is stored is not what the file reads as
    for piece in source.chunks(member.stored):
        state.update(piece)
        if kept is not None:
            kept.append(bytes(piece))
    return state.digest()


def _entry(path: str, member: Member, digest: bytes = b"") -> LayerEntry | None:
    same_as = _inside(member.link) if member.type == "1" else ""
    kind = Kind.FILE if same_as else _KINDS.get(member.type)
    if kind is None:
        return None
    size = member.size if kind is Kind.FILE and not same_as else 0
    capability = member.xattrs.get(_CAPABILITY, b"") if member.xattrs else b""
    return LayerEntry(path, kind, member.mode, member.uid, member.gid, size, digest, same_as, capability)


__all__ = ["of_archive"]
