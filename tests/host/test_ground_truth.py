"""Real programs under strace and the probes at the same time: nothing that strace shows is missing.

strace runs inside the container, from a folder of its own with the libraries that it needs, so that the traced
program's environment is unchanged.
"""

import errno
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from workloads.harness import Seen, watching

from slimtrace.engine import Engine, Launch
from slimtrace.facts.events import Use
from slimtrace.facts.paths import decode
from slimtrace.observe.kernel.syscalls import NONE, SHAPES, Act

pytestmark = pytest.mark.requires("bpf", "docker", "strace", "images")

END_SECONDS = 60.0
BY_DESCRIPTOR = {"getdents64", "mmap", "fchdir", "fchmod", "fchown", "fstatfs"}
SCRIPT = """
cd /usr/share
cat doc/base-files/README > /tmp/copy
for name in absent zoneinfo/UTC ../lib/os-release; do test -e "$name" && head -c 17 "$name"; done
cd doc && (cd bash && ls > /dev/null; . ./absent) || true
ln -s copy /tmp/link && mv /tmp/link /tmp/moved && rm /tmp/moved /tmp/copy
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with strace, its libraries and the dynamic linker (`loader`)."""
    folder = tmp_path_factory.mktemp("strace")
    program = shutil.which("strace")
    assert program
    listed = subprocess.check_output(["ldd", program], text=True)
    shutil.copy(program, folder / "strace")
    for path in re.findall(r"(/\S+) \(0x", listed):
        shutil.copy(path, folder / ("loader" if "/ld-linux" in path else Path(path).name))
    return folder


@dataclass(frozen=True, slots=True)
class Lookup:
    """One path in one system call. `base` is None where strace does not show the working directory."""

    call: str
    asked: str
    base: str | None
    resolved: str
    error: int


@pytest.mark.parametrize(
    ("name", "command", "at_least"),
    [
        ("jq", ["jq", "--raw-output", ".", "/usr/share/doc/absent.json"], 7),
        ("jq", ["jq", "-n", "17"], 7),
        ("base", ["python3", "-c", "import json, http.server"], 199),
        ("base", ["perl", "-e", "use File::Temp; use POSIX; print -e '/etc/passwd' ? 1 : 0"], 31),
        ("base", ["find", "/usr/share/doc", "-maxdepth", "2"], 401),
        ("base", ["git", "--version"], 7),
        ("base", ["sh", "-c", SCRIPT], 53),
    ],
    ids=["jq fails", "jq", "python", "perl", "find", "git", "sh"],
)
def test_nothing_that_strace_saw_is_missing(
    engine: Engine,
    image: Callable[[str], str],
    tools: Path,
    tmp_path: Path,
    name: str,
    command: list[str],
    at_least: int,
) -> None:
    loader = ["/strace/loader", "--library-path", "/strace", "/strace/strace"]
    traced = f"trace=%file,{','.join(sorted(BY_DESCRIPTOR))}"
    options = ["-ff", "-qq", "-y", "-xx", "-s", "5000", "-e", traced, "-o", "/out/of", "--"]
    binds = (f"{tools}:/strace:ro", f"{tmp_path}:/out")
    launch = Launch(entrypoint=tuple(loader), binds=binds, cap_add=("SYS_PTRACE",))
    with watching(engine, image(name), [*options, *command], launch) as (container, seen):
        assert engine.wait(container, END_SECONDS) is not None
    wanted = {
        lookup
        for file in tmp_path.iterdir()
        for line in file.read_text().splitlines()
        for lookup in lookups(line)
    }
    ours = recorded_lookups(seen)
    assert len(wanted) >= at_least
    assert sorted(map(str, wanted - ours)) == []
    assert (seen.lost, seen.unreadable) == (0, 0)


def recorded_lookups(seen: Seen) -> set[Lookup]:
    """What the probes reported; each fact also with `base` None, as strace shows calls without a directory."""
    found = [(use.call, use.asked, use.base, use.resolved, use.error) for use in seen.uses]
    found += [("execve", run.asked, run.base, "", 0) for run in seen.execs]
    resolves = {name for name, shape in SHAPES.items() if shape.opens or shape.act is Act.DESCRIPTOR}
    return {
        Lookup(call, asked, base, resolved if call in resolves else "", error)
        for call, asked, own, resolved, error in found
        for base in (own, None)
    }


def lookups(line: str) -> Iterator[Lookup]:
    """The lookups of one line of strace's output, as `openat(AT_FDCWD</>, "\\x61", O_RDONLY) = 3</\\x61>`."""
    found = re.fullmatch(r"(\w+)\((.*)\) += (-?\d\w*|\?)(?:<(.*)>)?(?: (E\w+) .*)?", line)
    if not found or found[1] not in SHAPES:
        return
    call, arguments = found[1], split_arguments(found[2])
    shape = SHAPES[call]
    if shape.act is Act.DESCRIPTOR:
        yield from _descriptor(call, split_arguments(found[2]), found[3])
        return
    error = getattr(errno, found[5] or "", 0) if found[5] != "ERESTARTSYS" else errno.EINTR
    resolved = unescape(found[4] or "").removesuffix(" (deleted)") if shape.opens else ""
    for path, dirfd in ((shape.path, shape.dirfd), shape.second):
        if path == NONE or not arguments[path].startswith('"') or arguments[path] == '""':
            continue
        asked = unescape(arguments[path].strip('"'))
        directory = re.fullmatch(r"[^<]+<(.*)>", arguments[dirfd]) if dirfd != NONE else None
        base = "" if asked.startswith("/") else unescape(directory[1]) if directory else None
        yield Lookup(call, asked, base, resolved, error)


def _descriptor(call: str, arguments: list[str], result: str) -> Iterator[Lookup]:
    """The file that a call used by a descriptor alone; none where the call failed or used no file."""
    shape = SHAPES[call]
    file = re.fullmatch(r"\d+<(.*)>", arguments[shape.dirfd])
    ended = shape.use is Use.LIST and result == "0"
    if file and not result.startswith("-") and not ended and (call != "mmap" or "PROT_EXEC" in arguments[2]):
        yield Lookup(call, "", "", unescape(file[1]), 0)


def split_arguments(text: str) -> list[str]:
    """The arguments of a call, split at commas outside of brackets. Strings are all \\x escapes (-xx)."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "[{<(") - (char in "]}>)")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def unescape(escaped: str) -> str:
    """The path that strace -xx wrote with an \\x escape for every byte."""
    return decode(re.sub(rb"\\x(..)", lambda found: bytes.fromhex(found[1].decode()), escaped.encode()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            r'openat(AT_FDCWD<\x2f>, "\x61", O_RDONLY|O_CLOEXEC) = 3<\x2f\x61>',
            [Lookup("openat", "a", "/", "/a", 0)],
        ),
        (r'stat("\x61", {st_mode=S_IFREG|0644, ...}) = 0', [Lookup("stat", "a", None, "", 0)]),
        (
            r'renameat2(5<\x2f\x62>, "\x61", AT_FDCWD<\x2f>, "\x2f\x63", 0) = -1 EXDEV (It is another)',
            [Lookup("renameat2", "a", "/b", "", errno.EXDEV), Lookup("renameat2", "/c", "", "", errno.EXDEV)],
        ),
        (r'newfstatat(3<\x2f\x61>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0', []),
        (r'getcwd("\x2f", 4096) = 2', []),
        ("+++ exited with 0 +++", []),
        (r"getdents64(3<\x2f\x61>, 0x5 /* 2 entries */, 32768) = 48", [Lookup("getdents64", "", "", "/a", 0)]),
        (r"getdents64(3<\x2f\x61>, 0x5 /* 0 entries */, 32768) = 0", []),
        (
            r"mmap(NULL, 8192, PROT_READ|PROT_EXEC, MAP_PRIVATE, 3<\x2f\x61>, 0) = 0x7f2a",
            [Lookup("mmap", "", "", "/a", 0)],
        ),
        (r"mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3<\x2f\x61>, 0) = 0x7f2a", []),
        (r"mmap(NULL, 8192, PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f2a", []),
    ],
)
def test_reading_strace(line: str, expected: list[Lookup]) -> None:
    assert list(lookups(line)) == expected
