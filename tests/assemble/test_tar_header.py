"""Tar headers of entries with any numbers and bytes: tarfile reads the entry that was written."""

import io
import tarfile
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slimtrace.assemble.layer_losses import LayerLosses
from slimtrace.assemble.tar_header import BLOCK, RECORDS_LIMIT, can_carry_xattr, decimal, header
from slimtrace.facts import paths
from slimtrace.facts.tree import Entry, Kind

TYPES = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIR: tarfile.DIRTYPE,
    Kind.LINK: tarfile.SYMTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
    Kind.CHAR: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
}


def read(raw: bytes) -> tarfile.TarInfo:
    assert len(raw) % BLOCK == 0
    # The content is absent: tarfile reads it only when it goes on to the next entry.
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(1024)), encoding="utf-8", errors="surrogateescape") as tar:
        found = tar.next()
    assert found is not None
    return found


names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and name.strip(b"/") == name)
text = names.map(lambda name: "/" + paths.decode(name).replace("//", "/"))
owners = st.integers(0, (1 << 32) - 2)
entries = st.builds(
    Entry,
    path=text,
    kind=st.sampled_from(list(TYPES)),
    mode=st.integers(0, 0o7777),
    uid=owners,
    gid=owners,
    size=st.integers(0, 1 << 62),
    mtime_ns=st.integers(-(1 << 62), 1 << 64),
    target=text,
    major=st.integers(0, (1 << 12) - 1),
    minor=st.integers(0, (1 << 20) - 1),
)
xattrs = st.dictionaries(
    st.sampled_from(["user.a", "security.capability", "user.ü\n"]),
    st.binary(min_size=1, max_size=1200),
    max_size=3,
)


@given(entry=entries, hardlink_to=st.just("") | text, attributes=xattrs)
@example(Entry("/", Kind.DIR), "", {})
@example(Entry("/" + "a" * 100, Kind.FILE), "", {})
@example(Entry("/a", Kind.FILE, size=8 << 30, uid=1 << 21, mtime_ns=8589934592 * 10**9), "", {})
def test_tarfile_reads_what_was_written(entry: Entry, hardlink_to: str, attributes: dict[str, bytes]) -> None:
    hardlink_to = "" if entry.kind is Kind.DIR else hardlink_to  # there are no hardlinks to directories
    found = read(header(entry, hardlink_to, attributes))
    records = {f"SCHILY.xattr.{key}": value for key, value in attributes.items()}
    shown = {key: value for key, value in found.pax_headers.items() if key.startswith("SCHILY")}
    assert found.type == (tarfile.LNKTYPE if hardlink_to else TYPES[entry.kind])
    assert found.name == (entry.path.lstrip("/").rstrip("/") or ".")
    assert found.linkname == ((hardlink_to.lstrip("/")) if hardlink_to else entry.target)
    assert (found.mode, found.uid, found.gid) == (entry.mode, entry.uid, entry.gid)
    assert found.size == (entry.size if entry.kind is Kind.FILE and not hardlink_to else 0)
    assert (found.devmajor, found.devminor) == (entry.major, entry.minor)
    assert Decimal(found.pax_headers.get("mtime", str(found.mtime))) == Decimal(entry.mtime_ns).scaleb(-9)
    assert {key: paths.encode(value) for key, value in shown.items()} == records


@pytest.mark.parametrize("length", range(80, 120))
def test_a_record_counts_its_own_length(length: int) -> None:
    """Also where the digits of the length make the length one digit longer."""
    found = read(header(Entry("/a", Kind.FILE), "", {"user.a": b"v" * length}))
    assert found.pax_headers == {"SCHILY.xattr.user.a": "v" * length}


def test_an_attribute_with_any_bytes_in_its_name_is_written_as_it_is() -> None:
    raw = header(Entry("/a", Kind.FILE), "", {"user.\udcff\n": b"\0\xff\n="})
    assert b" SCHILY.xattr.user.\xff\n=\0\xff\n=\n" in raw


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (1_500_000_000, "1.5"),
        (10**10, "10"),
        (-(10**9), "-1"),
    ],
)
def test_seconds_have_no_zeros_at_the_end(nanoseconds: int, text: str) -> None:
    assert decimal(nanoseconds) == text


def test_an_attribute_that_no_record_can_hold_is_not_carried() -> None:
    assert can_carry_xattr("user.a", b"\0")
    assert not can_carry_xattr("user.a=b", b"c")
    assert not can_carry_xattr("user.a", b"")


def test_of_too_many_attributes_some_are_left_out_and_reported() -> None:
    losses = LayerLosses()
    given_attributes = {f"user.{number}": bytes(60_000) for number in range(20)}
    carried = losses.carried_xattrs("/a", given_attributes)
    assert 10 < len(carried) < 20
    assert len(header(Entry("/a", Kind.FILE), "", carried)) < RECORDS_LIMIT
    assert [(doubt.code, doubt.subject) for doubt in losses.doubts()] == [("attribute", "/a")]


def test_each_kind_of_loss_is_one_doubt() -> None:
    losses = LayerLosses()
    assert not losses.writable(Entry("/\x1b[31m", Kind.SOCKET))
    assert not losses.writable(Entry("/b", Kind.SOCKET))
    assert losses.writable(Entry("/a.wh.b", Kind.FILE))
    (doubt,) = losses.doubts()
    assert (doubt.code, doubt.text) == ("socket", "/\\x1b[31m and 1 more: a socket cannot be in an image")
