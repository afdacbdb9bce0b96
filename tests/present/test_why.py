"""`why` and `info` on the screen: what they say, how it fits, and that no name steers the terminal."""

import io
import re
import textwrap

import pytest
from rich.cells import cell_len

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.present import info, progress, why
from slimtrace.reason.explain.absence import AbsenceReason
from slimtrace.reason.explain.why import DirectoryTotals, Explanation, Link, Step, Verdict
from slimtrace.reason.image.inventory import Copies, Duplicates, Inventory, LayerSums, PrivilegedFile, SizedPath

HOSTILE = "\x1b[2J[bold red]x[/]\u202e\n\r\t\udcff"
KEPT = Explanation(
    "current/a.css",
    "/srv/app/static/a.css",
    Verdict.KEPT,
    "file",
    1234,
    package="app",
    links=(Link("/srv/app/current", "static", True),),
    chain=(
        Step("/usr/sbin/nginx", "executed by the container's start", "nginx"),
        Step("/srv/app/static/a.css", "opened by /usr/sbin/nginx"),
    ),
    reasons=("opened by /usr/sbin/nginx", "looked at by /usr/sbin/nginx"),
    names=("/srv/app/static/b.css",),
)
DROPPED = Explanation(
    "/bin/sh",
    "/usr/bin/sh",
    Verdict.DROPPED,
    "link",
    target="dash",
    links=(Link("/bin", "usr/bin", False),),
    because=(AbsenceReason("unused", "nothing used it"),),
    end=Explanation(
        "/usr/bin/sh", "/usr/bin/dash", Verdict.ABSENT, because=(AbsenceReason("absent", "it is not there"),)
    ),
)
HOSTILES = Explanation(
    HOSTILE,
    HOSTILE,
    Verdict.KEPT,
    "dir",
    target=HOSTILE,
    package=HOSTILE,
    links=(Link(HOSTILE, HOSTILE, False),),
    chain=(Step(HOSTILE, HOSTILE, HOSTILE),),
    reasons=(HOSTILE,),
    because=(AbsenceReason("x", HOSTILE),),
    names=(HOSTILE,),
    below=DirectoryTotals(1, 2, 3, 4),
)
INVENTORY = Inventory(
    layers=(LayerSums(3, 100, 4), LayerSums(1, 50, 1, 1, 20, 2, 30)),
    files=4,
    directories=1,
    links=2,
    size=100,
    duplicates=Duplicates(1, 20, (Copies(20, 3, (HOSTILE, "/a/" * 40, "/b")),)),
    powerful=(PrivilegedFile(HOSTILE, 0o4755, 0, 5, "cap_net_raw=ep"),),
    largest_files=(SizedPath(HOSTILE, 10**9),),
    largest_directories=(SizedPath("/usr/" * 30, 10**7),),
    packages={"dpkg": 3},
)
IMAGE = Image(
    "sha256:1",
    "app:1",
    history=(
        HistoryEntry("RUN a", size=100),
        HistoryEntry("CMD x", empty=True),
        HistoryEntry("RUN b", size=50),
    ),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plain(found: Explanation, slim: str = "app.slim:1", *cautions: str) -> str:
    out = io.StringIO()
    why.print_explanation(found, slim, cautions, out)
    return out.getvalue()


def test_a_kept_path() -> None:
    assert plain(KEPT, "app.slim:1", "the build decided otherwise") == textwrap.dedent(
        """\
        /srv/app/static/a.css is in app.slim:1

        On the way
          /srv/app/current  leads to static

        From the container's start
          /usr/sbin/nginx (nginx)  executed by the container's start
          /srv/app/static/a.css    opened by /usr/sbin/nginx

        All reasons
          -  opened by /usr/sbin/nginx
          -  looked at by /usr/sbin/nginx

        It
          kind        file
          size        1.23 kB
          package     app
          also named  /srv/app/static/b.css

        Beware
          -  the build decided otherwise
        """
    )


def test_a_dropped_link() -> None:
    assert plain(DROPPED, "") == textwrap.dedent(
        """\
        /usr/bin/sh, a link to dash, is not in the slim image

        On the way
          /bin  leads to usr/bin (dropped)

        Why not
          -  nothing used it

        To keep it
          -  --include-path /usr/bin/sh keeps it

        where it leads: /usr/bin/dash is not in the slim image

        Why not
          -  it is not there
        """
    )


def test_what_the_files_of_an_image_come_to() -> None:
    out = io.StringIO()
    info.print_image(IMAGE, "FROM scratch\nRUN a\t&& b\n", INVENTORY, out)
    text = out.getvalue()
    # Layers are counted as the history counts them.
    assert "layer 3  replaces 1 file, 20 B; removes 2 files, 30 B" in text
    assert "files          4, 100 B" in text
    assert "others         1 directory, 2 links" in text
    assert "hidden         50 B that later layers replaced or removed" in text
    assert "packages       3 dpkg" in text
    assert "3 of  20 B" in text
    assert "-rwsr-xr-x  0:5  " in text
    assert "  RUN a   && b" in text


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_name_steers_a_terminal_and_the_lines_fit(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    why.print_explanation(HOSTILES, HOSTILE, (HOSTILE,), out)
    told = out.getvalue()
    info.print_image(IMAGE, "FROM scratch\n", INVENTORY, out)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert all(line.isprintable() for line in lines)
    assert "[bold red]x[/]" in "".join(lines)
    verdict = re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines()[0]  # one to be copied: the terminal wraps it
    assert max(cell_len(line) for line in lines if line != verdict) <= columns


def test_plain_text_holds_no_control_characters() -> None:
    out = io.StringIO()
    why.print_explanation(HOSTILES, HOSTILE, (HOSTILE,), out)
    info.print_image(IMAGE, f"FROM scratch\nRUN {HOSTILE}\n", INVENTORY, out)
    assert all(char == "\n" or char.isprintable() for char in out.getvalue())


def test_progress_is_one_line_that_goes_away() -> None:
    now = [0.0]
    out = Terminal()
    with progress.counting("reading", out, lambda: now[0]) as count:
        count(10)
        assert out.getvalue() == ""  # nobody waits yet
        for at, done in ((1.0, 1000), (1.1, 2000), (1.3, 3_000_000)):
            now[0] = at
            count(done)
    assert out.getvalue() == "\rreading: 1.00 kB\x1b[K\rreading: 3.00 MB\x1b[K\r\x1b[K"


def test_progress_is_for_terminals_only() -> None:
    out = io.StringIO()
    with progress.counting("reading", out, lambda: 1e9) as count:
        count(10)
    assert out.getvalue() == ""
