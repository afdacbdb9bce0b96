"""Layers from an engine's archive: both layouts, compressed or not, and damaged or forged archives."""

import bz2
import gzip
import json
import lzma
import tarfile
import tracemalloc
import zlib
from unittest.mock import patch

import pytest
import zstandard
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.errors import SlimtraceError
from slimtrace.facts.layers import Layer
from slimtrace.facts.tree import Kind
from slimtrace.observe.image import streams
from slimtrace.observe.image.archive_layers import layers_of_archive

from .archives import docker, hardlink, layer, link, oci, pieces

LONG = "long/" * 60 + "name"
LOWER = layer(
    {
        "usr/": {},
        "usr/bin/tool": b"program",
        "usr/bin/again": hardlink("usr/bin/tool"),
        "usr/bin/sh": link("dash"),
        "usr/bin/su": {"mode": 0o4755, "uid": 5, "gid": 6},
        LONG: b"x",
        "dev/null": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        "run/fifo": {"type": tarfile.FIFOTYPE},
        "bin/ping": {"pax_headers": {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02abc"}},
        "var/lib/dpkg/status": b"Package: a\nStatus: install ok installed\n",
    }
)
UPPER = layer(
    {
        "usr/bin/.wh.sh": b"",
        ".wh..": b"",
        ".wh...": b"",
        ".wh.": b"",
        "etc/.wh..wh..opq": b"",
        "./etc/new": b"n",
        ".wh..wh.plnk/": {},
    }
)


def read(archive: bytes, size: int = 1 << 16) -> tuple[Layer, ...]:
    return layers_of_archive(pieces(archive, size))


@pytest.mark.parametrize(
    "archive",
    [
        docker([LOWER, UPPER]),
        oci([LOWER, UPPER]),
        oci([LOWER, UPPER], gzip.compress, nested=True),
        oci([LOWER, UPPER], zstandard.ZstdCompressor().compress),
    ],
    ids=["docker", "oci", "gzip", "zstd"],
)
@pytest.mark.parametrize("size", [1, 700, 1 << 20])
def test_the_layers_are_the_same_in_every_layout(archive: bytes, size: int) -> None:
    lower, upper = read(archive, size)
    assert set(lower.entries) == {
        "/usr", "/usr/bin/tool", "/usr/bin/again", "/usr/bin/sh", "/usr/bin/su", f"/{LONG}", "/dev/null",
        "/run/fifo", "/bin/ping", "/var/lib/dpkg/status",
    }  # fmt: skip
    tool, again = lower.entries["/usr/bin/tool"], lower.entries["/usr/bin/again"]
    assert (tool.kind, tool.size, len(tool.digest)) == (Kind.FILE, 7, 16)
    assert (again.kind, again.size, again.digest, again.same_as) == (Kind.FILE, 0, b"", "/usr/bin/tool")
    su = lower.entries["/usr/bin/su"]
    assert (su.mode, su.uid, su.gid) == (0o4755, 5, 6)
    kinds = [lower.entries[path].kind for path in ("/usr", "/usr/bin/sh", "/dev/null", "/run/fifo")]
    assert kinds == [Kind.DIR, Kind.LINK, Kind.CHAR, Kind.FIFO]
    assert lower.entries["/bin/ping"].capability == b"\x01\x00\x00\x02abc"
    assert lower.databases["/var/lib/dpkg/status"].startswith(b"Package: a")
    assert (upper.whiteouts, upper.opaques) == ({"/usr/bin/sh"}, {"/etc"})
    assert set(upper.entries) == {"/etc/new"}


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_header(format_: int) -> None:
    name = f"{'d' * 90}/{'e' * 60}/file"
    [found] = read(docker([layer({name: b"text", "a": b"text", "b": b"other"}, format_)]))
    assert found.entries[f"/{name}"].digest == found.entries["/a"].digest != found.entries["/b"].digest


def test_names_that_are_not_utf8() -> None:
    [found] = read(docker([layer({"caf\udce9": b"1"}, tarfile.GNU_FORMAT)]))
    assert set(found.entries) == {"/caf\udce9"}


def test_a_layer_that_is_there_twice_is_a_link_the_second_time() -> None:
    manifest = json.dumps([{"Config": "c", "Layers": ["a/layer.tar", "b/layer.tar"]}]).encode()
    archive = layer(
        [("b/layer.tar", link("../a/layer.tar")), ("a/layer.tar", LOWER), ("manifest.json", manifest)]
    )
    first, second = read(archive)
    assert first == second


def test_of_several_platforms_the_one_with_these_diff_ids_is_read() -> None:
    configs = {f"{name}.json": json.dumps({"rootfs": {"diff_ids": [name]}}).encode() for name in "ab"}
    manifest = [{"Config": f"{name}.json", "Layers": [f"{name}/layer.tar"]} for name in "ab"]
    archive = layer(
        [
            ("a/layer.tar", LOWER),
            ("b/layer.tar", UPPER),
            *configs.items(),
            ("manifest.json", json.dumps(manifest).encode()),
        ]
    )
    [upper] = layers_of_archive(pieces(archive), ["b"])
    assert upper.opaques
    [lower] = layers_of_archive(pieces(archive), ["x"])
    assert not lower.opaques


def test_a_sparse_file_has_its_own_size() -> None:
    sparse = tarfile.TarInfo("sparse")
    sparse.size = 3
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[386:410] = b"%011o\0%011o\0" % (0, 3)
    block[483:495] = b"%011o\0" % 1_000_000
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    content = bytes(block) + b"abc" + bytes(509) + layer({"next": b"n"})
    [found] = read(docker([content]))
    assert {path: entry.size for path, entry in found.entries.items()} == {"/sparse": 1_000_000, "/next": 1}


def forged(name: str, size: int, type_: bytes = b"0") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, type_
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        layer({"../../etc/passwd": b"x"}),
        layer({"a/../../b": b"x"}),
        layer({"a": hardlink("../../b")}),
        forged("x", 1 << 40) + bytes(512),
        forged("x", 1 << 40, b"x") + bytes(512),
        forged("x", 1 << 40, b"L") + bytes(512),
        forged("pax", 512, b"x") + b"999999999 path=x\n".ljust(512, b"\0"),
        forged("pax", 512, b"x") + b"8 path=x".ljust(512, b"\0"),
        LOWER[:1500],
        gzip.compress(LOWER)[:400],
        zlib.compress(LOWER),
        b"\x1f\x8b" + bytes(600),
        b"\x28\xb5\x2f\xfd" + b"\xff" * 600,
    ],
)
def test_a_forged_layer_is_an_error(content: bytes) -> None:
    for archive in (docker([content]), oci([content])):
        with pytest.raises(SlimtraceError, match="cannot read the image's layers: "):
            read(archive)


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        bytes(1024),
        b"no archive at all" * 100,
        layer({"manifest.json": b"[]"}),
        layer({"manifest.json": b"{}"}),
        layer({"manifest.json": b'[{"Layers": "x"}]'}),
        layer({"manifest.json": b'[{"Layers": ["gone"]}]'}),
        layer({"manifest.json": b"[" * 100_000}),
        layer({"index.json": b'{"manifests": [{"digest": 5}]}'}),
        layer({"index.json": b"{"}),
        layer({"index.json": b'{"layers": []}'}),
        layer({"a": link("a"), "manifest.json": b'[{"Layers": ["a"]}]'}),
    ],
)
def test_an_archive_without_an_image_is_an_error_or_has_no_layers(archive: bytes) -> None:
    try:
        assert read(archive) == ()
    except SlimtraceError as problem:
        assert problem.message.startswith("cannot read the image's layers: ")


def test_an_index_that_names_itself_ends() -> None:
    with pytest.raises(SlimtraceError):
        read(layer({"index.json": b'{"manifests": [{"digest": "../index.json"}]}'}))


def test_memory_does_not_grow_with_the_size_of_the_files() -> None:
    zeros = gzip.compress(layer({"big": bytes(200 << 20)}), 1)
    archive = oci([zeros], bytes)
    tracemalloc.start()
    [found] = read(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.entries["/big"].size == 200 << 20
    assert peak < 32 << 20


def test_the_number_of_entries_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimtrace.observe.image.archive_layers.ENTRY_LIMIT", 12)
    whiteouts = layer({f".wh.{number}": b"" for number in range(13)})
    for layers in ([whiteouts], [LOWER, LOWER]):
        with pytest.raises(SlimtraceError, match="more than 12 entries"):
            read(docker(layers))
    assert len(read(docker([LOWER, UPPER]))) == 2


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_damage_anywhere_is_an_error_or_other_layers(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from((docker([LOWER, UPPER]), oci([LOWER, UPPER], gzip.compress))))
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    try:
        for found in read(bytes(broken[: cut if data.draw(st.booleans()) else len(broken)])):
            assert all(path.startswith("/") and "/../" not in f"{path}/" for path in found.entries)
    except SlimtraceError as problem:
        assert problem.message.startswith("cannot read the image's layers: ")


@given(st.binary(max_size=300), st.integers(1, 70), st.integers(1, 9), st.sampled_from([1, 64, 1 << 20]))
def test_a_compressed_stream_is_decompressed_whole(data: bytes, times: int, members: int, piece: int) -> None:
    """Also where the last output has its full size, and where one member follows another."""
    whole = data * times
    with patch.object(streams, "PIECE", piece):
        for compress in (gzip.compress, bz2.compress, lzma.compress, zstandard.compress):
            compressed = compress(whole) * members
            found = b"".join(streams.decompressed(pieces(compressed, 50)))
            assert found == whole * members, compress
