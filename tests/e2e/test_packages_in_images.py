"""The packages of slim images: the SBOM, the package databases, and what `slimtrace diff` reports as removed.
The expected values come from dpkg itself in the fat image."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builds import Build, Program
from containers import ENGINE_FILES, Entry, docker, entries

from slimtrace import store
from slimtrace.facts.paths import printable
from slimtrace.reason.explain.sbom import cyclonedx_json as sbom_of
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.packages import Owners, installed
from slimtrace.reason.keep.select import select_paths

SYMLINK = b"2"  # tarfile.SYMTYPE
ADMIN = "/var/lib/dpkg"


def cyclonedx_json(build: Build) -> dict[str, Any]:
    assert build.completed.returncode == 0, build.completed.stderr
    found: dict[str, Any] = json.loads((build.artifacts / "sbom.cdx.json").read_text())
    return found


def components(build: Build, kind: str) -> set[tuple[str, str]]:
    """Name and version of the SBOM's packages of one kind."""
    parts = cyclonedx_json(build)["components"]
    return {
        (part["name"], part["version"]) for part in parts if part.get("purl", "").startswith(f"pkg:{kind}/")
    }


def run(*words: str, image: str, options: tuple[str, ...] = ()) -> str:
    """The stdout of a program of the image. Exit code 1 is accepted: dpkg-query gives it where an argument has
    no match."""
    command = ["docker", "run", "--rm", "--user", "0", *options, "--entrypoint", words[0], image, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def owners(fat: str, slim: dict[str, Entry]) -> set[str]:
    """The packages that own the files and links of the slim image, by dpkg in the fat one."""
    files = {path for path, entry in slim.items() if entry.kind != b"5" and path.count("/") > 1}
    # dpkg knows a path as its package has it, which may be /lib/… from before /lib was merged into /usr/lib.
    asked = files | {path.removeprefix("/usr") for path in files if path.startswith("/usr/")}
    answers = run("dpkg-query", "--search", *sorted(asked), image=fat).splitlines()
    lines = [line.rpartition(": ") for line in answers if not line.startswith("diversion by ")]
    return {name.partition(":")[0] for names, _, path in lines if path in asked for name in names.split(", ")}


def copied(image: str, path: str, target: Path) -> Path:
    container = docker("create", image)
    try:
        docker("cp", f"{container}:{path}", str(target))
    finally:
        docker("rm", "--volumes", container)
    return target


@pytest.mark.parametrize("name", ["jq", "python"])
def test_the_sbom_has_the_packages_that_dpkg_says_own_the_files(
    built: Callable[[str], Build], name: str
) -> None:
    done = built(name)
    expected = owners(done.fat, entries(done.slim))
    assert {package for package, _ in components(done, "deb")} == expected
    assert {"libc6", "base-files"} < expected


def test_the_sbom_has_the_python_packages(built: Callable[[str], Build]) -> None:
    installed = run("/opt/venv/bin/pip", "freeze", "--all", image=built("python").fat).split()
    found = {f"{name}=={version}".lower() for name, version in components(built("python"), "pypi")}
    assert found <= {line.lower() for line in installed}
    assert {"flask", "werkzeug", "jinja2"} <= {line.partition("==")[0] for line in found} - {"pip"}


def test_the_sbom_has_the_node_packages(built: Callable[[str], Build]) -> None:
    assert {"express", "body-parser", "debug"} <= {name for name, _ in components(built("node"), "npm")}


@pytest.mark.parametrize("name", ["jq", "python"])
def test_dpkg_reads_the_database_in_the_slim_image(
    built: Callable[[str], Build], name: str, tmp_path: Path
) -> None:
    done = built(name)
    copied(done.slim, ADMIN, tmp_path / "dpkg")
    mounted = ("--volume", f"{tmp_path}/dpkg:/db:ro")
    ask = ("dpkg-query", "--admindir", "/db")
    shown = run(*ask, "--show", "--showformat", "${Package} ${Version}\\n", image=done.fat, options=mounted)
    packages = {tuple(line.split()) for line in shown.splitlines()}
    assert packages == components(done, "deb")
    # The files of their lists are in the slim image, where top-level links such as /lib are followed.
    listed = run(*ask, "--listfiles", *sorted(name for name, _ in packages), image=done.fat, options=mounted)
    slim = entries(done.slim)
    links = {
        path: entry.target for path, entry in slim.items() if entry.kind == SYMLINK and path.count("/") == 1
    }
    for path in filter(None, listed.splitlines()):
        if path.startswith("/") and path not in ENGINE_FILES | {"/."}:
            top = f"/{path.split('/')[1]}"
            there = f"/{links[top]}{path.removeprefix(top)}" if top in links else path
            assert there in slim, path


def test_a_stored_capture_gives_the_same_without_the_image(built: Callable[[str], Build]) -> None:
    done = built("python")
    capture = store.load(done.artifacts / "capture")
    chosen = select_paths(graph_builder.build_graph(capture), capture)
    assert set(map(printable, chosen.kept)) == done.kept
    used = Owners(installed(capture, chosen.kept)).owning(chosen.kept)
    assert sbom_of(capture, done.slim, used) == (done.artifacts / "sbom.cdx.json").read_text()


def test_whole_packages(build: Callable[..., Build]) -> None:
    done = build("jq", "--keep", "package")
    slim = entries(done.slim)
    assert components(done, "deb") >= {("jq", version_of(done.fat, "jq"))}
    for path in run("dpkg-query", "--listfiles", "jq", "libjq1", image=done.fat).split():
        assert path in ("/.", "package") or path in slim or path in ENGINE_FILES, path
    assert docker("run", "--rm", done.slim) == "Ada, Grace, Margaret"


def version_of(image: str, package: str) -> str:
    return run("dpkg-query", "--show", "--showformat", "${Version}", package, image=image)


def test_none_leaves_nothing_and_full_all(build: Callable[..., Build], tmp_path: Path) -> None:
    none, full = build("jq", "--package-db", "none"), build("jq", "--package-db", "full")
    assert cyclonedx_json(none)["components"]
    assert not [path for path in entries(none.slim) if path.startswith("/var/lib")]

    def database(image: str) -> dict[str, tuple[bytes, str]]:
        found = entries(image).items()
        return {path: (entry.kind, entry.content) for path, entry in found if path.startswith(ADMIN)}

    assert database(full.slim) == database(full.fat)


def test_rpm(built: Callable[[str], Build], tmp_path: Path) -> None:
    done = built("rpm")
    assert docker("run", "--rm", done.slim) == "hello from rpm"
    assert [part["purl"] for part in cyclonedx_json(done)["components"] if "purl" in part] == [
        "pkg:rpm/fedora/greet@1.0-3?arch=x86_64&distro=fedora-40&epoch=2"
    ]
    data = copied(done.slim, "/var/lib/rpm/rpmdb.sqlite", tmp_path / "rpmdb").read_bytes()
    with sqlite3.connect(":memory:") as database:
        database.deserialize(
            data[:18] + b"\1\1" + data[20:]
        )  # switched from WAL to rollback mode: there is no -wal file
        assert database.execute("SELECT key FROM Name").fetchall() == [("greet",)]
        assert database.execute("SELECT count(*) FROM Packages").fetchone() == (1,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_same_image_gives_the_same_database(
    built: Callable[[str], Build], build: Callable[..., Build]
) -> None:
    one, two = built("rpm"), build("rpm")
    assert (one.completed.returncode, two.completed.returncode) == (0, 0), two.completed.stderr
    database = "/var/lib/rpm/rpmdb.sqlite"
    assert entries(one.slim)[database] == entries(two.slim)[database]


def test_diff(built: Callable[[str], Build], slimtrace: Program) -> None:
    done = built("jq")
    words = ("diff", done.fat, "--artifacts", str(done.artifacts))
    nowhere = {"DOCKER_HOST": "unix:///nonexistent"}
    answered = slimtrace(*words, "--json", "--files", **nowhere)
    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout)
    assert found["slim"] == done.slim
    kept = sum(file["size"] for file in done.report["files"])
    assert found["bytes"] - found["gone_bytes"] - found["cut_bytes"] == kept
    assert {path["path"] for path in found["paths"]}.isdisjoint(done.kept)
    whole = {one["name"] for one in found["packages"] if one["whole"]}
    assert {"gcc-12", "git", "dpkg"} <= whole
    assert whole.isdisjoint(name for name, _ in components(done, "deb"))
    assert (
        sum(one["bytes"] for kind in ("packages", "directories") for one in found[kind]) == found["gone_bytes"]
    )
    shown = slimtrace(*words, **nowhere)
    assert re.search(r"whole +\d+ of \d+ +deb +gcc-12 ", shown.stdout)
    assert "/usr/bin/git\n" not in shown.stdout


def test_diff_without_artifacts(slimtrace: Program, tmp_path: Path) -> None:
    answered = slimtrace("diff", "no/such:1", cwd=tmp_path)
    assert (answered.returncode, answered.stdout) == (12, "")
    assert answered.stderr.startswith("slimtrace: cannot find the artifacts of no/such:1: there is no file ")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 1}', "[" * 100_000])
def test_diff_of_a_broken_report(slimtrace: Program, tmp_path: Path, content: str) -> None:
    (tmp_path / "creport.json").write_text(content)
    answered = slimtrace("diff", "x", "--artifacts", str(tmp_path))
    assert (answered.returncode, answered.stdout) == (12, "")
    assert answered.stderr.startswith("slimtrace: cannot read ")


def test_diff_by_the_artifacts_of_another_image(built: Callable[[str], Build], slimtrace: Program) -> None:
    answered = slimtrace("diff", "other:1", "--artifacts", str(built("jq").artifacts))
    assert (answered.returncode, answered.stdout) == (12, "")
    assert "are of slimtrace-test/jq:1" in answered.stderr
