"""What a Python source names."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources.python import source


def read(text: str) -> tuple[Mention, ...]:
    return source.mentions(io.BytesIO(text.encode("utf-8", "surrogatepass")))


def mentioned(text: str) -> set[str]:
    """The mentions but for lines: "kind name", with "later" for lazy and "?" for computed ones."""
    return {
        f"{one.kind} {one.name}" + (" later" if one.lazy else "") + (" ?" if one.computed else "")
        for one in read(text)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b, c as d", {"import a.b", "import c"}),
        ("from a.b import c, d as e", {"import a.b", "member a.b.c", "member a.b.d"}),
        ("from . import a", {"import .", "member .a"}),
        ("from ..x import y", {"import ..x", "member ..x.y"}),
        ("from a import *", {"import a"}),
        ("def f():\n    import a", {"import a later"}),
        ("async def f():\n    import a", {"async ", "import a later"}),
        ("class C:\n    import a", {"import a"}),
        ("class C:\n    def f(self):\n        import a", {"import a later"}),
        ("f = lambda: __import__('a')", {"import a later"}),
        ("try:\n    import a\nexcept ImportError:\n    import b", {"attempt a", "attempt b"}),
        ("try:\n    import a\nfinally:\n    import b", {"import a", "import b"}),
        ("if x:\n    import a\nelse:\n    import b", {"attempt a", "attempt b"}),
        ("with suppress(ImportError):\n    import a", {"attempt a"}),
        ("if __name__ == '__main__':\n    import a", {"import a later"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"import b"}),
        ("if typing.TYPE_CHECKING:\n    import a", set()),
        ("if sys.platform == 'win32':\n    import a\nelse:\n    import b", {"import b"}),
        ("if sys.platform.startswith('win'):\n    import a", set()),
        ("if os.name != 'nt':\n    import a", {"import a"}),
        ("if sys.platform in ('win32', 'cygwin'):\n    import a", set()),
        ("if sys.platform in ('linux', 'cygwin'):\n    import a", {"import a"}),
        ("if not sys.platform.startswith('linux'):\n    import a", set()),
        ("if WIN and x:\n    import a", set()),
        ("if sys.version_info >= (3, 9):\n    import a", {"attempt a"}),
        ("import_module('a.b')", {"import a.b", "literal a.b"}),
        ("importlib.import_module('.b', 'a')", {"import a.b"}),
        ("import_module(name)", {"import name ?"}),
        ("import_module(f'a.{x}')", {"children a."}),
        ("import_module('a.b.' + x)", {"children a.b.", "literal a.b."}),
        ("import_module('a.%s' % x)", {"children a.", "literal a."} - {"literal a."}),
        ("import_module('a.{}'.format(x))", {"children a."}),
        ("import_module(f'{__name__}.{x}')", {"children ."}),
        ("import_module(__name__ + '.a')", {"import .a"}),
        ("import numpy as np\nnp.linalg.solve", {"import numpy", "member numpy.linalg.solve"}),
        ("import os\nos.path.join(a)", {"import os"}),
        ("t.strptime(x)", {"implied _strptime"}),
        ("getaddrinfo(x)", {"implied encodings.idna"}),
        ("x.encode('cp1252')", {"codec cp1252"}),
        ("open(x, encoding='latin-1')", {"codec latin-1"}),
        ("str(x, 'big5')", {"codec big5"}),
        ("codecs.lookup('idna')", {"codec idna"}),
        ("# -*- coding: koi8-r -*-", {"codec koi8-r"}),
        ("from importlib.metadata import version\nversion('a')",
         {"import importlib.metadata", "member importlib.metadata.version", "distribution a"}),
        ("import importlib.metadata as m\nm.version(x)",
         {"import importlib.metadata", "member importlib.metadata.version", "distribution  ?"}),
        ("from pkg_resources import get_distribution as g\nimport pkg_resources\n"
         "pkg_resources.get_distribution(__name__)",
         {"import pkg_resources", "member pkg_resources.get_distribution", "distribution ."}),
        ("version('a')", set()),
        ("entry_points(group='a.b')", {"entry-points a.b", "literal a.b"}),
        ("iter_entry_points('ab')", {"entry-points ab"}),
        ("entry_points(group=g)", {"entry-points  ?"}),
        ("ZoneInfo('UTC')", {"zone UTC"}),
        ("ZoneInfo(x)", {"zone  ?"}),
        ("render('a/b.html')", {"literal a/b.html"}),
        ("x = 'not a name.'", set()),
        ("x = '3.14'", set()),
        ("Flask(x, template_folder='views')", {"literal views"}),
    ],
)  # fmt: skip
def test_imports_and_names(text: str, expected: set[str]) -> None:
    assert mentioned(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Path(__file__).parent / 'a' / 'b.txt'", "a/b.txt"),
        ("Path(__file__).resolve().parent.joinpath('a', 'b')", "a/b"),
        ("Path(__file__).parents[1] / 'a'", "../a"),
        ("Path(__file__).with_name('a')", "a"),
        ("os.path.join(os.path.dirname(__file__), 'a')", "a"),
        ("join(dirname(dirname(abspath(__file__))), 'a')", "../a"),
        ("os.path.dirname(__file__) + '/a/b'", "a/b"),
        ("f'{dirname(__file__)}/a'", "a"),
        ("HERE = dirname(__file__)\nopen(join(HERE, 'a', '..', 'b'))", "b"),
        ("HERE: Path = Path(__file__).parent\nDATA = HERE / 'data'\n(DATA / 'x').open()", "data data/x"),
        ("files('p').joinpath('a')", "p:a"),
        ("files(__name__) / 'a'", "a"),
        ("pkgutil.get_data('p', 'a/b')", "p:a/b"),
        ("resources.read_text(__package__, 'a')", "a"),
        ("resource_filename('p', name)", "p:.?"),
        ("join(dirname(__file__), 'a', name, 'b')", "a?"),
        ("HERE = dirname(__file__)\nopen(join(HERE, name))", ".?"),
        ("HERE = dirname(__file__)", ""),
    ],
)
def test_data(text: str, expected: str) -> None:
    found = [one.name + "?" * one.computed for one in read(text) if one.kind == "data"]
    assert " ".join(sorted(found)) == expected


OLD = """
import os, sys
print "hello"
from a.b import (c,
    d)  # both
def f(x):
    import lazy
    return x
if x:
    import maybe
'''
import never
'''
from . import e
"""


def test_what_cannot_be_parsed_is_read_line_by_line() -> None:
    assert mentioned(OLD) == {
        "import os", "import sys", "import a.b", "member a.b.c", "member a.b.d", "attempt lazy later",
        "attempt maybe", "import .", "member .e",
    }  # fmt: skip


def test_lines() -> None:
    assert [(one.name, one.line) for one in read("import a\n\n\ndef f():\n    import b\nimport a\n")] == [
        ("a", 1),
        ("b", 5),
    ]


HOSTILE = [
    "(" * 100_000,
    "[" * 79 + "]" * 79,
    "(" * 79 + "x" + " for" * 10 + ")" * 79,
    "{" * 79,
    "-" * 1_000_000 + "1",
    "not " * 200_000 + "1",
    "a" + ".a" * 200_000,
    "a" + "()" * 200_000,
    "x = " + "+".join("1" * 100_000),
    "x = " + "\\\n+".join("1" * 100_000),
    "x = " + " if a else ".join("b" * 30_000),
    "lambda: " * 100_000,
    "import " + "a." * 100_000 + "a",
    "import_module(" + "+".join(["'a'"] * 20_000) + ")",
    "import_module(" + "\\\n+".join(["a"] * 5_000) + ")",
    "f'" + "{x}" * 100_000 + "'",
    "if a:\n" + "".join(" " * at + "if a:\n" for at in range(1, 90)) + " " * 90 + "pass",
    "if a: pass\n" + "elif a: pass\n" * 20_000,
    "def f():\n" + "".join(" " * at + "def f():\n" for at in range(1, 3000)),
    "x = [" + "1," * 200_000 + "]",
    "Path(__file__)" + ".parent" * 50_000,
    "a = '" + "x" * 400_000 + "'",
    "'''" * 100_001,
    "from a import (" + "b,\n" * 100_000,
    "if sys.platform == 'linux' and " * 5_000 + "x: pass",
    "import a\0b",
    "\ufeffimport a",
    "x = " + "9" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_source_ends_soon(text: str) -> None:
    begun = time.process_time()
    read(text)
    assert time.process_time() - begun < 10


PIECES = (
    "import ", "from ", "a", ".", "(", ")", "[", "{", "'", '"""', "\n", "    ", "def f():", "if x:", "=", "f'{",
    "__file__", "/", "+", "\\", "\0",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_anything_can_be_read(text: str) -> None:
    for one in read(text):
        assert one.line <= text.count("\n") + 1


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data: bytes) -> None:
    source.mentions(io.BytesIO(data))
