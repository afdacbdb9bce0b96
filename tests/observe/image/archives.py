"""Image archives as an engine saves them, small and in memory.

docker([layer({"a": b"text", ".wh.b": None})]) and oci([...]) are whole archives.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# A member: the content of a file, or fields of a TarInfo.
Spec = bytes | dict[str, Any]


def layer(members: Mapping[str, Spec] | Sequence[tuple[str, Spec]], format_: int = tarfile.PAX_FORMAT) -> bytes:
    """A layer's tar: a name that ends in a slash is a directory."""
    out = io.BytesIO()
    items = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(fileobj=out, mode="w", format=format_, errors="surrogateescape") as archive:
        for name, spec in items:
            member = tarfile.TarInfo(name)
            content = spec if isinstance(spec, bytes) else b""
            member.size = len(content)
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            if isinstance(spec, dict):
                for key, value in spec.items():
                    setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def link(target: str) -> Spec:
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hardlink(target: str) -> Spec:
    return {"type": tarfile.LNKTYPE, "linkname": target}


def docker(layers: Sequence[bytes]) -> bytes:
    """The layout of ``docker save`` up to Docker 24: one folder for each layer, in no order, manifest.json
    last."""
    members: list[tuple[str, Spec]] = []
    names = [f"{number:064x}/layer.tar" for number in range(len(layers), 0, -1)]
    for name, content in sorted(zip(names, layers, strict=True)):
        members += [(f"{name.partition('/')[0]}/", {}), (name, content)]
        members.append((f"{name.partition('/')[0]}/json", b"{}"))
    members.append(("c.json", b'{"rootfs": {"diff_ids": []}}'))
    members.append(("manifest.json", json.dumps([{"Config": "c.json", "Layers": names}]).encode()))
    return layer(members)


def oci(layers: Sequence[bytes], compress: Callable[[bytes], bytes] = bytes, nested: bool = False) -> bytes:
    """The OCI layout, without manifest.json; `nested` puts an index between index.json and the manifest."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content)}

    described = [blob(compress(content)) for content in layers]
    config = blob(json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode())
    manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": described}).encode())
    if nested:
        manifest = blob(json.dumps({"manifests": [manifest]}).encode())
    index = json.dumps({"manifests": [{"digest": "sha256:absent", "size": 1}, manifest]}).encode()
    members = sorted(blobs.items())
    return layer([*members, ("index.json", index), ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')])


def pieces(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
