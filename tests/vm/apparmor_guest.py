"""Runs in a virtual machine whose kernel enforces AppArmor: a slim image under the profile made for it.

    apparmor_guest.py ROOTFS.tar CONFIG.json ARTIFACTS NAME

The container is nginx's slim image, unpacked. Three things are added that the image does not have: a file, a
link to that file among the web server's documents, and another program. What the container could do with these,
under the profile and without one, is printed as lines of JSON. runc starts the container, as it does for
Docker, with the capabilities that slimtrace derived: dockerd itself can take minutes in an emulated machine.
The container's root stays writable, so that only the profile keeps it from writing.
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
OTHER_PROGRAM = "/busybox"
ORPHAN = "slimtrace-trial-4194304-1"  # of a process that cannot be: PID_MAX_LIMIT
FORBIDDEN_LOG = "/usr/sbin/written"

_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    """The stdout of `command`. Raises SystemExit where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"cannot {' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout


def emit(**facts: Any) -> None:
    """Print one line of JSON for the test."""
    print(json.dumps(facts), flush=True)


def unpack(archive: str) -> Path:
    root = SCRATCH / "rootfs"
    root.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(root, numeric_owner=True)
    (root / "secret").write_text("nobody was seen to read this\n")
    (root / DOCUMENTS / "leak").symlink_to("/secret")
    (root / OTHER_PROGRAM.lstrip("/")).write_bytes(BUSYBOX.read_bytes())
    (root / OTHER_PROGRAM.lstrip("/")).chmod(0o755)
    return root


def bundle(root: Path, config: dict[str, Any], capabilities: list[str], profile: str) -> Path:
    """A runc bundle with a network namespace of its own; any user may listen on any port, as in Docker."""
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
    """The denials that AppArmor has written to the kernel's log."""
    lines = [line for line in run("dmesg").splitlines() if 'apparmor="DENIED"' in line]
    return [dict(re.findall(r'(operation|profile|name|comm|requested_mask)="([^"]*)"', line)) for line in lines]


def runc_state() -> dict[str, Any]:
    """The output of `runc state`; empty while there is no container."""
    done = subprocess.run(["runc", "state", "slim"], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def enter_network(pid: int) -> None:
    """Put this process into the network namespace of the process `pid`."""
    with Path(f"/proc/{pid}/ns/net").open() as network:
        if _libc.setns(network.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the container's network")


def attempt(root: Path, config: dict[str, Any], capabilities: list[str], profile: str) -> dict[str, Any]:
    """Run one container, under `profile` if it names one, and tell what the container could do."""
    facts: dict[str, Any] = {"profile": profile}
    place, begun = bundle(root, config, capabilities, profile), time.monotonic()
    # Pipes, as Docker uses: nginx opens its log by the path /dev/stderr, which is then a pipe.
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
    # runc, which is not under the profile, may execute any program; what that program executes is confined.
    facts["executes"] = entered(OTHER_PROGRAM, "sh", "-c", f"{OTHER_PROGRAM} true")
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
    emit(swept=apparmor_loader.sweep(), left=ORPHAN in apparmor_loader.names())
    with apparmor_loader.loaded(name, profile) as in_force:
        emit(in_force=in_force)
        emit(**attempt(root, image, capabilities, name))
    emit(still_there=name in apparmor_loader.names())
    emit(**attempt(root, image, capabilities, ""))
    emit(seconds=round(time.monotonic() - begun, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
