"""The live view: plain lines without control characters, frames that fit, a terminal left usable."""

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from slimtrace.facts.progress import Tally
from slimtrace.present import live
from slimtrace.present.frame import frame
from slimtrace.present.screen import Screen

ROOT = Path(__file__).parents[2]
HOSTILE = "/tmp/\x1b]0;owned\x07\x1b[2J[bold red]x[/]\u202egpj.exe"
WIDE = "/usr/share/" + "漢字" * 40 + "/file.txt"


class Clock:
    """Goes on by `step` seconds every time it is asked."""

    def __init__(self, step: float = 0.5) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def plain() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(out, Clock()), out


def test_a_plain_line_per_phase() -> None:
    screen, out = plain()
    with screen:
        screen.plan("inspect", "trace", "select")
        with screen.phase("inspect") as step:
            step.detail = "1.07 GB"
        screen.watch(lambda: Tally(events=9, files=412, calls=61))
        with screen.phase("trace", ours=False):
            screen.note("port 8080 listens")
        screen.watch(None)
        screen.warn("1 event was lost")
    assert out.getvalue() == textwrap.dedent(
        """\
        inspect         0.5 s  1.07 GB
          port 8080 listens
        trace           0.5 s  412 files, 61 calls
        warning: 1 event was lost
        """
    )


def test_times_are_collected_and_tell_whose_they_are() -> None:
    screen, _ = plain()
    with screen:
        screen.plan("b")
        with screen.phase("a", ours=False):
            pass
        with screen.phase("b"):
            pass
    assert [(phase.name, phase.seconds, phase.ours) for phase in screen.phases] == [
        ("a", 0.5, False),
        ("b", 0.5, True),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_phase_left_by_an_exception_has_failed(kind: type[BaseException]) -> None:
    screen, out = plain()
    with pytest.raises(kind), screen, screen.phase("assemble"):
        raise kind
    assert out.getvalue() == "assemble        0.5 s  failed\n"
    assert [phase.name for phase in screen.phases] == ["assemble"]


def test_a_source_that_fails_does_not_end_the_work() -> None:
    screen, _ = plain()
    screen.watch(lambda: Tally(files=3))
    assert screen.tally().files == 3

    def changed() -> Tally:
        raise RuntimeError("dictionary changed size during iteration")

    screen.watch(changed)
    assert screen.tally().files == 3


def test_plain_lines_hold_no_control_characters() -> None:
    screen, out = plain()
    with screen, screen.phase(HOSTILE) as step:
        step.detail = HOSTILE
        screen.note(HOSTILE)
        screen.warn(HOSTILE + "\nsecond line")
    text = out.getvalue()
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert len(text.splitlines()) == 3


def test_a_reader_that_went_away_does_not_end_the_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", closefd=False) as stream, Screen(stream) as screen:
        with screen.phase("trace"):
            pass
        screen.note("nobody reads this")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # for the stream's own flush at its end


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "json", "expected"),
    [
        ({"TERM": "xterm"}, False, live.LiveScreen),
        ({"TERM": "xterm"}, True, Screen),
        ({"TERM": "dumb"}, False, Screen),
        ({}, False, Screen),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, Screen),
        ({"TERM": "xterm", "CI": "true"}, False, Screen),
        ({"TERM": "xterm", "CI": ""}, False, live.LiveScreen),
    ],
)
def test_which_screen(
    environment: dict[str, str], json: bool, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert type(live.make_screen(json, FakeTerminal())) is expected
    assert type(live.make_screen(json, io.StringIO())) is Screen


def picture(screen: Screen, width: int, height: int, finished: bool = False, encoding: str = "utf-8") -> str:
    raw = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=raw, width=width, height=height, force_terminal=True, color_system=None)
    console.print(frame(screen, width, height, finished, console))
    raw.flush()
    return raw.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def busy() -> Screen:
    screen = Screen(io.StringIO(), Clock(0.0))
    screen.plan(*(f"phase-{number}" for number in range(9)))
    for number in range(3):
        with screen.phase(f"phase-{number}") as step:
            step.detail = "much to say " * 20
    screen.steps[3].state = "running"
    for number in range(20):
        screen.note(f"note {number} {HOSTILE}")
    screen.warn("lost events " * 20)
    newest = (HOSTILE, WIDE, "/a") * 4
    screen.watch(lambda: Tally(123456789, 17, 41230, 333, 12, tuple(range(8000, 8030)), newest[-10:]))
    screen.show_kept(28_100_000, 812)
    return screen


@pytest.mark.parametrize("width", [1, 8, 20, 40, 80, 100])
@pytest.mark.parametrize("height", [1, 2, 5, 8, 12, 24, 60])
def test_a_frame_fits_and_hides_no_control_characters(width: int, height: int) -> None:
    lines = picture(busy(), width, height).splitlines()
    assert len(lines) <= max(height - 1, 1)
    if width >= 8:
        assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_the_frame_of_a_narrow_terminal() -> None:
    screen = Screen(io.StringIO(), Clock(0.0))
    screen.plan("inspect", "trace", "select")
    with screen.phase("inspect") as step:
        step.detail = "1.07 GB, 41,230 files"
    screen.steps[1].state = "running"
    newest = ("/usr/local/lib/python3.11/site-packages/flask/app.py", HOSTILE)
    screen.watch(lambda: Tally(1234, 2, 412, 61, 3, (8080,), newest))
    screen.note("port 8080 listens")
    assert picture(screen, 40, 24).splitlines() == [
        "✓ inspect        0.0 s  1.07 GB, 41,230…",
        "● trace          0.0 s",
        "· select",
        "╭─ traced ─────────────────────────────╮",
        "│ events 1,234  lost 2  files 412      │",
        "│ calls 61  processes 3  ports 8080    │",
        "│ …thon3.11/site-packages/flask/app.py │",
        "│ …7\\x1b[2J[bold red]x[/]\\u202egpj.exe │",
        "╰──────────────────────────────────────╯",
        "  port 8080 listens",
    ]


def test_what_remains_is_phases_and_warnings() -> None:
    text = picture(busy(), 80, 24, finished=True)
    assert "phase-2" in text
    assert "phase-4" not in text  # never begun
    assert "warning: lost events" in text
    assert "note" not in text


def test_a_terminal_without_unicode() -> None:
    picture(busy(), 80, 24, encoding="latin-1").encode("latin-1")


PROGRAM = """
import sys, time
from slimtrace.facts.progress import Tally
from slimtrace.present.live import make_screen
with make_screen() as view:
    view.watch(lambda: Tally(5, 0, 4, 3, 2, (80,), ("/bin/sh",)))
    with view.phase("trace"):
        print("READY", flush=True)
        time.sleep(float(sys.argv[1]))
        if sys.argv[2:] == ["raise"]:
            raise RuntimeError("as asked")
"""


def on_terminal(*arguments: str, act: signal.Signals | None = None, columns: int = 80) -> tuple[str, str, int]:
    """Run PROGRAM with its stderr on a terminal of its own. Gives the terminal's output, stdout and the exit
    code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
        text=True,
    )
    os.close(slave)
    assert child.stdout is not None
    said = child.stdout.readline()
    if act is not None:
        time.sleep(0.3)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        child.send_signal(act)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the last holder of the other side is gone
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    said += child.stdout.read()
    return shown.decode(), said, child.wait()


@pytest.mark.parametrize(
    ("arguments", "act", "failed"),
    [
        (("0.4",), None, False),
        (("0.4",), signal.SIGWINCH, False),
        (("0.4", "raise"), None, True),
        (("30",), signal.SIGINT, True),
    ],
)
def test_the_terminal_is_left_usable(
    arguments: tuple[str, ...], act: signal.Signals | None, failed: bool
) -> None:
    shown, said, code = on_terminal(*arguments, act=act)
    assert said == "READY\n"  # stdout holds nothing of the view
    assert "trace" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0  # the cursor is shown again
    assert "\x1b[?1049" not in shown  # no other screen, so what was there before stays
    assert ("✗" in shown) == failed
    assert (code != 0) == failed


def test_it_is_redrawn_at_most_eight_times_a_second() -> None:
    shown, _, _ = on_terminal("1.0")
    assert 3 <= shown.count("● trace") <= 11


def test_rich_is_not_loaded_without_a_terminal() -> None:
    program = """
import io, sys
from slimtrace.present import live, summary
from slimtrace.present.screen import Screen
with Screen(io.StringIO()) as screen, screen.phase("x"):
    pass
assert not any(name.split(".")[0] == "rich" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
