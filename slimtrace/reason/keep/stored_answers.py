"""What a stored capture has to answer beyond what the artifact graph asks.

With these answers the confinement of the container can be decided from the capture alone.
"""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import strangers


def ask_for_confinement(capture: Capture) -> None:
    """Ask the image's files for everything that decides the confinement: users, groups, file capabilities. A
    capture that is stored afterwards has the answers."""
    for file in ("/etc/passwd", "/etc/group"):
        capture.contents.text(capture.tree.resolve(file).path)
    for run in image_programs(capture):
        capture.contents.file_capabilities(run.binary)


def image_programs(capture: Capture) -> Iterator[Exec]:
    """The executions that are the container's own, of programs of the image."""
    stranger = strangers(capture.trace, capture.image)
    for run in capture.trace.execs:
        entry = capture.tree.get(run.binary)
        if not run.foreign and entry and entry.kind is Kind.FILE and not stranger(run.pid, run.origin):
            yield run
