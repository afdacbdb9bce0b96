"""What a stored capture needs to know of the image's files beyond what building the artifact graph reads.

With these answers the container's confinement can be decided from the stored capture alone, without the image.
"""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import exec_session_test


def read_for_confinement(capture: Capture) -> None:
    """Read from the image's files everything that decides the confinement: users, groups, file capabilities.
    A capture that is stored afterwards has the answers."""
    for file in ("/etc/passwd", "/etc/group"):
        capture.contents.text(capture.tree.resolve(file).path)
    for run in image_programs(capture):
        capture.contents.file_capabilities(run.binary)


def image_programs(capture: Capture) -> Iterator[Exec]:
    """The execs of programs of the image that the container made itself, not an exec session from outside."""
    in_exec_session = exec_session_test(capture.trace, capture.image)
    for run in capture.trace.execs:
        entry = capture.tree.get(run.binary)
        if not run.foreign and entry and entry.kind is Kind.FILE and not in_exec_session(run.pid, run.origin):
            yield run
