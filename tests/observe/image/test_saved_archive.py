"""An image's files from a saved archive."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from observe.image.saved_images import archive, diff_ids, image, layer
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.observe.image.saved_archive import FileSlice, SavedImage
from slimtrace.observe.image.tar_members import Extent

BASE = layer("d/", "d/a = 1", "d/b = 2", ("c = three", {"pax_headers": {"SCHILY.xattr.user.x": "y"}}))
TOP = layer("d/.wh.a", "d/b = new", "e -> d", "f = 4")


@contextmanager
def saved(pieces: Iterable[bytes], layers: list[bytes], place: Path) -> Iterator[SavedImage]:
    with closing(SavedImage(pieces, diff_ids(layers), place)) as files:
        yield files


def texts(files: SavedImage) -> dict[str, bytes]:
    return {
        entry.path: files.open(entry.path).read(99) or b"" for entry in files.tree() if entry.kind == "file"
    }


WANTED = {"/c": b"three", "/d/b": b"new", "/f": b"4"}


def test_the_layers_files_are_read_where_they_lie(tmp_path: Path) -> None:
    whole = image(BASE, TOP)
    pieces = (whole[start : start + 777] for start in range(0, len(whole), 777))
    with saved(pieces, [BASE, TOP], tmp_path) as files:
        assert texts(files) == WANTED
        assert files.xattrs("/c") == {"user.x": b"y"}
        assert files.xattrs("/d/b") == {}
        assert files.open("/../../d//./b").read(99) == b"new"
        assert list(tmp_path.iterdir()) == []  # the archive has no name any more
        fds = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == fds - 1


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_layers_may_be_compressed(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = image(BASE, TOP, stored=[compress(BASE), TOP])
    with saved([whole], [BASE, TOP], tmp_path) as files:
        assert texts(files) == WANTED


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_layer_that_comes_twice_is_a_link_to_itself(tmp_path: Path, kind: bytes) -> None:
    config = json.dumps({"rootfs": {"diff_ids": diff_ids([BASE, BASE])}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]).encode()
    out = io.BytesIO(archive({"c.json": config, "2/layer.tar": BASE, "manifest.json": manifest}))
    with tarfile.open(fileobj=out, mode="a") as tar:
        link = tarfile.TarInfo("1/layer.tar")
        link.type, link.linkname = kind, "../2/layer.tar" if kind == tarfile.SYMTYPE else "2/layer.tar"
        tar.addfile(link)
    with saved([out.getvalue()], [BASE, BASE], tmp_path) as files:
        assert "/d/a" in files.tree()


def test_of_several_platforms_the_right_one_is_read(tmp_path: Path) -> None:
    files = {}
    images = []
    for number, layers in enumerate(([BASE], [BASE, TOP])):
        files[f"{number}.json"] = json.dumps({"rootfs": {"diff_ids": diff_ids(layers)}}).encode()
        names = [f"{number}-{place}" for place in range(len(layers))]
        files |= dict(zip(names, layers, strict=True))
        images.append({"Config": f"{number}.json", "Layers": names})
    files["manifest.json"] = json.dumps(images).encode()
    with saved([archive(files)], [BASE, TOP], tmp_path) as found:
        assert texts(found) == WANTED


@pytest.mark.parametrize("path", ["/", "/d", "/e", "/e/b", "/none", "/d/a", "/c/x", "", "/d/b\0"])
def test_only_regular_files_open(tmp_path: Path, path: str) -> None:
    with saved([image(BASE, TOP)], [BASE, TOP], tmp_path) as files, pytest.raises(OSError, match=r".+"):
        files.open(path)


def manifest_of(text: str) -> bytes:
    return archive({"manifest.json": text.encode(), "c.json": b"{}"})


BROKEN = {
    "nothing": b"",
    "no tar": b"x" * 2048,
    "zeros": bytes(10240),
    "no manifest": archive({"x": b""}),
    "half": image(BASE, TOP)[:4000],
    "no JSON": manifest_of("{"),
    "no list": manifest_of("7"),
    "no images": manifest_of("[]"),
    "no object": manifest_of("[7]"),
    "no config": manifest_of('[{"Layers": []}]'),
    "no config there": manifest_of('[{"Config": "../c", "Layers": []}]'),
    "other layers": manifest_of('[{"Config": "c.json", "Layers": []}]'),
    "deep JSON": manifest_of("[" * 100_000),
    "one layer less": image(BASE),
    "damaged gzip": image(BASE, TOP, stored=[gzip.compress(BASE)[:-40], TOP]),
    "no gzip": image(BASE, TOP, stored=[b"\x1f\x8b" + b"x" * 600, TOP]),
    "no zstd": image(BASE, TOP, stored=[b"\x28\xb5\x2f\xfd" + b"x" * 600, TOP]),
    "half of xz": image(BASE, TOP, stored=[lzma.compress(BASE)[:-40], TOP]),
    "half of bzip2": image(BASE, TOP, stored=[bz2.compress(BASE)[:-40], TOP]),
    "no layer": image(BASE, TOP, stored=[BASE, b"\xff" * 5000]),
}


@pytest.mark.parametrize("whole", BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_an_error(tmp_path: Path, whole: bytes) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SlimtraceError, match="cannot read the image's layers") as raised:
        SavedImage([whole], diff_ids([BASE, TOP]), tmp_path)
    assert raised.value.exit_code is Exit.BAD_INPUT
    assert len(os.listdir("/proc/self/fd")) == fds
    assert list(tmp_path.iterdir()) == []


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "manifest.json"
        tar.addfile(link)
    with pytest.raises(SlimtraceError, match="not in the archive"):
        SavedImage([out.getvalue()], [], tmp_path)


def test_a_forged_header_does_not_take_all_memory(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + struct.pack(">Q", 1 << 40).rjust(11, b"\0")
    header[156:157] = tarfile.XHDTYPE
    header[148:156] = f"{sum(header[:148]) + 8 * 32 + sum(header[156:]):06o}\0 ".encode()
    huge = bytes(header) + bytes(4096)
    with pytest.raises(SlimtraceError, match="header is too large"):
        SavedImage([image(huge)], diff_ids([huge]), tmp_path)


def test_a_full_disk_is_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SlimtraceError, match="no space left") as raised:
        SavedImage([image(BASE, TOP)], diff_ids([BASE, TOP]), tmp_path)
    assert raised.value.exit_code is Exit.NO_SPACE


EXTENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=6)


@given(EXTENTS, st.integers(0, 9), st.lists(st.tuples(st.integers(0, 120), st.integers(-1, 40)), max_size=8))
def test_a_slice_reads_as_the_sparse_file(
    spec: list[tuple[int, int]], hole: int, reads: list[tuple[int, int]]
) -> None:
    data = bytes(range(1, 200))
    extents, whole, at = [], b"", 7
    for gap, length in spec:
        whole += bytes(gap)
        extents.append(Extent(len(whole), length, at))
        whole += data[at : at + length]
        at += length + 3
    whole += bytes(hole)
    fd = os.memfd_create("part")
    try:
        os.write(fd, data)
        slice_, model = FileSlice(fd, 0, len(whole), tuple(extents)), io.BytesIO(whole)
        buffered = io.BufferedReader(slice_, 16)
        assert buffered.read() == whole
        for position, size in reads:
            buffered.seek(position)
            model.seek(position)
            assert buffered.read(size) == model.read(size)
    finally:
        os.close(fd)
