"""Why a path is in the slim image, or why not."""

import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.events import Exec, FileUse, Mount, Origin, Use
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.explain.repeat_decision import decide
from slimtrace.reason.explain.why import Explanation, Step, Verdict, explain
from slimtrace.reason.keep.rules import Rules

from ..trees import DASH, GLIBC, INTERP, capture, read

TREE = {
    **GLIBC,
    **DASH,
    "/entry.sh": "script #!/bin/sh",
    "/srv/app/server": f"elf {INTERP} needs=libc.so.6",
    "/srv/app/static/a.css": "file size=10",
    "/srv/app/static/b.css": "file size=20",
    "/srv/app/static/deep/c.css": "file size=40",
    "/srv/app/current": "link static",
    "/srv/app/broken": "link gone/away",
    "/srv/app/loop": "link loop",
    "/srv/names/one": "file size=5 inode=7",
    "/srv/names/two": "file size=5 inode=7",
    "/usr/share/doc/app/README": "file size=7",
    "/usr/bin/ls": f"elf {INTERP} needs=libc.so.6",
    "/usr/bin/curl": f"elf {INTERP} needs=libc.so.6",
    "/data/seed": "file",
}
CONFIG = {"Entrypoint": ["/entry.sh"], "WorkingDir": "/srv/app"}
EXECS = [
    Exec("/entry.sh", "", "/usr/bin/dash", pid=1, parent=0),
    Exec("/srv/app/server", "", "/srv/app/server", pid=1, parent=0),
    Exec("/usr/bin/ls", "", "/usr/bin/ls", pid=8, parent=0, origin=Origin.EXEC, argv=("ls", "-l")),
    Exec("/usr/bin/curl", "", "/usr/bin/curl", pid=9, parent=0, origin=Origin.EXEC, argv=("curl",)),
]
USES = [
    read("/srv/app/static/a.css", pid=1, program="/srv/app/server"),
    read("/srv/names/one", pid=1, program="/srv/app/server"),
    FileUse(Use.READ, "/etc/absent.conf", error=2, pid=1, program="/srv/app/server"),
    FileUse(Use.WRITE, "/srv/app/pid", resolved="/srv/app/pid", created=True, pid=1, program="/srv/app/server"),
    FileUse(Use.READ, "/data/seed", resolved="/data/seed", foreign=True, pid=1, program="/srv/app/server"),
]


def explanation(path: str, *patterns: str, owner: dict[str, str] | None = None) -> Explanation:
    seen = capture(TREE, USES, EXECS, CONFIG, own_execs=(8,))
    seen = replace(seen, trace=replace(seen.trace, mounts=(Mount("/data", "ext4"),)))
    rules = Rules(exclude_patterns=patterns)
    return explain(seen, decide(seen, rules), path, lambda path: (owner or {}).get(path, ""))


def reason_texts(found: Explanation) -> dict[str, str]:
    return {each.code: each.text for each in found.because}


def test_a_kept_file_has_its_chain_its_reasons_and_its_package() -> None:
    found = explanation("/srv/app/static/a.css", owner={"/srv/app/server": "app"})
    assert found.verdict is Verdict.KEPT
    assert found.chain == (
        Step("/entry.sh", "executed by the container's start"),
        Step("/srv/app/server", "executed by /entry.sh", "app"),
        Step("/srv/app/static/a.css", "opened by /srv/app/server"),
    )
    assert found.reasons == ("opened by /srv/app/server",)
    assert (found.kind, found.size, found.because) == ("file", 10, ())


def test_a_recorded_reason_comes_before_a_configured_one() -> None:
    # /entry.sh executes it; ENTRYPOINT only names it.
    assert explanation("/usr/bin/dash").chain[-1].words == "interpreter of /entry.sh"


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("static/a.css", "/srv/app/static/a.css"),  # WORKDIR
        ("./static//a.css", "/srv/app/static/a.css"),
        ("../app/static/deep/../a.css", "/srv/app/static/a.css"),
        ("current/a.css", "/srv/app/static/a.css"),
        ("/srv/app/current", "/srv/app/current"),
        ("/srv/app/current/", "/srv/app/static"),
        ("/../../srv", "/srv"),
        ("/", "/"),
        (".", "/srv/app"),
    ],
)
def test_a_path_is_read_as_the_container_reads_it(asked: str, path: str) -> None:
    assert explanation(asked).path == path
    assert explanation(asked).asked == asked


def test_a_link_has_an_explanation_of_its_own_and_one_of_what_it_leads_to() -> None:
    found = explanation("/bin/sh")
    assert [(link.path, link.target, link.kept) for link in found.links] == [("/bin", "usr/bin", True)]
    assert (found.path, found.target, found.verdict) == ("/usr/bin/sh", "dash", Verdict.KEPT)
    assert found.end
    assert (found.end.path, found.end.verdict, found.end.end) == ("/usr/bin/dash", Verdict.KEPT, None)


def test_a_file_is_not_there_by_the_name_of_a_dropped_link() -> None:
    found = explanation("current/a.css")
    assert found.verdict is Verdict.DROPPED
    assert "/srv/app/current" in reason_texts(found)["link"]
    assert explanation("static/a.css").verdict is Verdict.KEPT


def test_links_that_lead_nowhere_end() -> None:
    end = explanation("/srv/app/broken").end
    assert end
    assert (end.path, end.verdict) == ("/srv/app/gone/away", Verdict.ABSENT)
    assert explanation("/srv/app/loop").verdict is Verdict.DROPPED
    assert explanation("/srv/app/loop/x").verdict is Verdict.ABSENT


def test_a_directory_counts_what_is_below() -> None:
    below = explanation("/srv/app/static").below
    assert below
    assert (below.kept, below.kept_bytes, below.dropped, below.dropped_bytes) == (1, 10, 2, 60)


def test_other_names_of_a_file() -> None:
    assert explanation("/srv/names/one").verdict is Verdict.KEPT
    found = explanation("/srv/names/two")
    assert found.verdict is Verdict.DROPPED
    assert "/srv/names/one" in reason_texts(found)["hardlink"]
    below = explanation("/srv/names").below
    assert below
    assert (below.kept_bytes, below.dropped_bytes) == (5, 5)


@pytest.mark.parametrize(
    ("path", "verdict", "code", "words"),
    [
        ("static/b.css", Verdict.DROPPED, "unused", "nothing used it"),
        ("static/b.css", Verdict.DROPPED, "beside", "1 is kept: a.css"),
        ("/usr/share/doc/app/README", Verdict.DROPPED, "directory", "kept is /usr"),
        ("/usr/bin/ls", Verdict.DROPPED, "own-exec", "your own --exec used it: ls -l"),
        ("/usr/bin/curl", Verdict.DROPPED, "exec", "from outside"),
        ("/data/seed", Verdict.DROPPED, "mount", "below the mount /data (ext4)"),
        ("/srv/app/pid", Verdict.ABSENT, "written", "(/srv/app/server)"),
        ("/etc/absent.conf", Verdict.ABSENT, "sought", "in vain by /srv/app/server"),
        ("static/a.cs", Verdict.ABSENT, "nearest", "/srv/app/static; similar there: a.css"),
        ("/opt/a.css", Verdict.ABSENT, "elsewhere", "/srv/app/static/a.css"),
        ("static/a.css/", Verdict.ABSENT, "no-directory", "no directory"),
        ("static/a.css/x", Verdict.ABSENT, "absent", "not in the image at all"),
    ],
)
def test_why_a_path_is_not_there(path: str, verdict: Verdict, code: str, words: str) -> None:
    found = explanation(path)
    assert found.verdict is verdict
    assert words in reason_texts(found)[code]
    assert found.chain == found.reasons == ()


def test_an_exclude_pattern_is_named_with_the_reasons_without_it() -> None:
    found = reason_texts(explanation("static/a.css", "/no/**", "**/*.css"))
    assert found == {
        "excluded": "it is excluded by the pattern **/*.css; without that: opened by /srv/app/server"
    }
    assert "too" in reason_texts(explanation("static/b.css", "**/*.css"))["excluded"]


def test_the_package_of_a_dropped_path_tells_what_of_it_is_kept() -> None:
    owner = {"/srv/app/static/b.css": "app", "/srv/app/server": "app"}
    assert reason_texts(explanation("static/b.css", owner=owner))["package"] == (
        "it belongs to the package app, of which is kept: /srv/app/server"
    )


@settings(max_examples=examples(60), deadline=None)
@given(st.text(st.sampled_from("/.ab\n\x1b[\udcff é"), max_size=12))
def test_any_path_has_an_explanation(path: str) -> None:
    found = explanation(path)
    assert (found.verdict is Verdict.KEPT) == bool(found.chain or found.path == "/")
    assert bool(found.because) == (found.verdict is not Verdict.KEPT)


def test_a_directory_of_very_many_names_is_no_trap() -> None:
    def entries() -> Iterable[Entry]:
        yield Entry("/", Kind.DIR)
        for number in range(20_000):
            path = "/" + "ab" * 110 + f"{number:020}"
            yield Entry(path, Kind.FILE)

    seen = replace(capture({}), tree=FileTree({entry.path: entry for entry in entries()}))
    begun = time.process_time()
    assert explain(seen, decide(seen), "/" + "ba" * 120).verdict is Verdict.ABSENT
    assert time.process_time() - begun < 10
