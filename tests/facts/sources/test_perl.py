"""What a Perl source names."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.sources import perl


def mentioned(text: str) -> set[str]:
    """The mentions but for lines: "kind name", with "later" for lazy and "?" for computed ones."""
    found = perl.mentions(io.BytesIO(text.encode("utf-8", "surrogatepass")))
    return {
        f"{one.kind} {one.name}" + (" later" if one.lazy else "") + (" ?" if one.computed else "")
        for one in found
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use strict; use A::B qw(c d);", {"import strict", "import A::B"}),
        ("use 5.010; use v5.36;", set()),
        ("no warnings;", {"import warnings"}),
        ("use A'B;", {"import A::B"}),
        ("require A::B;", {"import A::B"}),
        ("sub f {\n    require A;\n}", {"import A later"}),
        ("eval { require A };", {"attempt A"}),
        ("eval 'use A; 1';", {"attempt A"}),
        ('require "a/b.pl";', {"file a/b.pl"}),
        ('require "A/B.pm";', {"import A::B"}),
        ("do './config.pl';", {"file ./config.pl"}),
        ("require $file;", {"import $file ?"}),
        ('    eval "require $class";', {'import $class" later ?'.replace("import", "attempt")}),
        ("use parent qw(A B::C);", {"import parent", "import A", "import B::C"}),
        ("use parent -norequire, 'A';", {"import parent"}),
        ("use base 'A';", {"import base", "import A"}),
        ("use parent\n    'A',\n    'B';", {"import parent", "import A", "import B"}),
        ("use if $] < 5.01, 'A' => 1;", {"import if", "attempt A"}),
        ("use autouse 'A' => qw(f);", {"import autouse", "import A later"}),
        ("use lib '/a'; use lib \"$FindBin::Bin/../lib\";", {"import lib", "lib /a", "lib @/../lib"}),
        ("use lib qw(a b);", {"import lib", "lib a", "lib b"}),
        ("open $f, '<:encoding(UTF-16)', $x;", {"codec UTF-16", "implied PerlIO::encoding", "implied Encode"}),
        ("open my $f, '<', \\$text;", {"implied PerlIO::scalar"}),
        ("$x = encode('shiftjis', $y);", {"codec shiftjis"}),
        ("/\\p{Greek}/; \"\\N{SNOWMAN}\"", {"unicode Greek", "unicode N"}),
        ("# use A;\n=pod\n\nuse B;\n\n=cut\nuse C;\n__END__\nuse D;", {"import C"}),
        ("print <<\"E\";\nuse A;\nE\nuse B;", {"import B"}),
        ("$h{require}; $o->require(X); &do('x');", set()),
    ],
)  # fmt: skip
def test_mentions(text: str, expected: set[str]) -> None:
    assert mentioned(text) == expected


HOSTILE = [
    "use " * 200_000,
    "use A " + "'a', " * 200_000,
    "use parent\n" * 100_000,
    "<<A" * 100_000,
    "require(" * 100_000,
    "require '" * 100_000,
    "qw(" * 200_000,
    "use lib " + '"' * 100_001,
    "::" * 400_000,
    "=pod\n" * 100_000,
    "\\p{" * 200_000,
    "use a" + "::a" * 200_000,
    "open " * 200_000,
    " #" * 400_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_source_ends_soon(text: str) -> None:
    begun = time.process_time()
    mentioned(text)
    mentioned("\n".join(text[at : at + 4000] for at in range(0, len(text), 4000)))
    assert time.process_time() - begun < 10


@given(st.text(alphabet="use rqAB:;'\"(){}$<>\\#=\n \tp", max_size=300))
def test_anything_can_be_read(text: str) -> None:
    mentioned(text)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data: bytes) -> None:
    perl.mentions(io.BytesIO(data))
