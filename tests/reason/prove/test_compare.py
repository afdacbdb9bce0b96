"""Two runs: what counts as a difference, and the sentence that says so."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.runs import BODY_KEPT, LOG_KEPT, Answer, Run
from slimtrace.reason.prove.compare import MAX_SENTENCE, compare

HTML = "text/html; charset=utf-8"
PAGE = "<!doctype html>\n<title>hello</title>\n<p>hello at {} from {}</p>\n"
GET = "GET http port 8017 /"
WEB = Answer(GET, True, 200, HTML, 90, PAGE.format("2026-11-27T01:02:03Z", "5bd42c87fab2"))
FAT = Run(
    ports=(8017,),
    answers=(WEB, Answer("healthcheck", True), Answer("exec: load --all", True, size=3, body="17\n")),
    stop_code=0,
    stop_seconds=0.4,
    log=("2026-11-27 01:02:03 ready on port 8017", "warning: 13 errors were repaired"),
    names=("5bd42c87fab2", "172.17.0.4"),
)


def answered(run: Run, target: str, **changes: object) -> Run:
    """The run, with one of its answers changed."""
    answers = tuple(replace(one, **changes) if one.target == target else one for one in run.answers)  # type: ignore[arg-type]
    return replace(run, answers=answers)


def codes(fat: Run | tuple[Run, ...], slim: Run, tolerance: float = 0.0) -> list[str]:
    return [difference.code for difference in compare(fat, slim, tolerance)]


LATER = replace(
    answered(FAT, GET, body=PAGE.format("2026-11-28T11:12:13Z", "db069b12b03a"), size=91),
    names=("db069b12b03a", "172.17.0.9"),
    log=("2026-11-28 11:12:13 ready on port 8017", "warning: 17 errors were repaired", "bye"),
    stop_seconds=0.9,
)


def test_what_varies_is_no_difference() -> None:
    assert compare(FAT, LATER) == ()
    assert compare(LATER, FAT) == ()


@pytest.mark.parametrize(
    ("slim", "expected"),
    [
        (
            Run(failure="exec: /bin/app: no such file"),
            {"start": "could not be started: exec: /bin/app: no such"},
        ),
        (replace(FAT, stop_code=None, exit_code=1), {"exit": "ended by itself with exit code 1, "}),
        (replace(FAT, stop_code=None, exit_code=139), {"exit": "exit code 139 (signal 11)"}),
        (
            replace(FAT, stop_code=143),
            {"stop-code": "exit code 143 (signal 15) when it was stopped instead of"},
        ),
        (replace(FAT, stop_seconds=3.7), {"stop-time": "took 3.7 s to stop instead of 0.4 s"}),
        (replace(FAT, ports=()), {"port": "nothing listened on port 8017"}),
        (replace(FAT, ports=(), answers=()), {"port": "8017"}),  # and not that it was not answered
        (replace(FAT, answers=FAT.answers[1:]), {"answer": f"{GET} was answered, and got no answer"}),
        (answered(FAT, GET, ok=False, status=500, body="oh"), {"status": "status 500 instead of 200"}),
        (answered(FAT, GET, status=404, content_type=""), {"status": "status 404 instead of 200"}),
        (answered(FAT, GET, status=0, ok=False, detail="refused"), {"answer": "got no answer: refused"}),
        (answered(FAT, GET, content_type="text/plain"), {"content-type": "is text/plain instead of text/html"}),
        (answered(FAT, GET, body=WEB.body.replace("<p>hello", "<p>hallo")), {"body": "hallo instead of hello"}),
        (answered(FAT, GET, body="", size=0), {"body": "nothing instead of < ! doctype"}),
        (answered(FAT, "healthcheck", ok=False, status=1), {"health": "healthcheck ended with exit code 1"}),
        (
            answered(FAT, "exec: load --all", ok=False, status=3, detail="it said: no file"),
            {"command": "exec: load --all ended with exit code 3: no file"},
        ),
        (
            answered(FAT, "exec: load --all", ok=False, detail="cannot wait longer"),
            {"command": "exec: load --all could not be run: cannot wait longer"},
        ),
        (
            replace(FAT, log=(*FAT.log, "OSError: [Errno 30] Read-only file system: '/run/x'", "all is well")),
            {"log": "a line that is new: OSError: [Errno 30] Read-only file"},
        ),
        (replace(FAT, answers=(replace(WEB, target="GET https port 8017 /", status=400),)), {"status": "400"}),
    ],
)
def test_a_difference(slim: Run, expected: dict[str, str]) -> None:
    found = {
        one.code: one.text for one in compare(FAT, slim) if one.target != "healthcheck" or one.code == "health"
    }
    found = {code: text for code, text in found.items() if code in expected or code != "answer"}
    assert found.keys() == expected.keys()
    for code, text in expected.items():
        assert text in found[code]


@pytest.mark.parametrize(
    "slim",
    [
        replace(FAT, log=()),  # it may be more quiet
        replace(FAT, log=(*FAT.log, "all is well")),
        replace(FAT, log=(*FAT.log, "warning: 99 errors were repaired")),
        replace(FAT, stop_seconds=0.0),
        replace(FAT, stop_seconds=3.5),
        replace(FAT, ports=(8017, 9000)),
        answered(FAT, GET, content_type="Text/HTML; charset=UTF-8"),
        answered(FAT, "exec: load --all", body="18\n"),  # the exit code is the command's verdict
        answered(FAT, "healthcheck", body="said more"),
    ],
)
def test_no_difference(slim: Run) -> None:
    assert compare(FAT, slim) == ()


def test_what_failed_before_is_not_expected_to_work_now() -> None:
    fat = answered(answered(FAT, "healthcheck", ok=False, status=1), GET, ok=False, status=0, detail="strange")
    assert compare(fat, FAT) == ()
    assert compare(fat, fat) == ()


def test_an_image_that_ends_by_itself() -> None:
    done = Run(exit_code=0, log=("17",))
    assert compare(done, done) == ()
    assert codes(done, replace(done, exit_code=1)) == ["exit"]
    (hangs,) = compare(done, Run(stop_code=137))
    assert hangs.text == "it ran until it was stopped, and the fat one ended by itself with exit code 0"


def test_a_port_that_the_kernel_has_chosen_is_another_each_time() -> None:
    fat = Run(ports=(80, 40123), answers=(Answer("GET http port 40123 /", True, 200),), stop_code=0)
    slim = Run(ports=(80, 51234), answers=(Answer("GET http port 51234 /", True, 200),), stop_code=0)
    assert compare(fat, slim) == ()
    assert codes(fat, replace(slim, ports=(80,))) == ["port"]


def test_what_differs_between_two_questions_does_not_count() -> None:
    fat = answered(FAT, GET, body="visits: 2. hello all", again="visits: 3. hello all")
    assert compare(fat, answered(FAT, GET, body="visits: 4. hello all")) == ()
    assert codes(fat, answered(FAT, GET, body="visits: 4. hello none")) == ["body"]
    assert codes(fat, answered(FAT, GET, body="error: it is all wrong")) == ["body"]


@pytest.mark.parametrize(("tolerance", "found"), [(0.0, ["body"]), (0.04, ["body"]), (0.06, []), (1.0, [])])
def test_the_tolerance_is_the_share_of_words(tolerance: float, found: list[str]) -> None:
    words = [f"w{number}" for number in range(20)]
    fat, slim = (answered(FAT, GET, body=" ".join(body)) for body in (words, ["x", *words[1:]]))
    assert codes(fat, slim, tolerance) == found


PNG = Answer(GET, True, 200, "image/png", 6, "\x89PNG\0\xff")


@pytest.mark.parametrize(
    ("change", "tolerance", "found"),
    [
        ({}, 0.0, []),
        ({"body": "\x89PNG\0\xfe"}, 0.0, ["body"]),
        ({"body": "\x89PNG\0\xfe"}, 0.1, []),
        ({"body": "\x89PNG", "size": 4}, 0.1, ["body"]),
        ({"body": "", "size": 0}, 0.1, ["body"]),
        ({"size": 7}, 0.0, ["body"]),  # beyond what was kept
    ],
)
def test_pictures(change: dict[str, object], tolerance: float, found: list[str]) -> None:
    fat = replace(FAT, answers=(PNG,))
    assert codes(fat, answered(fat, GET, **change), tolerance) == found


def test_a_picture_that_is_never_the_same() -> None:
    fat = replace(FAT, answers=(replace(PNG, again="\x89PNG\0\xfd"),))
    assert compare(fat, answered(fat, GET, body="\x89PNG\0\xfc")) == ()
    assert codes(fat, answered(fat, GET, body="", size=0)) == ["body"]


def test_the_part_that_is_not_kept_counts_by_its_size() -> None:
    fat = answered(FAT, GET, body="x " * (BODY_KEPT // 2), size=200_000)
    assert compare(fat, answered(fat, GET, size=200_011)) == ()
    assert codes(fat, answered(fat, GET, size=190_000)) == ["body"]
    assert compare(fat, answered(fat, GET, size=190_000), 0.1) == ()


def test_redis() -> None:
    fat = Run(
        ports=(6379,), answers=(Answer("redis PING port 6379", True, size=7, body="+PONG\r\n"),), stop_code=0
    )
    assert compare(fat, fat) == ()
    slim = answered(fat, "redis PING port 6379", body="-NOAUTH\r\n")
    (difference,) = compare(fat, slim)
    assert difference.text == "redis PING port 6379 was answered with -NOAUTH instead of +PONG"
    (difference,) = compare(fat, answered(fat, "redis PING port 6379", ok=False, body="", detail="refused"))
    assert (difference.code, "refused" in difference.text) == ("answer", True)


def test_it_is_enough_to_be_like_one_of_several() -> None:
    other = answered(FAT, GET, body="another page", content_type="text/plain")
    assert compare((FAT, other), FAT) == compare((FAT, other), other) == ()
    third = answered(FAT, GET, body="a third page", content_type="text/plain")
    assert codes((FAT, other), third) == ["body"]
    assert codes((FAT, other), replace(FAT, exit_code=1, stop_code=None)) == ["exit"]


def test_what_only_one_run_was_asked_is_compared_with_that_one() -> None:
    undriven = replace(FAT, answers=(WEB,))
    slim = answered(FAT, "exec: load --all", ok=False, status=1)
    assert codes((undriven, FAT), slim) == codes((FAT, undriven), slim) == ["command"]


def test_a_line_that_any_fat_run_has_printed_is_known() -> None:
    noisy = replace(FAT, log=("cannot find the cache",))
    assert compare((FAT, noisy), replace(FAT, log=noisy.log)) == ()
    assert codes((FAT,), replace(FAT, log=noisy.log)) == ["log"]


def test_what_may_have_been_said_before_is_not_new() -> None:
    """Of a fat run that has said more than is kept the beginning is not known."""
    trouble = replace(FAT, log=("cannot find the cache",))
    assert codes(replace(FAT, log=("x",) * (LOG_KEPT - 1)), trouble) == ["log"]
    assert codes(replace(FAT, log=("x",) * LOG_KEPT), trouble) == []


HOSTILE = "\x1b]0;x\x07\x1b[31m\u202e[bold red]</p>\n\0" * 99
STRANGE = st.text(st.characters(exclude_categories=[]), max_size=40) | st.just(HOSTILE)
ANSWERS = st.lists(
    st.builds(
        Answer,
        STRANGE
        | st.sampled_from([GET, "healthcheck", "exec: x", "redis PING port 1", "GET http port 99999999 /"]),
        st.booleans(),
        st.sampled_from([0, 200, 500]),
        STRANGE | st.sampled_from([HTML, "image/png"]),
        st.integers(0, 99),
        STRANGE,
        STRANGE,
        STRANGE,
    ),
    max_size=4,
).map(tuple)
RUNS = st.builds(
    Run,
    ports=st.lists(st.integers(1, 65535), max_size=3, unique=True).map(tuple),
    answers=ANSWERS,
    exit_code=st.none() | st.integers(0, 255),
    stop_code=st.none() | st.integers(0, 255),
    stop_seconds=st.floats(0, 20),
    log=st.lists(STRANGE.map(lambda text: f"error: {text}"), max_size=3).map(tuple),
    names=st.lists(STRANGE, max_size=2).map(tuple),
    failure=st.just("") | STRANGE,
)


@settings(deadline=None)
@given(RUNS, st.lists(RUNS, max_size=2))
def test_a_run_is_like_itself(run: Run, others: list[Run]) -> None:
    assert compare(run, run) == ()
    assert compare((*others, run), run) == ()


@settings(deadline=None)
@given(RUNS, RUNS)
def test_sentences_are_printable_and_short(fat: Run, slim: Run) -> None:
    for difference in compare(fat, slim):
        assert difference.text.isprintable() and len(difference.text) <= MAX_SENTENCE
        assert difference.target.isprintable() and len(difference.target) <= MAX_SENTENCE


@settings(deadline=None)
@given(RUNS, st.integers(1, 599))
def test_another_status_is_always_found(run: Run, status: int) -> None:
    run = replace(run, answers=(replace(WEB, status=600), *run.answers))
    assert (
        "status" in codes(run, replace(run, answers=(replace(WEB, status=status), *run.answers[1:])))
        or run.failure
    )


def test_bodies_of_megabytes_are_compared_in_a_moment() -> None:
    fat, slim = (
        answered(FAT, GET, body=piece * 100_000, again=piece * 99_999) for piece in ("<a>b", "<b>a1B2")
    )
    begun = time.process_time()
    assert codes(fat, slim) == ["body"]
    assert time.process_time() - begun < 30  # each word with each other takes hours
