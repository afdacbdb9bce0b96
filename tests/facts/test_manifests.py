"""Readers of package metadata, format by format; no hostile file makes one raise or hang."""

import io
import itertools
import json
import sqlite3
import struct
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slimtrace.facts import manifests
from slimtrace.facts.manifests import apk, dpkg, python, rpm
from slimtrace.facts.packages import Format, Manifest


def read(form: Format, content: str | bytes) -> tuple[Manifest, ...]:
    data = content.encode() if isinstance(content, str) else content
    return manifests.read(form, io.BytesIO(data))


STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u10
Description: GNU C Library
 Package: not-a-field
 .
Conffiles:
 /etc/ld.so.conf.d/x.conf d4e7

Package: dash
Status: install ok installed
Architecture: amd64
Version: 0.5.12-2

Package: bzip2
Status: install ok half-configured
Architecture: amd64
Source: bzip2 (1.0.8-5)
Version: 1.0.8-5+b1


Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_dpkg_status() -> None:
    assert read(Format.DPKG, STATUS) == (
        Manifest("libc6", "2.36-9+deb12u10", "amd64", source="glibc", key="libc6:amd64"),
        Manifest("dash", "0.5.12-2", "amd64", key="dash"),
        Manifest("bzip2", "1.0.8-5+b1", "amd64", source="bzip2", source_version="1.0.8-5", key="bzip2"),
    )


def test_a_cut_status_has_the_stanzas_byte_for_byte() -> None:
    cut = dpkg.cut_status(STATUS.encode(), {"libc6:amd64", "bzip2", "gone"}.__contains__).decode()
    assert cut == f"{STATUS.split(chr(10) * 2)[0]}\n\n{STATUS.split(chr(10) * 2)[2]}\n\n"
    assert [one.name for one in read(Format.DPKG, cut)] == ["libc6", "bzip2"]


def test_dpkg_lists() -> None:
    listed = "/.\n/usr\n/usr/bin\n/usr/bin/jq\nnot a path\n"
    assert read(Format.LIST, listed) == (Manifest(files=("/.", "/usr", "/usr/bin", "/usr/bin/jq")),)
    assert dpkg.cut_list(listed.encode(), {"/usr", "/usr/bin/jq"}.__contains__) == b"/usr\n/usr/bin/jq\n"


def test_dpkg_digests() -> None:
    one, two = f"{'a' * 32}  usr/bin/jq\n", f"{'b' * 32}  usr/share/doc/jq/a file\n"
    assert read(Format.MD5SUMS, one + two + "short  line\n") == (
        Manifest(files=("/usr/bin/jq", "/usr/share/doc/jq/a file")),
    )
    assert dpkg.cut_md5sums((one + two).encode(), {"/usr/bin/jq"}.__contains__).decode() == one


@pytest.mark.parametrize(
    ("text", "licenses"),
    [
        (
            "Format: x\n\nFiles: *\nLicense: MIT\n text\n\nFiles: a\nLicense: GPL-2+\n\nLicense: MIT\n",
            ("MIT", "GPL-2+"),
        ),
        ("This package was debianized by hand.\nLicense: GPL\n", ()),
        ("", ()),
    ],
)
def test_copyright(text: str, licenses: tuple[str, ...]) -> None:
    assert read(Format.COPYRIGHT, text) == (Manifest(licenses=licenses),)


INSTALLED = """\
C:Q1xyz=
P:musl
V:1.2.4-r2
A:x86_64
L:MIT
o:musl
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1abc=
F:usr
F:usr/share
M:0:0:1777
R:unused
Z:Q1def=

P:ssl_client
V:1.36.1-r5
A:x86_64
L:GPL-2.0-only
o:busybox
F:usr/bin
R:ssl_client

"""


def test_apk() -> None:
    files = ("/lib", "/lib/ld-musl-x86_64.so.1", "/usr", "/usr/share", "/usr/share/unused")
    assert read(Format.APK, INSTALLED) == (
        Manifest("musl", "1.2.4-r2", "x86_64", ("MIT",), files=files, key="musl"),
        Manifest(
            "ssl_client", "1.36.1-r5", "x86_64", ("GPL-2.0-only",), source="busybox",
            files=("/usr/bin", "/usr/bin/ssl_client"), key="ssl_client",
        ),
    )  # fmt: skip


def test_a_cut_apk_database_has_only_the_files_that_are_kept() -> None:
    cut = apk.cut(INSTALLED.encode(), {"musl"}.__contains__, {"/lib/ld-musl-x86_64.so.1"}.__contains__)
    assert cut.decode() == (
        "C:Q1xyz=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\n"
        "a:0:0:755\nZ:Q1abc=\n\n"
    )
    assert (
        apk.cut(INSTALLED.encode(), lambda _: True, lambda _: True) == INSTALLED.replace("F:usr\n", "").encode()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Name: Flask\nVersion: 3.1.0\nLicense: BSD-3-Clause\n\nName: no\n",
            Manifest("Flask", "3.1.0", licenses=("BSD-3-Clause",)),
        ),
        (
            "Name: a\nVersion: 1\nLicense-Expression: MIT OR X\nLicense: y\n",
            Manifest("a", "1", licenses=("MIT OR X",)),
        ),
        (
            "Name: b\nVersion: 2\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n",
            Manifest("b", "2", licenses=("MIT License",)),
        ),
        ("no header at all", Manifest()),
    ],
)
def test_python_metadata(text: str, expected: Manifest) -> None:
    assert read(Format.PYTHON, text) == (expected,)


def test_record() -> None:
    record = '../../bin/flask,sha256=x,213\r\n"a,b.py",,\nflask/app.py,sha256=y,1\n'
    assert read(Format.RECORD, record) == (Manifest(files=("../../bin/flask", "a,b.py", "flask/app.py")),)
    assert python.cut_record(record.encode(), {"a,b.py"}.__contains__) == b'"a,b.py",,\n'


@pytest.mark.parametrize(
    ("package_json", "expected"),
    [
        ({"name": "@a/b", "version": "1", "license": "MIT"}, [Manifest("@a/b", "1", licenses=("MIT",))]),
        ({"name": "c", "license": {"type": "ISC"}}, [Manifest("c", licenses=("ISC",))]),
        ({"name": "d", "licenses": [{"type": "X"}, "Y", 3]}, [Manifest("d", licenses=("X", "Y"))]),
        ({"name": ["e"], "version": 4}, []),
        ({"private": True}, []),
        ([1], []),
    ],
)
def test_npm(package_json: object, expected: list[Manifest]) -> None:
    assert list(read(Format.NPM, json.dumps(package_json))) == expected


def test_gem() -> None:
    spec = """\
# -*- encoding: utf-8 -*-
# stub: nokogiri 1.15.0 x86_64-linux lib
Gem::Specification.new do |s|
  s.name = "nokogiri".freeze
  s.version = "1.15.0"
  s.files = ["lib/a.rb".freeze, "README".freeze]
  s.licenses = ["MIT".freeze]
end
"""
    expected = Manifest("nokogiri", "1.15.0", "x86_64-linux", ("MIT",), files=("lib/a.rb", "README"))
    assert read(Format.GEM, spec) == (expected,)
    bare = (
        'Gem::Specification.new do |spec|\n  spec.name = "x"\n  spec.version = "2"\n  spec.license = \'Ruby\'\n'
    )
    assert read(Format.GEM, bare) == (Manifest("x", "2", licenses=("Ruby",)),)
    assert read(Format.GEM, "puts 1") == ()


def jar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def pom(group: str, artifact: str, version: str) -> dict[str, bytes]:
    name = f"META-INF/maven/{group}/{artifact}/pom.properties"
    return {name: f"#made\ngroupId={group}\nartifactId = {artifact}\nversion={version}\n".encode()}


def test_maven_reads_a_jar_and_the_jars_in_it() -> None:
    innermost = jar(pom("org.c", "too-deep", "9"))
    inner = jar(pom("org.b", "inner", "2") | {"lib/deep.jar": innermost})
    outer = jar(pom("org.a", "app", "1") | {"BOOT-INF/lib/inner.jar": inner, "broken.jar": b"PK"})
    assert read(Format.MAVEN, outer) == (Manifest("org.a:app", "1"), Manifest("org.b:inner", "2"))


def test_maven_passes_over_what_would_take_too_much() -> None:
    bomb = jar({"META-INF/maven/g/a/pom.properties": b"groupId=g\nartifactId=a\n" + b"\n" * 10_000_000})
    assert read(Format.MAVEN, bomb) == ()
    claims = bytearray(jar(pom("g", "a", "1")))
    at = claims.rfind(b"PK\x05\x06")
    claims[at + 12 : at + 16] = b"\xff\xff\xff\x7f"
    assert read(Format.MAVEN, bytes(claims)) == ()


def header(name: str, files: Iterable[str] = (), epoch: int | None = None) -> bytes:
    """A header as rpm stores it: the fields that are read."""
    split = [path.rpartition("/") for path in files]
    folders = sorted({folder for folder, _, _ in split})
    values: list[tuple[int, int, int, bytes]] = [
        (1000, 6, 1, f"{name}\0".encode()),
        (1001, 6, 1, b"1.0\0"),
        (1002, 6, 1, b"3\0"),
        (1014, 6, 1, b"MIT\0"),
        (1022, 6, 1, b"x86_64\0"),
        (1044, 6, 1, b"whole-1.0-3.src.rpm\0"),
        (1116, 4, len(split), b"".join(struct.pack(">I", folders.index(folder)) for folder, _, _ in split)),
        (1117, 8, len(split), b"".join(f"{base}\0".encode() for _, _, base in split)),
        (1118, 8, len(folders), b"".join(f"{folder}/\0".encode() for folder in folders)),
    ]
    if epoch is not None:
        values.append((1003, 4, 1, struct.pack(">I", epoch)))
    entries, data = b"", b""
    for tag, kind, count, value in values:
        entries += struct.pack(">IIII", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(values), len(data)) + entries + data


def database(packages: dict[int, bytes], more: str = "", wal: bool = False) -> bytes:
    with sqlite3.connect(":memory:") as made:
        made.executescript(
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);"
            "CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);"
            "CREATE INDEX Name_hnum_idx ON Name(hnum ASC);" + more
        )
        for number, blob in packages.items():
            made.execute("INSERT INTO Packages VALUES (?, ?)", (number, blob))
            made.execute("INSERT INTO Name VALUES (?, ?, 0)", (f"name {number}", number))
        made.commit()
        data = made.serialize()
    return data[:18] + b"\2\2" + data[20:] if wal else data


@pytest.mark.parametrize("wal", [False, True])
def test_rpm(wal: bool) -> None:
    stored = database({1: header("greet", ["/usr/bin/greet", "/etc/g"], 2), 4: header("gpg-pubkey")}, wal=wal)
    assert read(Format.RPM, stored) == (
        Manifest(
            "greet", "2:1.0-3", "x86_64", ("MIT",), "whole", "1.0-3", ("/usr/bin/greet", "/etc/g"), "1"
        ),
    )  # fmt: skip


@pytest.mark.parametrize("wal", [False, True])
def test_a_cut_rpm_database_is_one_without_the_other_rows(wal: bool) -> None:
    stored = database({1: header("a"), 2: header("b"), 3: header("c")}, wal=wal)
    cut = rpm.cut(stored, {"2"}.__contains__)
    assert cut is not None
    assert cut == rpm.cut(stored, {"2"}.__contains__)
    assert cut[18:20] == stored[18:20]
    assert [one.name for one in read(Format.RPM, cut)] == ["b"]
    with sqlite3.connect(":memory:") as opened:
        opened.deserialize(cut[:18] + b"\1\1" + cut[20:])
        assert opened.execute("SELECT key, hnum FROM Name").fetchall() == [("name 2", 2)]
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert b"name 3" not in cut


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS hnum, x'00' AS blob FROM n"
)


@pytest.mark.parametrize(
    "stored",
    [
        database({1: header("a")}, f"CREATE VIEW v AS {ENDLESS};"),
        database({1: header("a")}, "CREATE TRIGGER t AFTER DELETE ON Name BEGIN DELETE FROM Packages; END;"),
        b"SQLite format 3\0" + bytes(200),
        b"",
    ],
)
def test_an_rpm_database_with_views_or_triggers_is_not_read(stored: bytes) -> None:
    assert read(Format.RPM, stored) == ()
    assert rpm.cut(stored, lambda _: False) is None


def test_an_endless_query_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpm, "STEPS", 100_000)
    with rpm._opened(database({})) as opened, pytest.raises(sqlite3.OperationalError, match="interrupted"):
        opened.execute(f"SELECT count(*) FROM ({ENDLESS})").fetchone()


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF),
        struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 6, 0xFFFFFFFF, 1) + b"abc\0",
        struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 8, 0, 0xFFFFFFFF) + b"ab\0\0",
        struct.pack(">II", 1, 3) + struct.pack(">IIII", 1000, 6, 0, 1) + b"abc",
    ],
)
def test_forged_headers(blob: bytes) -> None:
    found = read(Format.RPM, database({1: blob}))
    assert [one.name for one in found] in ([], ["ab"], ["abc"])


SAMPLES = {
    Format.DPKG: STATUS.encode(),
    Format.APK: INSTALLED.encode(),
    Format.RPM: database({1: header("greet", ["/usr/bin/greet"], 2)}),
    Format.NPM: b'{"name": "a", "version": "1", "license": ["x"]}',
    Format.MAVEN: jar(pom("g", "a", "1")),
    Format.RECORD: b'a,b,c\n"d\n',
}


@given(st.sampled_from(sorted(Format)), st.binary(max_size=300))
def test_no_reader_raises_on_random_bytes(form: Format, data: bytes) -> None:
    read(form, data)


@example(Format.RPM, [(4016, 128)])  # SQLite's complaint is no UTF-8
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), max_size=8),
)
def test_no_reader_raises_on_flipped_bytes(form: Format, flips: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLES[form])
    for at, value in flips:
        data[at % len(data)] = value
    read(form, bytes(data))


@pytest.mark.parametrize("form", [Format.NPM, Format.GEM, Format.PYTHON, Format.COPYRIGHT])
def test_deep_and_long_files(form: Format) -> None:
    for text in (
        "[" * 200_000,
        '{"a":' * 100_000,
        " " * 500_000,
        "\n" * 500_000,
        "s.files = [" + "'" * 300_000,
    ):
        read(form, text)


def test_databases_without_packages() -> None:
    for form, cut in itertools.product((Format.DPKG, Format.APK), (b"", b"\n\n\n", b"P:\n\nPackage:\n")):
        assert read(form, cut) == ()
