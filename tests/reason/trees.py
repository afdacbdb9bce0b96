"""File trees as strings, so that a test reads as a specification.

    capture({
        "/usr/bin/app": "elf interp=/lib64/ld.so needs=libc.so.6",
        "/lib": "link usr/lib",
        "/usr/lib/libx.so.1": "elf says=import:tzset,zone:Europe/Berlin",
        "/app/a.jar": "jar lib/b.jar lib/c.jar",
        "/entry.sh": "script #!/bin/sh -e",
        "/etc/ld.so.conf": "text /opt/lib",
        "/run/app": "dir 0700",
        "/data": "file 0640 size=12 inode=3",
    })

The directories above an entry need no entry of their own. A backslash-n in a text or script is a newline.
`says` of an ELF file are its mentions (facts.mentions), KIND:NAME; a jar has the elements of its class path.
"""

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from slimtrace.facts import manifests, paths, sources
from slimtrace.facts.capture import HEAD_BYTES, Answers, Capture
from slimtrace.facts.events import Exec, FileUse, Mount, Trace, Use
from slimtrace.facts.formats.elf import MAGIC, Elf
from slimtrace.facts.image import Image
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.rules import Rules
from slimtrace.reason.keep.select import select_paths

GLIBC = {
    "/lib": "link usr/lib",
    "/lib64": "link usr/lib64",
    "/usr/lib64/ld-linux-x86-64.so.2": "link /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "elf soname=ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/libc.so.6": "elf soname=libc.so.6 needs=ld-linux-x86-64.so.2",
}
INTERP = "interp=/lib64/ld-linux-x86-64.so.2"
DASH = {
    "/bin": "link usr/bin",
    "/usr/bin/sh": "link dash",
    "/usr/bin/dash": f"elf 0755 {INTERP} needs=libc.so.6",
}


def tree(spec: Mapping[str, str]) -> FileTree:
    return tree_and_answers(spec)[0]


def tree_and_answers(spec: Mapping[str, str]) -> tuple[FileTree, Answers]:
    """The tree, and the answers about the content of its files."""
    entries = {"/": Entry("/", Kind.DIR, 0o755)}
    elfs: dict[str, Elf | None] = {}
    heads: dict[str, bytes | None] = {}
    texts: dict[str, str | None] = {}
    named: dict[str, tuple[Mention, ...]] = {}
    for path, line in spec.items():
        kind, _, rest = line.partition(" ")
        for above in reversed(tuple(paths.parents(path))):
            entries.setdefault(above, Entry(above, Kind.DIR, 0o755))
        mode = 0o755 if kind in ("dir", "elf", "script") else 0o644
        if rest[:1] == "0" and rest[:4].isdigit():
            mode, rest = int(rest[:4], 8), rest[5:]
        values = (
            dict(word.split("=", 1) for word in rest.split() if "=" in word) if kind in ("elf", "file") else {}
        )
        if kind == "link":
            entries[path] = Entry(path, Kind.LINK, 0o777, target=rest)
            continue
        if kind in Kind.__members__.values() and kind != "file":
            entries[path] = Entry(path, Kind(kind), mode)
            continue
        entries[path] = Entry(
            path, Kind.FILE, mode, size=int(values.get("size", 1)), inode=int(values.get("inode", 0))
        )
        content = rest.replace("\\n", "\n")
        if kind == "elf":
            elfs[path] = elf(values)
            content = MAGIC.decode("latin-1")
            said = [word.split(":", 1) for word in values.get("says", "").split(",") if word]
            named[f"{Language.BINARY} {path}"] = tuple(Mention(*pair) for pair in said)
        if kind == "jar":
            named[f"{Language.ZIP} {path}"] = tuple(Mention("class-path", word) for word in rest.split())
        heads[path] = paths.encode(content)[:HEAD_BYTES]
        texts[path] = content
    return FileTree(entries), ReadingAnswers(elfs, heads, texts, named)


class ReadingAnswers(Answers):
    """Answers that read the mentions and manifests in a test's files on demand."""

    def mentions(self, path: str, language: Language) -> tuple[Mention, ...]:
        if f"{language} {path}" in self.named:
            return self.named[f"{language} {path}"]
        text = self.texts.get(path)
        return () if text is None else sources.read(language, io.BytesIO(paths.encode(text)))

    def manifests(self, path: str, form: Format) -> tuple[Manifest, ...]:
        text = self.texts.get(path)
        return () if text is None else manifests.read(form, io.BytesIO(paths.encode(text)))


def elf(values: Mapping[str, str]) -> Elf:
    def many(key: str, mark: str) -> tuple[str, ...]:
        return tuple(values[key].split(mark)) if key in values else ()

    return Elf(
        machine=values.get("machine", "EM_X86_64"),
        bits=int(values.get("bits", 64)),
        interpreter=values.get("interp", ""),
        soname=values.get("soname", ""),
        needed=many("needs", ","),
        rpath=many("rpath", ":"),
        runpath=many("runpath", ":"),
    )


def capture(
    spec: Mapping[str, str],
    uses: Iterable[FileUse] = (),
    execs: Iterable[Exec] = (),
    config: Mapping[str, Any] | None = None,
    mounts: Iterable[str] = (),
    **trace: Any,
) -> Capture:
    """A capture of one run, in which each process used all its files by the program that it executed last,
    unless the use names another."""
    files, contents = tree_and_answers(spec)
    image = Image("sha256:0", "test/app:1", config=config or {})
    execs = tuple(execs)
    programs = {run.pid: paths.join(run.base, run.asked) for run in execs}
    seen = tuple(replace(use, program=use.program or programs.get(use.pid, "")) for use in uses)
    return Capture(image, files, Trace(seen, execs, mounts=tuple(map(Mount, mounts)), **trace), contents)


def selected(seen: Capture, rules: Rules | None = None) -> Selection:
    return select_paths(graph_builder.build_graph(seen, rules), seen, rules)


def kept(seen: Capture, rules: Rules | None = None) -> set[str]:
    """The kept paths, without the root and directories that are kept only for what is below them."""
    chosen = selected(seen, rules)
    return {
        path
        for path, reasons in chosen.kept.items()
        if path != "/" and any(reason.why != "directory of" for reason in reasons)
    }


def read(path: str, resolved: str = "", **more: Any) -> FileUse:
    return FileUse(Use.READ, path, resolved=resolved or path, **more)


def orders(items: Iterable[Any], limit: int = 24) -> Iterator[tuple[Any, ...]]:
    """The items in every order, at most `limit` of them."""
    return itertools.islice(itertools.permutations(tuple(items)), limit)
