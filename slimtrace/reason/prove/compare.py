"""Two runs held against each other: that of the fat image, and that of the slim one which is to do the same.

What varies by itself is left out (reason/prove/normalise.py); of several fat runs it is enough to be like one.
What is said of a run is its own text, from a container: all of it comes out printable and short.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slimtrace.facts.paths import printable
from slimtrace.facts.runs import BODY_KEPT, EPHEMERAL, LOG_KEPT, Answer, Difference, Run
from slimtrace.reason.prove.normalise import normalise
from slimtrace.reason.prove.text_distance import unlike

# The slim image may take so much longer to stop, in seconds: the engine's own part of it varies by some on a
# busy machine. One that does not hear the signal is killed after ten, with another code.
STOP_FACTOR, STOP_SLACK = 1.5, 3.0
SIZE_SLACK = 64  # bytes by which the part of a body that is not kept may differ: a date, a number
SHOWN = 100  # characters of what a run said
LONGEST = 400  # characters of a sentence
TEXTUAL = ("text/", "json", "xml", "javascript", "html", "urlencoded", "yaml", "csv")
TROUBLE = (
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
DEATH = 128  # an exit code above it is a signal's


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one fat run says of one matter: nothing, or how the slim run differs."""

    key: tuple[str, str]
    difference: Difference | None = None


def compare(fat: Run | tuple[Run, ...], slim: Run, tolerance: float = 0.0) -> tuple[Difference, ...]:
    """How the slim image's run came out otherwise than every fat run that tells of the matter. `tolerance` is
    the share of words (0 to 1) by which the body of an answer may differ."""
    runs = (fat,) if isinstance(fat, Run) else fat
    told: dict[tuple[str, str], list[Difference | None]] = {}
    for run in runs:
        for verdict in (*_verdicts(run, slim, tolerance), *_missing_alike(run, runs, slim)):
            told.setdefault(verdict.key, []).append(verdict.difference)
    told |= {verdict.key: [verdict.difference] for verdict in _log(runs, slim)}
    # of those that differ from all, the difference from the first
    found = [differences[0] for differences in told.values() if all(differences)]
    return tuple(difference for difference in found if difference)


def _verdicts(fat: Run, slim: Run, tolerance: float) -> Iterator[Verdict]:
    yield from (ends := list(_ends(fat, slim)))
    if slim.failure:
        return
    yield from (ports := list(_ports(fat, slim)))
    broken = any(verdict.difference for verdict in (*ends, *ports))
    answers = _by_target(slim)
    for target, expected in _by_target(fat).items():
        names = (fat.names, slim.names)
        came = answers.get(target) or _same_port(target, slim)
        if came is not None:
            yield from _answer(target, expected, came, names, tolerance)
        elif expected.ok and not broken and _port(target) < EPHEMERAL:
            # otherwise it could not be asked, for a reason that is told already
            yield _differs("answer", target, f"{_short(target)} was answered, and got no answer")


def _missing_alike(fat: Run, runs: Iterable[Run], slim: Run) -> Iterator[Verdict]:
    """What other fat runs had, and this one as little as the slim one."""
    for run in runs:
        for port in {*run.ports} - {*fat.ports, *slim.ports}:
            yield _same("port", str(port))
        for target in _by_target(run).keys() - _by_target(fat).keys() - _by_target(slim).keys():
            yield _same("answer", target)


def _differs(code: str, target: str, text: str) -> Verdict:
    sentence = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return Verdict((code, target), Difference(code, sentence, printable(target)[:LONGEST]))


def _same(code: str, target: str = "") -> Verdict:
    return Verdict((code, target))


def _short(text: str) -> str:
    """What a run said, for a sentence."""
    shown = printable(text[:SHOWN])[:SHOWN]
    return shown if len(text) <= SHOWN else shown + "…"


def _ends(fat: Run, slim: Run) -> Iterator[Verdict]:
    """Whether it could be started, and how it ended."""
    if slim.failure and not fat.failure:
        yield _differs("start", "", f"it could not be started: {_short(slim.failure)}")
        return
    yield _same("start")
    if fat.exit_code != slim.exit_code:
        yield _differs("exit", "", f"{_end(slim)}, and the fat one {_end(fat).removeprefix('it ')}")
        return
    yield _same("exit")
    if fat.stop_code is None or slim.stop_code is None:
        return
    if fat.stop_code != slim.stop_code:
        text = f"it ended with {_code(slim.stop_code)} when it was stopped instead of {_code(fat.stop_code)}"
        yield _differs("stop-code", "", text)
    else:
        yield _same("stop-code")
    if slim.stop_seconds > fat.stop_seconds * STOP_FACTOR + STOP_SLACK:
        text = f"it took {slim.stop_seconds:.1f} s to stop instead of {fat.stop_seconds:.1f} s"
        yield _differs("stop-time", "", text)
    else:
        yield _same("stop-time")


def _end(run: Run) -> str:
    return (
        "it ran until it was stopped"
        if run.exit_code is None
        else f"it ended by itself with {_code(run.exit_code)}"
    )


def _code(code: int) -> str:
    return f"exit code {code} (signal {code - DEATH})" if DEATH < code <= DEATH + 64 else f"exit code {code}"


def _ports(fat: Run, slim: Run) -> Iterator[Verdict]:
    """The ports that nothing listens on now. One that the kernel has chosen is another at each run."""
    spare = sum(port >= EPHEMERAL for port in set(slim.ports) - set(fat.ports))
    for port in fat.ports:
        if port in slim.ports:
            yield _same("port", str(port))
        elif port >= EPHEMERAL and spare:
            spare -= 1
            yield _same("port", str(port))
        else:
            yield _differs("port", str(port), f"nothing listened on port {port}")


def _by_target(run: Run) -> dict[str, Answer]:
    """The answers by what was asked; a command that was given twice is counted."""
    found: dict[str, Answer] = {}
    for answer in run.answers:
        target, times = answer.target, 1
        while target in found:
            times += 1
            target = f"{answer.target} ({times})"
        found[target] = answer
    return found


def _port(target: str) -> int:
    """The port that a target tells of; 0 for a command."""
    found = _PORT.match(target)
    return int(found[1]) if found else 0


def _same_port(target: str, slim: Run) -> Answer | None:
    """What was answered on the port of a target when it was asked in another way: HTTP instead of HTTPS."""
    port = _port(target)
    return next((answer for answer in slim.answers if port and _port(answer.target) == port), None)


def _answer(
    target: str, fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> Iterator[Verdict]:
    if target.startswith(("exec: ", "host: ")):
        yield from _command("command", target, fat, slim)
    elif target == "healthcheck":
        yield from _command("health", target, fat, slim)
    elif not fat.status:
        yield from _other(target, fat, slim)
    elif not slim.status:
        told = _short(slim.detail) or "nothing was said"
        yield _differs("answer", target, f"{_short(target)} got no answer: {told}")
    elif fat.status != slim.status:
        text = f"{_short(target)} was answered with status {slim.status} instead of {fat.status}"
        yield _differs("status", target, text)
    else:
        yield _same("answer", target)
        yield _same("status", target)
        yield from _content(target, fat, slim, names, tolerance)


def _command(code: str, target: str, fat: Answer, slim: Answer) -> Iterator[Verdict]:
    if fat.ok and not slim.ok:
        ended = f"ended with exit code {slim.status}" if slim.status else "could not be run"
        said = f": {_short(slim.detail.removeprefix('it said: '))}" if slim.detail else ""
        yield _differs(code, target, f"{_short(target)} {ended}{said}")
    else:
        yield _same(code, target)


def _other(target: str, fat: Answer, slim: Answer) -> Iterator[Verdict]:
    """A server that speaks no HTTP: what it says to a PING, or that it says something at all."""
    if fat.ok and (not slim.ok or fat.body != slim.body):
        came = _short(slim.body.strip()) or _short(slim.detail) or "nothing"
        expected = _short(fat.body.strip()) or "something"
        yield _differs("answer", target, f"{_short(target)} was answered with {came} instead of {expected}")
    else:
        yield _same("answer", target)


def _content(
    target: str, fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float
) -> Iterator[Verdict]:
    if normalise(fat.content_type.lower()) != normalise(slim.content_type.lower()):
        came, expected = _short(slim.content_type) or "none", _short(fat.content_type) or "none"
        text = f"the content type of {_short(target)} is {came} instead of {expected}"
        yield _differs("content-type", target, text)
    else:
        yield _same("content-type", target)
    problem = (_text if _is_text(fat) else _bytes)(fat, slim, names, tolerance)
    if problem:
        yield _differs("body", target, f"the body of {_short(target)} differs: {problem}")
    else:
        yield _same("body", target)


def _is_text(answer: Answer) -> bool:
    if answer.content_type:
        return any(word in answer.content_type.lower() for word in TEXTUAL)
    return "\0" not in answer.body


def _bytes(fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float) -> str:
    """Pictures and the like are the same, or, where they are never the same or the user allows it, about as
    long."""
    if (fat.size, fat.body) == (slim.size, slim.body):
        return ""
    if fat.again and slim.size:
        return ""
    if tolerance and abs(fat.size - slim.size) <= tolerance * fat.size:
        return ""
    same = f"other {slim.size} bytes" if fat.size == slim.size else f"{slim.size} bytes instead of {fat.size}"
    return f"{same} came"


def _text(fat: Answer, slim: Answer, names: tuple[tuple[str, ...], tuple[str, ...]], tolerance: float) -> str:
    mine, theirs = names
    plain, again = (normalise(_read(body), mine) for body in (fat.body, fat.again))
    difference = unlike(plain, normalise(_read(slim.body), theirs), again)
    if difference and difference.share > tolerance:
        came, expected = _short(difference.came) or "nothing", _short(difference.expected) or "nothing"
        return f"{came} instead of {expected}"
    if fat.size > BODY_KEPT and not fat.again and abs(fat.size - slim.size) > SIZE_SLACK + tolerance * fat.size:
        return f"{slim.size} bytes instead of {fat.size}"
    return ""


def _read(body: str) -> str:
    return body.encode("latin-1", "replace").decode("utf-8", "replace")


def _log(runs: tuple[Run, ...], slim: Run) -> Iterator[Verdict]:
    """Lines of a kind that no fat run has printed, and that tell of trouble. Where a fat run has printed more
    than was kept nobody can say."""
    if any(len(run.log) >= LOG_KEPT for run in runs):
        return
    known = {_line_kind(line, run) for run in runs for line in run.log}
    for line in slim.log:
        kind = _line_kind(line, slim)
        if kind not in known and any(word in kind.lower() for word in TROUBLE):
            known.add(kind)
            yield _differs("log", _short(kind), f"its output has a line that is new: {_short(line.strip())}")


def _line_kind(line: str, run: Run) -> str:
    return _NUMBER.sub("<n>", normalise(line, run.names)).strip()


__all__ = ["compare"]
