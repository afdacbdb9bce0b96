"""A Dockerfile for an image that came without one, from its history.

The history keeps each instruction's effect, not its source: what COPY copied is known by hash at best, and
the base image's own instructions stand at the beginning like any others. Comments say so. Which image is the
base is known only where the engine has an image whose layers and history this one's begin with.
"""

from collections.abc import Iterable

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.reason.image.instructions import DEFAULT_SHELL, Reader, safe, words_of

_DOCUMENT = "# syntax=docker/dockerfile:1"


def reverse(image: Image, base: Image | None = None) -> str:
    """The Dockerfile, ending in a newline. With `base` (see `base_of`) it begins there; without, it begins with
    the base image's own instructions, whatever that was. A line that cannot stand as an instruction becomes a
    comment."""
    body: list[str] = []
    reader = Reader(image, (base.strings("Shell") if base else ()) or DEFAULT_SHELL)
    triggers = list(image.strings("OnBuild"))
    for number, entry in enumerate(image.history[len(base.history) if base else 0 :]):
        body += _lines(entry, reader, triggers, first=number == 0 and base is None)
    body += [f"ONBUILD {safe(trigger)}" for trigger in triggers]  # BuildKit's history does not have them
    if not image.history:
        body += _from_config(image)
    head = [f"# Reconstructed by slimtrace from the history of {safe(image.reference)}", f"# {safe(image.id)}"]
    if base:
        name = safe(base.reference)
        head += [f"# {name} is the local image that this one begins with: its instructions are not repeated."]
        body.insert(0, f"FROM {name}")
    else:
        head += ["# The history does not say where the base image ends: its own instructions come first."]
        if not any(line.startswith("FROM ") for line in body):
            body.insert(0, "FROM scratch")
    if any(line.startswith("RUN ") and "<<" in line for line in body):
        head.insert(0, _DOCUMENT)  # it has to be the first line
    return "\n".join((*head, *body)) + "\n"


def base_of(image: Image, known: Iterable[Image]) -> Image | None:
    """The one of the images `known` that `image` was built from, if it is among them: its layers and its
    history are the beginning of this one's. Of several, the last in the line."""
    bases = [other for other in known if _begins(image, other)]
    return max(bases, key=lambda other: (len(other.history), other.reference), default=None)


def _begins(image: Image, other: Image) -> bool:
    length = len(other.history)
    if not 0 < length < len(image.history) or not other.layers:
        return False
    same = zip(image.history, other.history, strict=False)
    return image.layers[: len(other.layers)] == other.layers and all(
        (ours.created_by, ours.comment) == (theirs.created_by, theirs.comment) for ours, theirs in same
    )


def _lines(entry: HistoryEntry, reader: Reader, triggers: list[str], first: bool) -> list[str]:
    text = entry.created_by.strip()
    found = []
    if entry.comment.lower().startswith("imported from") or (first and not text):
        origin = safe(entry.comment) or "a layer of unknown making"
        found += [
            f"# {origin}, {entry.size} bytes: not known further",
            "FROM scratch" if first else "# (imported over what was there)",
        ]
        if not text:
            return found
    if not text:
        return [*found, f"# a layer of {entry.size} bytes whose history says nothing"]
    made = reader.read(entry.created_by)
    lines = [safe(line) for line in made.text.split("\n")]
    notes = [f"# {safe(note)}" for note in made.notes]
    if made.keyword and "\n".join(lines) != made.text:
        notes.append("# characters that are not printable are written as escapes here")
    if made.keyword == "ONBUILD":
        trigger = made.text.removeprefix("ONBUILD ")
        if trigger in triggers:
            triggers.remove(trigger)
        else:
            notes.append("# not in force any more: it was for images built from a base of this one")
            lines = [f"# {line}" for line in lines]
    if not made.keyword:
        # Made by docker commit, or by another builder: say what is known, promise nothing.
        lines = [f"# {line}" for line in lines if line.strip()]
    if entry.size:
        notes.insert(0, f"# {entry.size} bytes")
    return [*found, *([""] if notes else []), *notes, *lines]


def _from_config(image: Image) -> list[str]:
    """For an image without any history: what its configuration says."""
    reader = Reader(image)
    lines = [reader.read(f"ENV {name}={value}").text for name, value in image.environment.items()]
    if image.text("WorkingDir"):
        lines.append(reader.read(f"WORKDIR {image.text('WorkingDir')}").text)
    if image.text("User"):
        lines.append(reader.read(f"USER {image.text('User')}").text)
    for key in ("Entrypoint", "Cmd"):
        if image.strings(key):
            lines.append(f"{key.upper()} {words_of(image.strings(key))}")
    return [safe(line) for line in lines]


__all__ = ["base_of", "reverse"]
