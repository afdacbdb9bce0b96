"""A Dockerfile for an image that came without one, reconstructed from the image's history.

The history keeps each instruction's effect, not its source: the source of COPY is known by hash at best, and
the base image's own instructions stand at the beginning like any others. Comments say so. The base image is
known only where the engine has an image with whose layers and history those of this image begin.
"""

from collections.abc import Iterable

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.reason.image.instructions import DEFAULT_SHELL, HistoryReader, json_words, printable_line

_SYNTAX_DIRECTIVE = "# syntax=docker/dockerfile:1"


def reconstruct(image: Image, base: Image | None = None) -> str:
    """The Dockerfile, ending in a newline. With `base` (see `find_base`) it begins with a FROM of that image;
    without, it begins with the instructions of the base image, whatever that was. A line of the history that
    cannot stand as an instruction becomes a comment."""
    body: list[str] = []
    reader = HistoryReader(image, (base.strings("Shell") if base else ()) or DEFAULT_SHELL)
    on_build = list(image.strings("OnBuild"))
    for number, entry in enumerate(image.history[len(base.history) if base else 0 :]):
        body += _lines(entry, reader, on_build, first=number == 0 and base is None)
    # BuildKit's history does not have ONBUILD.
    body += [f"ONBUILD {printable_line(trigger)}" for trigger in on_build]
    if not image.history:
        body += _from_config(image)
    head = [
        f"# Reconstructed by slimtrace from the history of {printable_line(image.reference)}",
        f"# {printable_line(image.id)}",
    ]
    if base:
        name = printable_line(base.reference)
        head += [f"# {name} is the local image that this one begins with: its instructions are not repeated."]
        body.insert(0, f"FROM {name}")
    else:
        head += ["# The history does not say where the base image ends: its own instructions come first."]
        if not any(line.startswith("FROM ") for line in body):
            body.insert(0, "FROM scratch")
    if any(line.startswith("RUN ") and "<<" in line for line in body):
        head.insert(0, _SYNTAX_DIRECTIVE)  # which has to be the first line
    return "\n".join((*head, *body)) + "\n"


def find_base(image: Image, known: Iterable[Image]) -> Image | None:
    """The one of the images `known` that `image` was built from, if it is among them: the layers and history of
    `image` begin with those of the base. Of several, the one with the longest history."""
    bases = [other for other in known if _is_base(image, other)]
    return max(bases, key=lambda other: (len(other.history), other.reference), default=None)


def _is_base(image: Image, other: Image) -> bool:
    length = len(other.history)
    if not 0 < length < len(image.history) or not other.layers:
        return False
    same = zip(image.history, other.history, strict=False)
    return image.layers[: len(other.layers)] == other.layers and all(
        (ours.created_by, ours.comment) == (theirs.created_by, theirs.comment) for ours, theirs in same
    )


def _lines(entry: HistoryEntry, reader: HistoryReader, on_build: list[str], first: bool) -> list[str]:
    text = entry.created_by.strip()
    found = []
    if entry.comment.lower().startswith("imported from") or (first and not text):
        origin = printable_line(entry.comment) or "a layer of unknown making"
        found += [
            f"# {origin}, {entry.size} bytes: not known further",
            "FROM scratch" if first else "# (imported over what was there)",
        ]
        if not text:
            return found
    if not text:
        return [*found, f"# a layer of {entry.size} bytes whose history says nothing"]
    instruction = reader.read(entry.created_by)
    lines = [printable_line(line) for line in instruction.text.split("\n")]
    notes = [f"# {printable_line(note)}" for note in instruction.notes]
    if instruction.keyword and "\n".join(lines) != instruction.text:
        notes.append("# characters that are not printable are written as escapes here")
    if instruction.keyword == "ONBUILD":
        trigger = instruction.text.removeprefix("ONBUILD ")
        if trigger in on_build:
            on_build.remove(trigger)
        else:
            notes.append("# not in force any more: it was for images built from a base of this one")
            lines = [f"# {line}" for line in lines]
    if not instruction.keyword:
        # Made by docker commit, or by another builder: nothing is known but the text itself.
        lines = [f"# {line}" for line in lines if line.strip()]
    if entry.size:
        notes.insert(0, f"# {entry.size} bytes")
    return [*found, *([""] if notes else []), *notes, *lines]


def _from_config(image: Image) -> list[str]:
    """Instructions from the configuration, for an image without any history."""
    reader = HistoryReader(image)
    lines = [reader.read(f"ENV {name}={value}").text for name, value in image.environment.items()]
    if image.text("WorkingDir"):
        lines.append(reader.read(f"WORKDIR {image.text('WorkingDir')}").text)
    if image.text("User"):
        lines.append(reader.read(f"USER {image.text('User')}").text)
    for key in ("Entrypoint", "Cmd"):
        if image.strings(key):
            lines.append(f"{key.upper()} {json_words(image.strings(key))}")
    return [printable_line(line) for line in lines]


__all__ = ["find_base", "reconstruct"]
