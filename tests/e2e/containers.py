"""Images and containers through docker's command line, requests over a socket, and `docker export`."""

import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

WAIT_SECONDS = 60.0  # how long a test waits for anything before it fails


def docker(*words: str) -> str:
    """The stdout of a docker command, which has to succeed."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def inspect(name: str, template: str) -> Any:
    """A part of an image or container, such as ``.Config``."""
    return json.loads(docker("inspect", "--format", f"{{{{json {template}}}}}", name))


def exists(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def eventually(question: Callable[[], T | None], what: str, seconds: float = WAIT_SECONDS) -> T:
    """The first answer to `question` that is not None; asked every 50 ms."""
    end = time.monotonic() + seconds
    while (answer := question()) is None:
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)
    return answer


@contextlib.contextmanager
def running(image: str, *options: str) -> Iterator[str]:
    """A container of `image`, removed with its anonymous volumes at the end."""
    container = docker("create", *options, image)
    try:
        docker("start", container)
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def address(container: str) -> str:
    found = inspect(container, ".NetworkSettings.IPAddress")
    assert found, f"it is not running: {docker('logs', container)}"
    return str(found)


def stop(container: str) -> tuple[int, float]:
    """The exit code that `docker stop` brings about, and the seconds it takes."""
    begun = time.monotonic()
    docker("stop", container)
    return int(inspect(container, ".State.ExitCode")), time.monotonic() - begun


@dataclass(frozen=True)
class Page:
    """The answer to a GET request, without the headers that differ between requests (Date)."""

    status: int
    content_type: str | None
    body: bytes


def page(host: str, port: int, path: str = "/", coding: str = "identity") -> Page | None:
    """The answer to GET `path`; None while nothing answers."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": coding})
        response = connection.getresponse()
        return Page(response.status, response.getheader("Content-Type"), response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def redis(host: str, port: int, *commands: str) -> list[bytes] | None:
    """A Redis server's answers to inline commands (redis.io, protocol-spec); None while nothing listens."""
    try:
        with (
            socket.create_connection((host, port), timeout=10) as connection,
            connection.makefile("rb") as answers,
        ):
            found = []
            for command in commands:
                connection.sendall(f"{command}\r\n".encode())
                line = answers.readline()
                found.append(
                    line + answers.readline() if line.startswith(b"$") and line != b"$-1\r\n" else line
                )
            return found
    except OSError:
        return None


@dataclass(frozen=True)
class Entry:
    """A file of an image, with everything that must be the same in the slim image. `names` are all its
    hardlinked names; `mtime` is in whole seconds, as docker exports it."""

    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: float
    size: int
    target: str
    device: tuple[int, int]
    capability: str
    content: str
    names: frozenset[str]


# Paths that the engine itself creates in every container, over those of the image.
ENGINE_FILES = frozenset({
    "/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm", "/proc", "/sys", "/etc",
    "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf",
})  # fmt: skip


def entries(image: str) -> dict[str, Entry]:
    """Every file of the image by its path, out of the export of a container that was never started."""
    container = docker("create", image)
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            with tarfile.open(fileobj=export.stdout, mode="r|", errors="surrogateescape") as archive:
                first, names = _read(archive)
            assert export.wait() == 0
    finally:
        docker("rm", "--volumes", container)
    found = {}
    for name, (member, content) in first.items():
        links = frozenset(names[name])
        entry = Entry(
            member.type, member.mode, member.uid, member.gid, member.mtime, member.size, member.linkname,
            (member.devmajor, member.devminor), member.pax_headers.get("SCHILY.xattr.security.capability", ""),
            content, links,
        )  # fmt: skip
        found |= dict.fromkeys(links, entry)
    return {path: entry for path, entry in found.items() if path not in ENGINE_FILES}


def _read(archive: tarfile.TarFile) -> tuple[dict[str, tuple[tarfile.TarInfo, str]], dict[str, list[str]]]:
    first: dict[str, tuple[tarfile.TarInfo, str]] = {}
    names: dict[str, list[str]] = {}
    for member in archive:
        path = "/" + member.name.rstrip("/")
        if member.islnk():
            names["/" + member.linkname].append(path)
            continue
        file = archive.extractfile(member) if member.isfile() else None
        first[path] = member, hashlib.file_digest(file, "sha256").hexdigest() if file else ""
        names[path] = [path]
    return first, names
