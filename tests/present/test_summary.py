"""What is printed once: reports and the text expected of them, hostile names, narrow terminals."""

import io
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from slimtrace.errors import SlimtraceError
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.confinement import MEASURES, Confinement, Repairs, Writable
from slimtrace.facts.events import Doubt, Socket, Trace
from slimtrace.facts.feature import Feature, FeatureResult
from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.facts.runs import Difference, Probe
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.present import info, summary, verify
from slimtrace.present.page import seconds, size
from slimtrace.reason.explain.report import Comparison, ImageFigures, PhaseTime, Report, Trial

HOSTILE = "/tmp/\x1b]0;owned\x07\x1b[2J[bold red]x[/]\u202egpj\udcff.exe"

SMALL = Report(
    version="0.1.0",
    command="slimtrace build my/app",
    fat=ImageFigures("my/app", "sha256:1", 1_070_000_000, 41230),
    slim=ImageFigures("my/app.slim", "sha256:2", 28_100_000, 812),
    phases=(PhaseTime("inspect", 0.21), PhaseTime("start", 12.34, ours=False), PhaseTime("assemble", 1.0)),
    calls=61,
    events=3456,
)

FULL = replace(
    SMALL,
    probes=(
        Probe("GET http://172.17.0.2:8080/", True, 200, 1234),
        Probe("GET http://172.17.0.2:9090/", False, detail="connection refused"),
    ),
    ports=(8080, 9090),
    exit_code=0,
    lost=3,
    calls_default=381,
    calls_denied=322,
    confinement=Confinement(
        cap_add=("chown", "setuid"),
        writable=(Writable("/run"), Writable("/var/lib/app", volume=True)),
        notes=("a note",),
    ),
    trial=Trial(2, 1, MEASURES[:4], Repairs(paths=("/etc/app.conf",), calls=("splice",))),
    capabilities=("chown", "setuid"),
    processes=("sh", "python3"),
    doubts=(
        Doubt("lost-events", "3 events were lost"),
        *(Doubt("rewritten", "read, then rewritten", f"/var/lib/{name}") for name in "abcde"),
    ),
    artifacts={"report": "out/creport.json", "seccomp": "out dir/seccomp.json"},
)

HEAD = """\
my/app.slim: 1.07 GB -> 28.1 MB, 38.1 times smaller

Images
  fat   1.07 GB  41230 files  my/app
  slim  28.1 MB    812 files  my/app.slim

Time
  inspect    0.2 s
  start     12.3 s  application
  assemble   1.0 s
  whole     13.6 s  1.2 s of it slimtrace's own
"""

CASES = {
    "small": (
        SMALL,
        HEAD
        + """
Traced
  events       3456
  lost events  0
  container    stopped by slimtrace

Confined
  seccomp  61 system calls

Tried
  not tried  --no-verify

Run it
  docker run --rm my/app.slim
""",
    ),
    "full": (
        FULL,
        HEAD
        + """
Probes
  failed  GET http://172.17.0.2:9090/  connection refused
  ok      GET http://172.17.0.2:8080/  200, 1.23 kB

Traced
  events       3456
  lost events  3
  programs     sh, python3
  ports        8080, 9090
  container    ended by itself with code 0

Confined
  seccomp         61 system calls, 322 of Docker's 381 denied
  capabilities    chown, setuid
  new privileges  none
  read-only       but for /run (tmpfs), /var/lib/app (volume)
                  a note

Tried
  verified  comes out as the fat image does, under seccomp, capabilities, no-new-privileges, read-only
  trials    2 runs
  repaired  path /etc/app.conf
  repaired  system call splice

Doubts
  lost-events    3 events were lost
  rewritten (5)  read, then rewritten: /var/lib/a, /var/lib/b, /var/lib/c, and 2 more

Artifacts
  report   out/creport.json
  seccomp  out dir/seccomp.json

Run it
  docker run --rm -p 8080:8080 -p 9090:9090 --cap-drop ALL --cap-add CHOWN --cap-add SETUID --security-opt \
no-new-privileges --security-opt 'seccomp=out dir/seccomp.json' --read-only --tmpfs /run:mode=0755,uid=0,gid=0 \
--volume /var/lib/app my/app.slim
""",
    ),
}


@pytest.mark.parametrize(
    ("doubts", "expected"),
    [
        ([("c", "text", "")], ["c", "text"]),
        ([("c", "text", "/a")], ["c", "text: /a"]),
        ([("c", "no /a here", "/a")], ["c", "no /a here"]),
        ([("c", "no /a here", "/a"), ("c", "no /b here", "/b")], ["c (2)", "no /a here; also /b"]),
        ([("c", "text", ""), ("c", "text", "")], ["c (2)", "text"]),
        ([("c", "text", f"/{n}") for n in range(5)], ["c (5)", "text: /0, /1, /2, and 2 more"]),
    ],
)
def test_doubts_are_grouped(doubts: list[tuple[str, str, str]], expected: list[str]) -> None:
    out = io.StringIO()
    summary.print_build(replace(SMALL, doubts=tuple(Doubt(*doubt) for doubt in doubts)), out)
    assert f"\nDoubts\n  {'  '.join(expected)}\n" in out.getvalue()


@pytest.mark.parametrize("case", CASES)
def test_a_report_and_its_text(case: str) -> None:
    report, expected = CASES[case]
    out = io.StringIO()
    summary.print_build(report, out)
    assert out.getvalue() == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def everything(out: io.StringIO) -> None:
    """All that can be printed, with hostile text wherever text can be."""
    report = replace(
        FULL,
        fat=ImageFigures(HOSTILE, HOSTILE, 1, 1),
        slim=ImageFigures(HOSTILE, HOSTILE, 0, 0),
        phases=(PhaseTime(HOSTILE, 1.0),),
        probes=(Probe(HOSTILE, False, 500, 1, HOSTILE),) * 20,
        processes=(HOSTILE,),
        doubts=(Doubt(HOSTILE, HOSTILE, HOSTILE),) * 5,
        artifacts={HOSTILE: HOSTILE},
        confinement=Confinement((HOSTILE,), False, True, (Writable(HOSTILE),), HOSTILE, {}, (HOSTILE,)),
        trial=Trial(1, 1, (HOSTILE,), Repairs((HOSTILE,), (HOSTILE,), (), (HOSTILE,), (HOSTILE,))),
    )
    summary.print_build(report, out)
    verify.print_profiles(report, out)
    found = (Difference(HOSTILE, HOSTILE, HOSTILE),)
    verify.print_comparison(
        Comparison(HOSTILE, HOSTILE, 1, found, (HOSTILE,), (HOSTILE,), found, (HOSTILE,)), out
    )
    config = {
        "User": HOSTILE,
        "Cmd": [HOSTILE],
        "Env": [f"A={HOSTILE}", "no equals sign"],
        "Labels": {HOSTILE: HOSTILE},
        "ExposedPorts": {HOSTILE: {}},
        "Volumes": {HOSTILE: {}},
        "Healthcheck": {"Test": ["CMD", HOSTILE]},
    }
    image = Image(HOSTILE, HOSTILE, config=config, history=(HistoryEntry(HOSTILE, comment=HOSTILE),))
    info.print_image(image, f"FROM scratch\nRUN {HOSTILE}\n", stream=out)
    feature = Feature("x", HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, required=True)
    summary.print_doctor([FeatureResult(feature, "no", HOSTILE)], out)
    summary.print_error(SlimtraceError(f"cannot read {HOSTILE}", HOSTILE), out)


def test_plain_text_holds_no_control_characters() -> None:
    out = io.StringIO()
    everything(out)
    assert all(char.isprintable() for char in out.getvalue().replace("\n", ""))
    assert "[bold red]x[/]" in out.getvalue()  # shown, not obeyed


@pytest.mark.parametrize("columns", [20, 40, 120])
def test_a_terminal_gets_no_sequences_but_colours(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    everything(out)
    pieces = out.getvalue().split("\x1b[")
    assert len(pieces) > 10
    assert all(piece.partition("m")[0].replace(";", "").isdigit() for piece in pieces[1:])
    rest = pieces[0] + "".join(piece.partition("m")[2] for piece in pieces[1:])
    assert all(char.isprintable() for char in rest.replace("\n", ""))


def test_forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    summary.print_build(FULL, out)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    # Lines to be copied are not broken by us: the terminal wraps them and still copies one line.
    folded = [line for line in lines if "docker run" not in line and "times smaller" not in line]
    assert max(map(cell_len, folded)) <= 40


def test_an_encoding_without_the_characters() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    summary.print_error(SlimtraceError("cannot open /tmp/漢字"), out)
    assert raw.getvalue() == b"slimtrace: cannot open /tmp/\\u6f22\\u5b57\n"


def test_an_error_and_its_hint() -> None:
    out = io.StringIO()
    summary.print_error(SlimtraceError("cannot find the image x", "docker images lists what is there"), out)
    assert out.getvalue() == "slimtrace: cannot find the image x\nhint: docker images lists what is there\n"


def test_an_image_described() -> None:
    image = Image(
        id="sha256:abc",
        reference="my/app",
        size=1_070_000_000,
        config={"User": "app", "Cmd": ["python3", "my app.py"], "Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}},
        history=(
            HistoryEntry("/bin/sh -c #(nop) ADD file:1 in / ", size=1_000_000_000),
            HistoryEntry("RUN apt-get update \\\n    && apt-get install x", size=70_000_000),
            HistoryEntry('CMD ["python3"]', empty=True),
        ),
    )
    out = io.StringIO()
    info.print_image(image, "FROM scratch\nADD x /\n", stream=out)
    assert out.getvalue() == textwrap.dedent(
        """\
        Image
          reference  my/app
          id         sha256:abc
          platform   linux/amd64
          created    1970-01-01T00:00:00Z
          size       1.07 GB
          user       app
          cmd        python3 'my app.py'
          ports      80/tcp
          env        A=1

        Layers, oldest first
          1  1.00 GB  /bin/sh -c #(nop) ADD file:1 in /
          2  70.0 MB  RUN apt-get update \\ && apt-get install x
          3        -  CMD ["python3"]

        Dockerfile.fat
          FROM scratch
          ADD x /
        """
    )


def test_a_diagnosis() -> None:
    def feature(name: str, **more: object) -> Feature:
        return Feature(name, f"the {name}", "root", f"no {name}", f"get {name}", "", **more)  # type: ignore[arg-type]

    results = [
        FeatureResult(feature("a", required=True), "yes", "here"),
        FeatureResult(feature("b", required=True), "no", "refused"),
        FeatureResult(feature("c", needs=("b",), required=True), "unknown", "not tried without b"),
        FeatureResult(feature("d"), "no", "absent"),
    ]
    out = io.StringIO()
    summary.print_doctor(results, out)
    assert out.getvalue() == textwrap.dedent(
        """\
        This machine
          yes      the a  here
          no       the b  refused
          unknown  the c  not tried without b
          no       the d  absent

        Missing
          b  required  lost: no b
                       mend: get b
          d  optional  lost: no d
                       mend: get d

        slimtrace build cannot work here: b
        """
    )
    out = io.StringIO()
    summary.print_doctor([results[0], results[3]], out)
    assert out.getvalue().endswith("\nslimtrace build can work here\n")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (28_149_000, "28.1 MB"),
        (99_960_000, "100 MB"),
        (999_900_000, "1.00 GB"),
        (1_451_000_000, "1.45 GB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_seconds() -> None:
    assert seconds(1.84) == "1.8 s"


def test_a_capture_says_what_was_connected_to() -> None:
    def at(call: str, address: str, port: int) -> Socket:
        return Socket(call, "inet6" if ":" in address else "inet", "stream", 6, address, port)

    sockets = [at("connect", "10.0.0.7", port) for port in range(1, 7)]
    sockets += [at("sendto", "::1", 53), at("bind", "0.0.0.0", 80), Socket("socket", HOSTILE, "raw")]
    trace = Trace(sockets=tuple(sockets))
    seen = Capture(Image("sha256:1", "my/app"), FileTree({"/": Entry("/", Kind.DIR)}), trace, Answers())
    stream = io.StringIO()
    summary.print_capture(seen, Path("monday"), stream)
    text = " ".join(stream.getvalue().split())
    assert "10.0.0.7:1, 10.0.0.7:2, 10.0.0.7:3, 10.0.0.7:4, 10.0.0.7:5 and 2 more" in text
    assert "inet stream, inet6 stream" in text
    assert "\x1b" not in text and "\u202e" not in text
