"""The comparison of a run of the slim image with runs of the fat one.

What varies by itself is left out (reason/prove/normalise.py); of several fat runs it is enough to be like one.
The sentences quote texts of containers: all of them come out printable and short.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slimtrace.facts.paths import printable
from slimtrace.facts.runs import BODY_KEPT, FIRST_EPHEMERAL_PORT, LOG_KEPT, Answer, Difference, Run
from slimtrace.reason.prove.normalise import normalise
from slimtrace.reason.prove.text_distance import text_difference

# The slim image may take so much longer to stop, in seconds: the engine's part of the time varies by some on a
# busy machine. A container that does not handle the signal is killed after ten, with another exit code.
STOP_FACTOR, STOP_SLACK = 1.5, 3.0
SIZE_SLACK = 64  # bytes by which the part of a body that is not kept may differ: a date, a number
MAX_EXCERPT = 100  # characters of a quoted text
MAX_SENTENCE = 400  # characters of a sentence
TEXTUAL = ("text/", "json", "xml", "javascript", "html", "urlencoded", "yaml", "csv")
ERROR_WORDS = (
    "error",
    "fatal",
    "exception",
    "denied",
    "not found",
    "no such file",
    "cannot",
    "failed",
    "read-only",
    "operation not permitted",
    "traceback",
    "segmentation fault",
    "panic",
)
_PORT = re.compile(r"(?:GET|redis|tcp) .*\bport (\d{1,5})\b")
_NUMBER = re.compile(r"\d+")
SIGNAL_EXIT_BASE = 128  # an exit code above it stands for a signal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing (`key`: the code and the target) compared with one fat run: the same, or a `difference`."""

    key: tuple[str, str]
    difference: Difference | None = None


def compare(fat: Run | tuple[Run, ...], slim: Run, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """The differences of the slim image's run from every fat run with which a thing could be compared.
    `tolerance` is the share of words (0 to 1) by which the body of an answer may differ."""
    runs = (fat,) if isinstance(fat, Run) else fat
    outcomes: dict[tuple[str, str], list[Difference | None]] = {}
    for run in runs:
        for check in (*_checks(run, slim, tolerance), *_missing_in_both(run, runs, slim)):
            outcomes.setdefault(check.key, []).append(check.difference)
    outcomes |= {check.key: [check.difference] for check in _log_lines(runs, slim)}
    # Where the slim run differs from all fat ones: the difference from the first.
    found = [differences[0] for differences in outcomes.values() if all(differences)]
    return tuple(difference for difference in found if difference)


def _checks(fat: Run, slim: Run, tolerance: float) -> Iterator[Check]:
    yield from (ends := list(_start_and_end(fat, slim)))
    if slim.failure:
        return
    yield from (ports := list(_ports(fat, slim)))
    broken = any(check.difference for check in (*ends, *ports))
    answers = _by_target(slim)
    for target, expected in _by_target(fat).items():
        names = (fat.names, slim.names)
        actual = answers.get(target) or _answer_on_port(target, slim)
        if actual is not None:
            yield from _answer(target, expected, actual, names, tolerance)
        elif expected.ok and not broken and _port(target) < FIRST_EPHEMERAL_PORT:
            # Otherwise the request could not be made, for a reason that another difference tells.
            yield _differs("answer", target, f"{_excerpt(target)} was answered, and got no answer")


def _missing_in_both(fat: Run, runs: Iterable[Run], slim: Run) -> Iterator[Check]:
    """The ports and answers of other fat runs that this one lacks as well as the slim one."""
    for run in runs:
        for port in {*run.ports} - {*fat.ports, *slim.ports}:
            yield _same("port", str(port))
        for target in _by_target(run).keys() - _by_target(fat).keys() - _by_target(slim).keys():
            yield _same("answer", target)


def _differs(code: str, target: str, text: str) -> Check:
    sentence = text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 1] + "…"
    return Check((code, target), Difference(code, sentence, printable(target)[:MAX_SENTENCE]))


def _same(code: str, target: str = "") -> Check:
    return Check((code, target))


def _excerpt(text: str) -> str:
    """A text of a run, to be quoted in a sentence."""
    shown = printable(text[:MAX_EXCERPT])[:MAX_EXCERPT]
    return shown if len(text) <= MAX_EXCERPT else shown + "…"


def _start_and_end(fat: Run, slim: Run) -> Iterator[Check]:
    """Whether the container could be started, and how it ended."""
    if slim.failure and not fat.failure:
        yield _differs("start", "", f"it could not be started: {_excerpt(slim.failure)}")
        return
    yield _same("start")
    if fat.exit_code != slim.exit_code:
        yield _differs("exit", "", f"{_exit_text(slim)}, and the fat one {_exit_text(fat).removeprefix('it ')}")
        return
    yield _same("exit")
    if fat.stop_code is None or slim.stop_code is None:
        return
    if fat.stop_code != slim.stop_code:
        ended, expected = _exit_code_text(slim.stop_code), _exit_code_text(fat.stop_code)
        text = f"it ended with {ended} when it was stopped instead of {expected}"
        yield _differs("stop-code", "", text)
    else:
        yield _same("stop-code")
    if slim.stop_seconds > fat.stop_seconds * STOP_FACTOR + STOP_SLACK:
        text = f"it took {slim.stop_seconds:.1f} s to stop instead of {fat.stop_seconds:.1f} s"
        yield _differs("stop-time", "", text)
    else:
        yield _same("stop-time")


def _exit_text(run: Run) -> str:
    return (
        "it ran until it was stopped"
        if run.exit_code is None
        else f"it ended by itself with {_exit_code_text(run.exit_code)}"
    )


def _exit_code_text(code: int) -> str:
    return (
        f"exit code {code} (signal {code - SIGNAL_EXIT_BASE})"
        if SIGNAL_EXIT_BASE < code <= SIGNAL_EXIT_BASE + 64
        else f"exit code {code}"
    )


def _ports(fat: Run, slim: Run) -> Iterator[Check]:
    """The ports, with those on which nothing listens now. A port that the kernel has chosen is another one in
    each run."""
    unmatched = sum(port >= FIRST_EPHEMERAL_PORT for port in set(slim.ports) - set(fat.ports))
    for port in fat.ports:
        if port in slim.ports:
            yield _same("port", str(port))
        elif port >= FIRST_EPHEMERAL_PORT and unmatched:
            unmatched -= 1
            yield _same("port", str(port))
        else:
            yield _differs("port", str(port), f"nothing listened on port {port}")


def _by_target(run: Run) -> dict[str, Answer]:
    """The answers by target; the target of a command that was given twice gets a number."""
    found: dict[str, Answer] = {}
    for answer in run.answers:
        target, times = answer.target, 1
        while target in found:
            times += 1
            target = f"{answer.target} ({times})"
        found[target] = answer
    return found


def _port(target: str) -> int:
    """The port in a target; 0 for a command."""
    found = _PORT.match(target)
    return int(found[1]) if found else 0


def _answer_on_port(target: str, slim: Run) -> Answer | None:
    """The answer on the port of a target to a request of another kind: HTTP instead of HTTPS."""
    port = _port(target)
    return next((answer for answer in slim.answers if port and _port(answer.target) == port), None)


def _answer(
    target: str, fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> Iterator[Check]:
    if target.startswith(("exec: ", "host: ")):
        yield from _command("command", target, fat, slim)
    elif target == "healthcheck":
        yield from _command("health", target, fat, slim)
    elif not fat.status:
        yield from _non_http_answer(target, fat, slim)
    elif not slim.status:
        detail = _excerpt(slim.detail) or "nothing was said"
        yield _differs("answer", target, f"{_excerpt(target)} got no answer: {detail}")
    elif fat.status != slim.status:
        text = f"{_excerpt(target)} was answered with status {slim.status} instead of {fat.status}"
        yield _differs("status", target, text)
    else:
        yield _same("answer", target)
        yield _same("status", target)
        yield from _http_content(target, fat, slim, names, tolerance)


def _command(code: str, target: str, fat: Answer, slim: Answer) -> Iterator[Check]:
    if fat.ok and not slim.ok:
        ended = f"ended with exit code {slim.status}" if slim.status else "could not be run"
        output = f": {_excerpt(slim.detail.removeprefix('it said: '))}" if slim.detail else ""
        yield _differs(code, target, f"{_excerpt(target)} {ended}{output}")
    else:
        yield _same(code, target)


def _non_http_answer(target: str, fat: Answer, slim: Answer) -> Iterator[Check]:
    """The answer of a server that speaks no HTTP: its text to a PING, or that it answers at all."""
    if fat.ok and (not slim.ok or fat.body != slim.body):
        actual = _excerpt(slim.body.strip()) or _excerpt(slim.detail) or "nothing"
        expected = _excerpt(fat.body.strip()) or "something"
        yield _differs("answer", target, f"{_excerpt(target)} was answered with {actual} instead of {expected}")
    else:
        yield _same("answer", target)


def _http_content(
    target: str, fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> Iterator[Check]:
    if normalise(fat.content_type.lower()) != normalise(slim.content_type.lower()):
        actual, expected = _excerpt(slim.content_type) or "none", _excerpt(fat.content_type) or "none"
        text = f"the content type of {_excerpt(target)} is {actual} instead of {expected}"
        yield _differs("content-type", target, text)
    else:
        yield _same("content-type", target)
    problem = (_text_problem if _is_text(fat) else _binary_problem)(fat, slim, names, tolerance)
    if problem:
        yield _differs("body", target, f"the body of {_excerpt(target)} differs: {problem}")
    else:
        yield _same("body", target)


def _is_text(answer: Answer) -> bool:
    if answer.content_type:
        return any(word in answer.content_type.lower() for word in TEXTUAL)
    return "\0" not in answer.body


def _binary_problem(
    fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> str:
    """How a binary body differs; "" where it is the same, or, if it is never the same or the user allows it,
    about as long."""
    if (fat.size, fat.body) == (slim.size, slim.body):
        return ""
    if fat.again and slim.size:
        return ""
    if tolerance and abs(fat.size - slim.size) <= tolerance * fat.size:
        return ""
    same = f"other {slim.size} bytes" if fat.size == slim.size else f"{slim.size} bytes instead of {fat.size}"
    return f"{same} came"


def _text_problem(
    fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> str:
    fat_names, slim_names = names
    plain, again = (normalise(_decoded(body), fat_names) for body in (fat.body, fat.again))
    difference = text_difference(plain, normalise(_decoded(slim.body), slim_names), again)
    if difference and difference.share > tolerance:
        actual, expected = _excerpt(difference.actual) or "nothing", _excerpt(difference.expected) or "nothing"
        return f"{actual} instead of {expected}"
    if fat.size > BODY_KEPT and not fat.again and abs(fat.size - slim.size) > SIZE_SLACK + tolerance * fat.size:
        return f"{slim.size} bytes instead of {fat.size}"
    return ""


def _decoded(body: str) -> str:
    return body.encode("latin-1", "replace").decode("utf-8", "replace")


def _log_lines(runs: tuple[Run, ...], slim: Run) -> Iterator[Check]:
    """Lines with an error word of a kind that no fat run has printed. Nothing where a fat run has printed more
    lines than were kept: the line may have been among these."""
    if any(len(run.log) >= LOG_KEPT for run in runs):
        return
    known = {_line_kind(line, run) for run in runs for line in run.log}
    for line in slim.log:
        kind = _line_kind(line, slim)
        if kind not in known and any(word in kind.lower() for word in ERROR_WORDS):
            known.add(kind)
            yield _differs(
                "log", _excerpt(kind), f"its output has a line that is new: {_excerpt(line.strip())}"
            )


def _line_kind(line: str, run: Run) -> str:
    return _NUMBER.sub("<n>", normalise(line, run.names)).strip()


__all__ = ["compare"]
