"""A capture is a file: it comes back as it was, and nothing else comes back at all."""

import gzip
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from slimtrace import store
from slimtrace.codec import encode
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import (
    CallSet,
    Doubt,
    Exec,
    FileUse,
    Listen,
    Mount,
    Origin,
    Phase,
    Socket,
    Trace,
    Use,
)
from slimtrace.facts.formats.elf import Elf
from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.facts.runs import Answer, Run, Start
from slimtrace.facts.tree import Entry, FileTree, Kind

ODD = paths.decode(b"/\xff\n\xf0\x9f\x98\x80\xed\xa0\x80")


ROOT = Entry("/", Kind.DIR)


def capture() -> Capture:
    tree = [
        Entry("/", Kind.DIR, 0o755),
        Entry(ODD, Kind.FILE, 0o4755, 1, 2, 3, -4),
        Entry("/l", Kind.LINK, target=ODD),
    ]
    trace = Trace(
        uses=(FileUse(Use.READ, ODD, resolved="/x", pid=3, origin=Origin.EXEC),),
        execs=(Exec("/a", "", "/b", 1, 0, argv=("a", "b")),),
        listens=(Listen(80, "::", 1),),
        calls=(CallSet(Phase.APP, Origin.CONTAINER, ("read",), nameless=(500,)),),
        mounts=(Mount("/data", "ext4"),),
        sockets=(Socket("connect", "inet", "stream", 6, "::1", 80, 115, 1),),
        parents={2: 1},
        lost=5,
        doubts=(Doubt("lost", "5 records lost"),),
    )
    answers = Answers(
        {"/b": Elf("EM_X86_64", 64, needed=("libc.so.6",)), "/t": None},
        {"/b": b"\x7fELF\0\xff"},
        {"/t": "\udcff"},
    )
    image = Image(
        "sha256:1", "app:1", config={"Env": ["A=b"], "Cmd": None}, history=(HistoryEntry("RUN x", size=1),)
    )
    run = Run(
        Start(cmd=("a", ODD), env=("A",)),
        ports=(80,),
        answers=(Answer("GET http port 80 /", True, 200, "text/html", 3, "\xff\0\x1b", again="\n"),),
        stop_code=143,
        stop_seconds=0.25,
        log=("17",),
        names=("5bd42c87fab2",),
    )
    files = FileTree({entry.path: entry for entry in tree})
    return Capture(image, files, trace, answers, (run, Run(exit_code=0, failure="x")))


def test_a_capture_comes_back_as_it_was(tmp_path: Path) -> None:
    store.save(capture(), tmp_path / "c")
    assert store.load(tmp_path / "c") == capture()


def test_the_same_capture_gives_the_same_bytes_and_saving_again_replaces(tmp_path: Path) -> None:
    assert store.pack(capture()) == store.pack(capture())
    for _ in range(2):
        store.save(capture(), tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted(store.FILES)


def test_everyone_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store.save(capture(), tmp_path / "c")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "c").iterdir()} == {0o644}


def test_the_schema_number_comes_first() -> None:
    assert next(iter(json.loads(store.pack(capture())["capture.json"]))) == "schema"


any_text = st.text(st.characters(exclude_categories=[]), max_size=20).map(
    lambda text: paths.decode(text.encode("utf-8", "surrogatepass"))
)
NUMBERS = st.integers(-(1 << 62), 1 << 62)


@settings(deadline=None)
@given(
    st.lists(st.builds(FileUse, st.sampled_from(Use), any_text, any_text, any_text, NUMBERS, st.booleans())),
    st.dictionaries(NUMBERS, NUMBERS),
    st.dictionaries(any_text, st.none() | st.binary()),
)
def test_any_trace_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    uses: list[FileUse],
    parents: dict[int, int],
    heads: dict[str, bytes | None],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tree = FileTree({"/": Entry("/", Kind.DIR)})
    given_capture = Capture(Image("i", "r"), tree, Trace(tuple(uses), parents=parents), Answers(heads=heads))
    store.save(given_capture, folder)
    assert store.load(folder) == given_capture
    shutil.rmtree(folder)


paths_of_any = st.lists(any_text.filter(lambda name: "\0" not in name), min_size=1).map("/".join)
ENTRIES = st.builds(
    Entry,
    path=paths_of_any,
    kind=st.sampled_from(Kind),
    mode=st.just(0o644) | NUMBERS,
    uid=NUMBERS,
    gid=NUMBERS,
    size=NUMBERS,
    mtime_ns=NUMBERS,
    target=any_text,
    inode=NUMBERS,
    major=NUMBERS,
    minor=NUMBERS,
)


@given(entry=ENTRIES)
@example(entry=Entry("/", Kind.DIR, minor=1))
def test_a_line_of_the_tree_is_what_the_codec_makes_of_an_entry(entry: Entry) -> None:
    assert store.entry_line(entry) == json.dumps(encode(entry), separators=(",", ":")) + "\n"


def test_a_large_tree_is_packed_in_pieces() -> None:
    """Beside the result there is never more than a few thousand of its lines."""
    many = {f"/{number}": Entry(f"/{number}", Kind.FILE, size=number) for number in range(100_000)}
    large = Capture(Image("i", "r"), FileTree({"/": ROOT} | many), Trace(), Answers())
    tracemalloc.start()
    packed = store.pack(large)["tree.jsonl.gz"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    lines = gzip.decompress(packed)
    assert lines.count(b"\n") == 100_001
    assert peak - len(packed) < len(lines) // 4


def refuses(folder: Path) -> None:
    with pytest.raises(SlimtraceError) as caught:
        store.load(folder)
    assert caught.value.exit_code is Exit.BAD_INPUT
    assert caught.value.message.startswith("cannot ")
    assert caught.value.message.isprintable()


@settings(
    max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), name=st.sampled_from(store.FILES))
def test_bytes_that_were_changed_are_refused_or_harmless(
    tmp_path: Path, data: st.DataObject, name: str
) -> None:
    files = store.pack(capture())
    raw = bytearray(files[name])
    packed = name.endswith(".gz") and data.draw(st.booleans())
    if packed:  # below the checksum, where a forger works
        raw = bytearray(gzip.decompress(bytes(raw)))
    del raw[data.draw(st.integers(0, len(raw))) :]
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4)):
        if raw:
            raw[at % len(raw)] = value
    store.save(capture(), tmp_path)
    (tmp_path / name).write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    try:
        store.load(tmp_path)
    except SlimtraceError as error:
        assert error.exit_code is Exit.BAD_INPUT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["uses", "use", "path", "elfs"]), inner)
    ),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, name=st.sampled_from(store.FILES))
def test_any_json_is_refused_or_harmless(tmp_path: Path, value: object, name: str) -> None:
    store.save(capture(), tmp_path)
    text = json.dumps(value).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    try:
        store.load(tmp_path)
    except SlimtraceError as error:
        assert error.exit_code is Exit.BAD_INPUT


def _tree_of(*found: Entry) -> Callable[[Path], object]:
    pack = store.pack(
        Capture(Image("i", "r"), FileTree({str(n): e for n, e in enumerate(found)}), Trace(), Answers())
    )
    return lambda folder: (folder / "tree.jsonl.gz").write_bytes(pack["tree.jsonl.gz"])


def _fifo(folder: Path) -> None:
    (folder / "capture.json").unlink()
    os.mkfifo(folder / "capture.json")


def _bomb(folder: Path) -> None:
    with gzip.open(folder / "trace.json.gz", "wb", compresslevel=1) as file:
        for _ in range(store.LIMIT // (1 << 24) + 1):
            file.write(bytes(1 << 24))


def _long_tree(folder: Path) -> None:
    """A tree of more lines than are read: a few, and each of them too long for so many."""
    with gzip.open(folder / "tree.jsonl.gz", "wb", compresslevel=1) as file:
        for number in range(store.LIMIT // (1 << 17) + 2):
            line = json.dumps({"path": f"/{number}", "kind": "dir", "padding": "x" * ((1 << 17) - 100)})
            file.write((line if number else '{"path":"/","kind":"dir"}').encode() + b"\n")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "trace.json.gz").unlink(), id="a file is missing"),
        pytest.param(shutil.rmtree, id="the folder is missing"),
        pytest.param(
            lambda folder: (folder / "capture.json").write_text('{"schema": 3}'), id="an earlier schema"
        ),
        pytest.param(lambda folder: (folder / "capture.json").write_text('{"schema": 5}'), id="a later schema"),
        pytest.param(
            lambda folder: (folder / "capture.json").write_text("[" * 100_000), id="nested without end"
        ),
        pytest.param(_fifo, id="a fifo"),
        pytest.param(_bomb, id="a decompression bomb"),
        pytest.param(_tree_of(Entry("/a", Kind.FILE)), id="a tree without root"),
        pytest.param(_tree_of(ROOT, Entry("/a/b", Kind.FILE)), id="a file in no directory"),
        pytest.param(_tree_of(ROOT, Entry("/a", Kind.FILE), Entry("/a/b", Kind.FILE)), id="a file in a file"),
        pytest.param(_tree_of(ROOT, Entry("/..", Kind.DIR)), id="a path that climbs"),
        pytest.param(_tree_of(ROOT, ROOT), id="a path twice"),
        pytest.param(_tree_of(ROOT, Entry("/" + "a" * store.LINE_LIMIT, Kind.FILE)), id="a line without end"),
        pytest.param(_long_tree, id="a decompression bomb of lines"),
        pytest.param(_tree_of(ROOT, Entry("a", Kind.FILE)), id="a relative path"),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store.save(capture(), tmp_path / "c")
    spoil(tmp_path / "c")
    refuses(tmp_path / "c")
