"""The slim image as an archive that ``docker load`` and ``podman load`` read.

The format is that of ``docker save`` (moby image/spec/v1.2.md): manifest.json names the configuration, whose
digest is the image's id, and the layers. The layer is not copied to make the archive: the archive is a
stream around it.
"""

import errno
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimtrace.assemble.layer import Layer
from slimtrace.errors import Exit, SlimtraceError

_CHUNK = 1 << 20


def image_id(config: Mapping[str, Any]) -> str:
    """The id ``sha256:…`` that an engine gives to the image with this configuration."""
    return f"sha256:{hashlib.sha256(_canonical(config)).hexdigest()}"


def stream(layer_file: Path, layer: Layer, config: Mapping[str, Any], tags: Sequence[str]) -> Iterator[bytes]:
    """The archive in chunks, for ``Engine.load``. Raises SlimtraceError if the layer cannot be read."""
    body = _canonical(config)
    config_name = f"{image_id(config).removeprefix('sha256:')}.json"
    layer_name = f"{layer.diff_id.removeprefix('sha256:')}/layer.tar"
    manifest = _canonical([{"Config": config_name, "RepoTags": list(tags), "Layers": [layer_name]}])
    yield _header("manifest.json", len(manifest)) + _padded(manifest)
    yield _header(config_name, len(body)) + _padded(body)
    yield _header(layer_name, layer.size)
    try:
        with layer_file.open("rb", buffering=0) as file:
            while piece := file.read(_CHUNK):
                yield piece
    except OSError as error:
        raise SlimtraceError(f"cannot read the layer {layer_file}: {error.strerror}") from error
    yield bytes(-layer.size % 512) + bytes(1024)


def write_archive(
    layer_file: Path, layer: Layer, config: Mapping[str, Any], tags: Sequence[str], out: Path
) -> str:
    """Write the archive to the new file `out`; the image's id. Raises SlimtraceError, after it has removed the
    unfinished file: NO_SPACE for a full disk."""
    try:
        with out.open("xb") as target:
            for piece in stream(layer_file, layer, config, tags):
                target.write(piece)
    except BaseException as error:
        if isinstance(error, FileExistsError):
            raise SlimtraceError(f"cannot write {out}: it exists") from error
        out.unlink(missing_ok=True)
        if isinstance(error, OSError):
            code = Exit.NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else Exit.BAD_INPUT
            raise SlimtraceError(f"cannot write {out}: {error.strerror}", exit_code=code) from error
        raise
    return image_id(config)


def _canonical(value: Any) -> bytes:
    """The canonical JSON of `value`: its digest must not depend on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)
