"""Random images, and a reader of file trees that uses none of slimtrace's code: so a copied image can be
compared with its original.

A tree is built as real files, layer by layer, packed by tarfile and loaded into Docker. What an image then
holds is read with lstat(2) and similar calls from an overlay that mount(8) made.
"""

import hashlib
import io
import json
import os
import random
import stat
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep
ACL_ACCESS, ACL_DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
UNDEFINED_ID = 0xFFFFFFFF  # ACL_UNDEFINED_ID


@dataclass(frozen=True)
class FileFacts:
    """Everything of an entry that a copy must keep; `names` are all names of a file with hardlinks."""

    mode: str
    owner: tuple[int, int]
    size: int
    mtime_ns: int
    device: tuple[int, int]
    target: bytes
    content: str
    xattrs: dict[str, bytes]
    names: frozenset[bytes] = frozenset()


def walk(root: Path) -> dict[bytes, FileFacts]:
    """Every entry below `root` by its path within; the root itself is left out."""
    found: dict[bytes, FileFacts] = {}
    names: dict[tuple[int, int], list[bytes]] = {}

    def directory(here: int, path: bytes) -> None:
        for name in map(os.fsencode, os.listdir(here)):
            below = path + b"/" + name
            try:
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:  # overlayfs lists a whiteout that hides nothing
                continue
            found[below] = _facts(here, name, status)
            if stat.S_ISDIR(status.st_mode):
                there = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
                directory(there, below)
                os.close(there)
            elif status.st_nlink > 1:
                names.setdefault((status.st_dev, status.st_ino), []).append(below)

    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    directory(top, b"")
    os.close(top)
    for group in names.values():
        if len(group) > 1:
            found |= {path: replace(found[path], names=frozenset(group)) for path in group}
    return found


def _facts(here: int, name: bytes, status: os.stat_result) -> FileFacts:
    at = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=here)
    link = f"/proc/self/fd/{at}"
    xattrs = {
        key: os.getxattr(link, key) for key in os.listxattr(link) if not key.startswith("trusted.overlay.")
    }
    content, size = "", 0
    if stat.S_ISREG(status.st_mode):
        with Path(link).open("rb") as file:
            content, size = hashlib.file_digest(file, "sha256").hexdigest(), status.st_size
    target = os.readlink(name, dir_fd=here) if stat.S_ISLNK(status.st_mode) else b""
    os.close(at)
    device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    owner = (status.st_uid, status.st_gid)
    return FileFacts(oct(status.st_mode), owner, size, status.st_mtime_ns, device, target, content, xattrs)


def subset(found: dict[bytes, FileFacts], wanted: set[bytes]) -> dict[bytes, FileFacts]:
    """The tree that a copy of only `wanted` must hold: these entries and the directories above them; of the
    names of a hardlinked file those that are copied."""
    kept = {path[:at] for path in wanted for at in range(1, len(path) + 1) if path[at : at + 1] in (b"/", b"")}
    expected = {}
    for path in kept:
        names = found[path].names & kept
        expected[path] = replace(found[path], names=names if len(names) > 1 else frozenset())
    return expected


def differences(one: dict[bytes, FileFacts], two: dict[bytes, FileFacts]) -> dict[bytes, tuple[object, object]]:
    """The entries that differ, by path: (entry of `one`, entry of `two`), None where it is missing."""
    return {
        path: (one.get(path), two.get(path))
        for path in one.keys() | two.keys()
        if one.get(path) != two.get(path)
    }


def acl(*entries: tuple[int, int, int]) -> bytes:
    """The xattr value of an ACL whose entries are (tag, permissions, id) (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL_ENTRIES = (
    (1, 7, UNDEFINED_ID),
    (2, 5, 1234),
    (4, 5, UNDEFINED_ID),
    (8, 4, 77),
    (16, 7, UNDEFINED_ID),
    (32, 1, UNDEFINED_ID),
)

NAMES = (
    b"a", b"b", b"c", b"d.e", b"a-b", b"\xff\xfe", b"new\nline", b" space ", "ünï😀".encode(), b"-dash",
    b"a\\b", b"x.wh.y", b"n" * 255,
)  # fmt: skip
OWNERS = (0, 0, 1, 1000, 65534, (1 << 21) + 1, 3_000_000_000, (1 << 32) - 2)
TIMES = (
    0,
    1,
    999_999_999,
    10**9,
    1_600_000_000_123_456_789,
    4_000_000_000 * 10**9,
    (1 << 33) * 10**9 + 7,
    9 * 10**18,
)
TARGETS = (
    b"a",
    b"b/c",
    b"../a",
    b"../../../..",
    b"/a/b",
    b"/",
    b".",
    b"/proc/self/root",
    b"\xff",
    b"x" * 300,
    b"a" * 4000,
)


class LayerGenerator:
    """Generates random layers. Each has entries that collide with the layers before it: other kinds of file at
    the same paths, whiteouts, opaque directories."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seen: set[bytes] = set()

    def layer(self, root: Path, entries: int = 40) -> bytes:
        """The tar of a new layer, whose files are made below the new directory `root`."""
        root.mkdir()
        made: list[bytes] = []
        files: list[bytes] = []
        weights = range(len(NAMES), 0, -1)
        for _ in range(entries):
            names = self._random.choices(NAMES, weights, k=self._random.randint(1, 4))
            path = b"/" + b"/".join(names)
            with suppress(FileExistsError, NotADirectoryError):
                self._make_parents(root, path, made)
                self._make(root, path, files)
                made.append(path)
        for path in reversed(made):  # children first: creating them changes the directory's mtime
            self._describe(below(root, path))
        removed: list[bytes] = []
        for path in sorted(self._seen):
            gone = any(path.startswith(other + b"/") for other in removed)
            if self._random.random() < 0.15 and _is_free(root, path) and not gone:
                removed.append(path)
        opaque = [path for path in made if _is_dir(below(root, path)) and self._random.random() < 0.2]
        self._seen |= set(made)
        return pack(root, removed, opaque)

    def _make_parents(self, root: Path, path: bytes, made: list[bytes]) -> None:
        for above in _above(path):
            if not _is_dir(below(root, above)):
                below(root, above).mkdir()
                made.append(above)

    def _make(self, root: Path, path: bytes, files: list[bytes]) -> None:
        where, pick = below(root, path), self._random
        if os.path.lexists(where):
            raise FileExistsError
        content = pick.randbytes(pick.choice((1, 511, 512, 513, 70_000)))
        target, block = os.fsdecode(pick.choice(TARGETS)), os.makedev(1, pick.randrange(1 << 20))
        makers: list[tuple[int, Callable[[], Any]]] = [
            (10, lambda: where.write_bytes(content)),
            (2, where.touch),
            (1, lambda: _sparse(where)),
            (5, where.mkdir),
            (5, lambda: where.symlink_to(target)),
            (1, lambda: os.mkfifo(where)),
            (1, lambda: os.mknod(where, stat.S_IFCHR, os.makedev(4095, (1 << 20) - 1))),
            (1, lambda: os.mknod(where, stat.S_IFBLK, block)),
        ]
        if files:
            same = below(root, pick.choice(files))
            makers.append((6, lambda: os.link(same, where, follow_symlinks=False)))
        pick.choices([make for _, make in makers], [weight for weight, _ in makers])[0]()
        if not _is_dir(where):
            files.append(path)

    def _describe(self, where: Path) -> None:
        pick = self._random
        mode = where.lstat().st_mode
        os.chown(where, pick.choice(OWNERS), pick.choice(OWNERS), follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            where.chmod(pick.choice((0o644, 0o755, 0o1777, 0o2750, 0o4711, 0, pick.randrange(0o10000))))
            if pick.random() < 0.1:
                os.setxattr(where, ACL_ACCESS, acl(*ACL_ENTRIES))
            if stat.S_ISDIR(mode) and pick.random() < 0.2:
                os.setxattr(where, ACL_DEFAULT, acl(*ACL_ENTRIES))
        if pick.random() < 0.2:
            os.setxattr(where, f"trusted.{pick.choice('ab')}", pick.randbytes(5), follow_symlinks=False)
        if stat.S_ISREG(mode):
            if pick.random() < 0.2:
                os.setxattr(where, pick.choice(("user.a", "user.ü")), pick.randbytes(100))
            if pick.random() < 0.1:
                os.setxattr(where, "security.capability", CAPABILITY)
        when = pick.choice(TIMES) * (-1 if stat.S_ISLNK(mode) and pick.random() < 0.2 else 1)
        when = max(when, -(1 << 31) * 10**9)  # the earliest time that ext4 can store
        os.utime(where, ns=(0, when), follow_symlinks=False)


def below(root: Path, path: bytes) -> Path:
    """The absolute `path` of a layer as a path below the directory `root`."""
    return Path(os.fsdecode(os.fsencode(root) + path))


def _above(path: bytes) -> Iterator[bytes]:
    """The paths of the directories above `path`, the outermost first."""
    return (path[:at] for at in range(1, len(path)) if path[at : at + 1] == b"/")


def _sparse(where: Path) -> None:
    with where.open("xb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"middle")


def _is_dir(path: Path) -> bool:
    return not path.is_symlink() and path.is_dir()


def _is_free(root: Path, path: bytes) -> bool:
    """Whether nothing is at `path` below `root`, and nothing but directories above it."""
    above = [below(root, each) for each in _above(path)]
    return all(_is_dir(each) for each in above if os.path.lexists(each)) and not os.path.lexists(
        below(root, path)
    )


def pack(root: Path, removed: Sequence[bytes] = (), opaque: Sequence[bytes] = ()) -> bytes:
    """The tar of a layer: the files below `root`, a whiteout for each path of `removed`, and an opaque whiteout
    in each directory of `opaque` (OCI image-spec layer.md, "Whiteouts")."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for above, folders, files in os.walk(root):
            for name in sorted(folders + files):
                _pack_one(tar, Path(above, name), root)
        for path in removed:
            parent, _, name = path.rpartition(b"/")
            tar.addfile(tarfile.TarInfo(os.fsdecode(parent + b"/.wh." + name).lstrip("/")))
        for path in opaque:
            tar.addfile(tarfile.TarInfo(os.fsdecode(path + b"/.wh..wh..opq").lstrip("/")))
    return out.getvalue()


def _pack_one(tar: tarfile.TarFile, path: Path, root: Path) -> None:
    info = tar.gettarinfo(str(path), str(path.relative_to(root)))
    info.uname = info.gname = ""
    for key in os.listxattr(path, follow_symlinks=False):
        value = os.getxattr(path, key, follow_symlinks=False)
        info.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    when = path.lstat().st_mtime_ns
    info.mtime = 0
    info.pax_headers["mtime"] = f"{'-' if when < 0 else ''}{abs(when) // 10**9}.{abs(when) % 10**9:09}"
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def load(tag: str, layers: Sequence[bytes], config: dict[str, Any] | None = None) -> None:
    """Load the layers, bottom first, into Docker as the image `tag`."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    body = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {"Cmd": ["/a"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "test"} for _ in layers],
    }
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": names}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        files = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(body).encode()}
        for name, data in (files | dict(zip(names, layers, strict=True))).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    done = subprocess.run(["docker", "load"], input=out.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def mounted(image: str, place: Path) -> Iterator[Path]:
    """The image's files: a directory below `place` where mount(8) has mounted them as an overlay."""
    found = subprocess.check_output(
        ["docker", "image", "inspect", "--format", "{{json .GraphDriver.Data}}", image]
    )
    data = json.loads(found)
    (place / "empty").mkdir(parents=True, exist_ok=True)
    (place / "root").mkdir(exist_ok=True)
    lowers = ":".join(filter(None, (data["UpperDir"], data.get("LowerDir"), str(place / "empty"))))
    subprocess.run(
        ["mount", "-t", "overlay", "-o", f"ro,lowerdir={lowers}", "none", place / "root"], check=True
    )
    try:
        yield place / "root"
    finally:
        subprocess.run(["umount", "--lazy", place / "root"], check=True)
