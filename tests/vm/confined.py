"""Runs in a machine whose kernel enforces AppArmor: a slim image under the profile made for it.

    confined.py ROOTFS.tar CONFIG.json ARTIFACTS NAME

The container is nginx's slim image, unpacked, and gets what its image has not: a file, a link to it among the
documents, and another program. What it may do of these, under the profile and under none, comes out as lines of
JSON. It is started by runc, which Docker starts too, with the capabilities that slimtrace gives it: dockerd
itself can take minutes in an emulated machine. Its root stays writable, so that it is the profile that keeps it
from writing.
"""

from __future__ import annotations

import ctypes
import json
import re
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# the checkout, before a slimtrace that is installed
sys.path.insert(0, str(Path(__file__).parents[2]))

from slimtrace.observe.container import apparmor_loader

SECONDS = 60.0
SCRATCH = Path("/run/scratch")
BUSYBOX = Path("/run/busybox")  # static, from the initramfs
DOCUMENTS = "var/www/html"
OTHER = "/busybox"
ORPHAN = "slimtrace-trial-4194304-1"  # of a process that cannot be: PID_MAX_LIMIT
FORBIDDEN_LOG = "/usr/sbin/written"

_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"cannot {' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def unpack(archive: str) -> Path:
    root = SCRATCH / "rootfs"
    root.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(root, numeric_owner=True)
    (root / "secret").write_text("nobody was seen to read this\n")
    (root / DOCUMENTS / "leak").symlink_to("/secret")
    (root / OTHER.lstrip("/")).write_bytes(BUSYBOX.read_bytes())
    (root / OTHER.lstrip("/")).chmod(0o755)
    return root


def bundle(root: Path, config: dict[str, Any], capabilities: list[str], profile: str) -> Path:
    """A runc bundle with a loopback of its own, on which any user may listen on any port, as Docker has it."""
    place = SCRATCH / f"bundle-{profile or 'none'}"
    place.mkdir()
    run("runc", "spec", "--bundle", str(place))
    spec = json.loads((place / "config.json").read_text())
    names = [f"CAP_{name.upper()}" for name in capabilities]
    spec["process"] |= {
        "args": [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())],
        "env": config["Env"],
        "cwd": config.get("WorkingDir") or "/",
        "terminal": False,
        "apparmorProfile": profile,
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
    }
    spec["root"] = {"path": str(root), "readonly": False}
    spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    (place / "config.json").write_text(json.dumps(spec))
    return place


def get(path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1{path}", timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, ""


def denials() -> list[dict[str, str]]:
    """All that AppArmor has written to the kernel's log."""
    lines = [line for line in run("dmesg").splitlines() if 'apparmor="DENIED"' in line]
    return [dict(re.findall(r'(operation|profile|name|comm|requested_mask)="([^"]*)"', line)) for line in lines]


def runc_state() -> dict[str, Any]:
    """What runc tells of the container; nothing where there is none yet."""
    done = subprocess.run(["runc", "state", "slim"], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def enter_network(pid: int) -> None:
    """Put this process into the network of another one."""
    with Path(f"/proc/{pid}/ns/net").open() as network:
        if _libc.setns(network.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the container's network")


def attempt(root: Path, config: dict[str, Any], capabilities: list[str], profile: str) -> dict[str, Any]:
    """One container, and what it could do."""
    facts: dict[str, Any] = {"profile": profile}
    place, begun = bundle(root, config, capabilities, profile), time.monotonic()
    # pipes, as Docker has them: its output is a file that it opens by /dev/stderr
    command = ["runc", "run", "--bundle", str(place), "slim"]
    container = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    pid = 0
    while "works" not in facts:
        try:
            if not pid and (state := runc_state()).get("status") == "running":
                enter_network(pid := state["pid"])
            if pid:
                facts["works"] = get("/")
        except OSError:
            if container.poll() is not None or time.monotonic() > begun + SECONDS:
                assert container.stdout is not None
                container.kill()
                raise SystemExit(f"{profile}: {container.stdout.read().decode()}{denials()}") from None
        time.sleep(0.1)

    def entered(*words: str) -> tuple[int, str]:
        done = subprocess.run(["runc", "exec", "slim", *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    facts["exec"] = entered("/usr/sbin/nginx", "-t")
    facts["label"] = Path(f"/proc/{pid}/attr/current").read_text().strip()
    facts["denied at work"] = denials()
    facts["reads"] = get("/leak")
    facts["writes"] = entered("/usr/sbin/nginx", "-t", "-g", f"error_log {FORBIDDEN_LOG};")
    # The runtime may execute anything (it is not under the profile); the program itself then is.
    facts["executes"] = entered(OTHER, "sh", "-c", f"{OTHER} true")
    before = time.monotonic()
    number = getattr(signal, config.get("StopSignal") or "SIGTERM")
    run("runc", "kill", "slim", str(int(number)))
    try:
        facts["exit code"] = container.wait(SECONDS)
    except subprocess.TimeoutExpired:
        facts["exit code"] = None
    facts["stop seconds"] = round(time.monotonic() - before, 1)
    facts["denied"] = denials()
    subprocess.run(["runc", "delete", "--force", "slim"], capture_output=True, check=False)
    (root / FORBIDDEN_LOG.lstrip("/")).unlink(missing_ok=True)
    return facts


def main() -> int:
    archive, config, artifacts, name = sys.argv[1:]
    begun = time.monotonic()
    profile = Path(artifacts, "apparmor.profile").read_text()
    capabilities = json.loads(Path(artifacts, "confinement.json").read_text()).get("cap_add", [])
    root = unpack(archive)
    image = json.loads(Path(config).read_text())
    run("sh", "-c", f"echo 'profile {ORPHAN} {{}}' | apparmor_parser --replace --skip-cache")
    tell(swept=apparmor_loader.sweep(), left=ORPHAN in apparmor_loader.names())
    with apparmor_loader.loaded(name, profile) as in_force:
        tell(in_force=in_force)
        tell(**attempt(root, image, capabilities, name))
    tell(still_there=name in apparmor_loader.names())
    tell(**attempt(root, image, capabilities, ""))
    tell(seconds=round(time.monotonic() - begun, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
