"""Runs in a machine whose kernel enforces AppArmor: a slim image in real Docker, under the profile made for it.

    confined.py IMAGE.tar TAG PROFILE NAME

The container is nginx, and gets three things that its image has not: a file, a link to it among the documents, and
another program. What it may do of these, with the profile and with Docker's own, comes out as lines of JSON.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DOCKERD = (
    *("dockerd", "--config-file", "/run/daemon.json", "--data-root", "/run/scratch/docker"),
    *("--storage-driver", "overlay2", "--bridge", "none", "--iptables=false", "--ip-forward=false"),
)
SECONDS = 120.0
SECRET = b"nobody was seen to read this\n"
BUSYBOX = Path("/run/busybox")  # static, from the initramfs


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"cannot {' '.join(command)}: {done.stderr}{done.stdout}")
    return done


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run("docker", *words, check=check)


def extras() -> bytes:
    """What the container gets beyond its image, as a tar."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, mode, content in (("secret", 0o644, SECRET), ("other", 0o755, BUSYBOX.read_bytes())):
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("var/www/html/leak")
        link.type, link.linkname = tarfile.SYMTYPE, "/secret"
        tar.addfile(link)
    return archive.getvalue()


def get(path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1{path}", timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, ""


def denials(since: int) -> list[dict[str, str]]:
    """What AppArmor wrote to the kernel's log, from a line on."""
    lines = run("dmesg").stdout.splitlines()[since:]
    found = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines if 'apparmor="DENIED"' in line]
    return [{key: value for key, value in each.items() if key != "apparmor"} for each in found]


def lines() -> int:
    return len(run("dmesg").stdout.splitlines())


def attempt(tag: str, profile: str) -> dict[str, Any]:
    """One container, and what it could do."""
    facts: dict[str, Any] = {"profile": profile}
    name = docker("create", "--network", "host", "--security-opt", f"apparmor={profile}", tag).stdout.strip()
    subprocess.run(["docker", "cp", "-", f"{name}:/"], input=extras(), check=True)
    begun = lines()
    docker("start", name)
    until = time.monotonic() + SECONDS
    while True:
        try:
            facts["works"] = get("/")
            break
        except OSError:
            if time.monotonic() > until:
                raise SystemExit(docker("logs", name).stderr) from None
            time.sleep(0.2)
    facts["exec"] = docker("exec", name, "nginx", "-t", check=False).returncode
    pid = docker("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
    facts["label"] = Path(f"/proc/{pid}/attr/current").read_text().strip()
    facts["denied at work"] = denials(begun)
    facts["reads"] = get("/leak")
    writing = docker("exec", name, "nginx", "-t", "-g", "error_log /usr/sbin/written;", check=False)
    facts["writes"] = (writing.returncode, writing.stderr)
    facts["executes"] = docker("exec", name, "/other", "true", check=False).returncode
    before = time.monotonic()
    docker("stop", "--time", "100", name)
    facts["stop seconds"] = round(time.monotonic() - before, 1)
    facts["exit code"] = int(docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout)
    facts["denied"] = denials(begun)
    docker("rm", name)
    return facts


def main() -> int:
    archive, tag, profile, name = sys.argv[1:]
    begun = time.monotonic()
    Path("/run/daemon.json").write_text("{}")
    with Path("/run/dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(DOCKERD, stdout=log, stderr=log)
    run("apparmor_parser", "--replace", "--skip-cache", profile)
    print(json.dumps({"loaded": round(time.monotonic() - begun, 1)}), flush=True)
    while docker("version", check=False).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > begun + SECONDS:
            raise SystemExit(Path("/run/dockerd.log").read_text()[-3000:])
        time.sleep(0.5)
    print(json.dumps({"ready": round(time.monotonic() - begun, 1)}), flush=True)
    docker("load", "--input", archive)
    for each in (name, "docker-default"):
        print(json.dumps(attempt(tag, each)), flush=True)
        print(json.dumps({"done": round(time.monotonic() - begun, 1)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
