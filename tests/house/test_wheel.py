"""The wheel is whole: installed away from the checkout, in a folder that is not the checkout, it works."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAG = "slimtrace-test/wheel.slim:1"


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, ROOT, cwd=folder)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it. What it needs is borrowed from this one, not fetched."""
    venv = tmp_path_factory.mktemp("venv")
    python = venv / "bin" / "python"
    base = Path(sys.executable).resolve()
    run(base, "-m", "venv", "--system-site-packages", "--without-pip", venv, cwd=venv)
    # A path in a .pth file is searched last, and the .pth files in it, such as that of an editable
    # installation of the checkout, do not count (site in Python's library reference).
    lent = sysconfig.get_path("purelib")
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    Path(run(python, "-c", asked, cwd=venv).strip(), "lent.pth").write_text(f"{lent}\n")
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, wheel, cwd=venv)
    return venv


def test_it_is_its_own_and_has_its_data(installed: Path, tmp_path: Path) -> None:
    asked = (
        "import slimtrace, slimtrace.data as data; "
        "print(slimtrace.__file__); [print(data.folder(name)) for name in ('bpf', 'kernels')]"
    )
    places = run(installed / "bin" / "python", "-c", asked, cwd=tmp_path).splitlines()
    assert [place for place in places if not place.startswith(f"{installed}/")] == []
    for place, ours in zip(places[1:], ("bpf", "kernels"), strict=True):
        there = {str(path.relative_to(place)) for path in Path(place).rglob("*") if path.is_file()}
        assert there >= {str(path.relative_to(ROOT / ours)) for path in (ROOT / ours).rglob("*.[cht]*")}


def test_it_tells_its_version(installed: Path, tmp_path: Path) -> None:
    from slimtrace import __version__

    assert run(installed / "bin" / "slimtrace", "--version", cwd=tmp_path) == f"slimtrace {__version__}\n"


@pytest.mark.requires("bpf", "docker")
def test_doctor_is_content(installed: Path, tmp_path: Path) -> None:
    assert "slimtrace build can work here" in run(installed / "bin" / "slimtrace", "doctor", cwd=tmp_path)


@pytest.mark.requires("bpf", "docker", "images")
def test_it_slims(installed: Path, image: Callable[[str], str], tmp_path: Path) -> None:
    try:
        told = run(installed / "bin" / "slimtrace", "build", "--json", "--tag", TAG, image("jq"), cwd=tmp_path)
        assert json.loads(told)["slim"]["reference"] == TAG
        assert run("docker", "run", "--rm", TAG, cwd=tmp_path) == "Ada, Grace, Margaret\n"
    finally:
        subprocess.run(["docker", "rmi", "--force", TAG], capture_output=True, check=False)
