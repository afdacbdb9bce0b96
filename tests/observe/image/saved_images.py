"""Layers and saved images as short texts.

    "d/"              a directory            "f = text"     a file
    "l -> target"     a symlink              "h == d/f"     a hardlink
    "p |"             a fifo                 "n 1:3"        a character device

A whiteout is a file with a whiteout's name. An entry may also be a pair of such a text and the fields that are
to differ in its header.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

Line = str | tuple[str, Mapping[str, Any]]
_FORMS = (
    (re.compile(r"(.*) -> (.*)", re.DOTALL), tarfile.SYMTYPE),
    (re.compile(r"(.*) == (.*)", re.DOTALL), tarfile.LNKTYPE),
    (re.compile(r"(.*) = (.*)", re.DOTALL), tarfile.REGTYPE),
    (re.compile(r"(.*) \|()", re.DOTALL), tarfile.FIFOTYPE),
    (re.compile(r"(.*) (\d+:\d+)", re.DOTALL), tarfile.CHRTYPE),
    (re.compile(r"(.*)/()", re.DOTALL), tarfile.DIRTYPE),
    (re.compile(r"(.*)()", re.DOTALL), tarfile.REGTYPE),
)


def layer(*lines: Line) -> bytes:
    """A layer's tar."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for line in lines:
            text, fields = (line, {}) if isinstance(line, str) else line
            info, content = _entry(text)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _entry(text: str) -> tuple[tarfile.TarInfo, bytes]:
    name, value, kind = next(
        (match[1], match[2], kind) for form, kind in _FORMS if (match := form.fullmatch(text))
    )
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_700_000_000
    if kind == tarfile.CHRTYPE:
        info.devmajor, info.devminor = map(int, value.split(":"))
    elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = value
    content = value.encode("utf-8", "surrogateescape") if kind == tarfile.REGTYPE else b""
    info.size = len(content)
    return info, content


def diff_ids(layers: Sequence[bytes]) -> list[str]:
    return [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]


def image(
    *layers: bytes,
    tag: str = "",
    stored: Sequence[bytes] | None = None,
    config: Mapping[str, Any] | None = None,
) -> bytes:
    """An image as ``docker save`` writes it and ``docker load`` reads it; `stored` are the layers as they are
    in the archive, where they are compressed."""
    body = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-02-02T02:02:02Z",
        "config": {"Cmd": ["/none"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": diff_ids(layers)},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }).encode()  # fmt: skip
    name = f"{hashlib.sha256(body).hexdigest()}.json"
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": [tag] if tag else [], "Layers": names}]
    files = {name: body, **dict(zip(names, stored or layers, strict=True))}
    return archive({**files, "manifest.json": json.dumps(manifest).encode()})


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of plain files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
