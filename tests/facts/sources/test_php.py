"""What PHP files name: includes, classes by their full names, text that is not code, and hostile texts."""

import io
import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.sources import MAX_MENTIONS
from slimtrace.facts.sources.php.source import mentions


def named(text: str) -> list[str]:
    """Each mention as a string; a computed one ends in a question mark."""
    found = mentions(io.BytesIO(text.encode("utf-8", "surrogateescape")))
    return [f"{mention.kind} {mention.name}{' ?' * mention.computed}" for mention in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("include 'a.php';", ["include a.php"]),
        ('require_once("a.php"); INCLUDE_ONCE "b.php";', ["include a.php", "include b.php"]),
        ("$x = (include 'a.php') && 1;", ["include a.php"]),
        ("foreach (require 'a.php' as $x) {}", ["include a.php"]),
        ("include __DIR__ . '/a.php';", ["path a.php"]),
        ("include dirname(__FILE__) . '/a.php';", ["path a.php"]),
        ("include dirname(__DIR__) . '/a.php';", ["path ../a.php"]),
        ("include dirname(__FILE__, 3) . '/a.php';", ["path ../../a.php"]),
        ("include realpath(__DIR__ . '/..') . DIRECTORY_SEPARATOR . 'a.php';", ["path ../a.php"]),
        ("$this->include('a'); Foo::require('b'); function include() {}", ["class Foo"]),
        # computed
        ("include $file;", ["include include $file ?"]),
        ("include 't/' . $x . '.php';", ["include include 't/' . $x . '.php' ?", "among t/"]),
        ('include "t/{$x}.php";', ['include include "t/{$x}.php" ?', "among t/"]),
        ("include __DIR__ . '/t/' . $x;", ["include include __DIR__ . '/t/' . $x ?", "path t/"]),
        # files
        ("$x = __DIR__ . '/data';", ["path data"]),
        ("glob(__DIR__ . '/conf/*.php');", ["path conf/"]),
        ("file_get_contents('a.json');", ["file a.json"]),
        ("set_include_path(get_include_path() . PATH_SEPARATOR . __DIR__ . '/lib');",
         ["include_path lib", "path lib"]),
        # classes
        ("new A; B::c(); x(C::class);", ["class A", "class B", "class C"]),
        ("namespace N; class A extends B implements \\C {}", ["class N\\B", "class C"]),
        ("namespace N; use X\\A, Y\\B as C; new A; new C; new D;",
         ["class X\\A", "class Y\\B", "class N\\D"]),
        ("use X\\{A, Y\\B as C}; new C\\D;", ["class X\\A", "class X\\Y\\B", "class X\\Y\\B\\D"]),
        ("namespace N; class A { use T; } new T;", ["class N\\T"]),
        ("new namespace\\A;", ["class A"]),
        ("$x = ['App\\\\Providers\\\\A'];", ["class App\\Providers\\A"]),
        ("E_ALL; PHP_VERSION; define('X', 1); strlen(1);", []),
        ("new PDO; JSON::encode();", ["class PDO", "class JSON"]),
        # text that is not code
        ("// include 'a';\n# include 'b';\n/* include 'c'; */ include 'd';", ["include d"]),
        ("'include \"a\"'; \"include 'b' $x\";", []),
        ("$x = <<<EOT\ninclude 'a';\n  EOT;\ninclude 'b';", ["include b"]),
        ("$x = <<<'EOT'\ninclude 'a';\nEOT;\ninclude 'b';", ["include b"]),
        ("'it\\'s'; include 'b';", ["include b"]),
        ("?> include 'a'; <?= include 'b' ?> include 'c';", ["include b"]),
        ("// ends here ?> text <?php include 'b';", ["include b"]),
        ("#[Attribute]\ninclude 'b';", ["class Attribute", "include b"]),
    ],
)  # fmt: skip
def test_mentions(text: str, expected: list[str]) -> None:
    assert named(f"<html>include 'no';<?php {text}") == expected


def test_text_without_tags_names_nothing() -> None:
    assert named("include 'a'; <?xml include 'b'; ?>") == []


def test_mentions_have_lines() -> None:
    found = mentions(io.BytesIO(b"<p>\n<?php\n\ninclude\n'a';\nrequire 'b';"))
    assert [(mention.name, mention.line) for mention in found] == [("a", 4), ("b", 6)]


SIZE = 1 << 17


@pytest.mark.parametrize(
    "piece",
    [
        "require(", "dirname(", 'require "\\"', "<<<A\n", "<<<A\nA;", "use A\\{B,", "use A;", "new Abc;", "A\\",
        "/*", "//", 'include "a".', '"$a', "<?php ?>", "include $x.", "`", "{", "'\\", "namespace A;", "$",
        "#[",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_alone(piece: str) -> None:
    text = "<?php " + piece * (SIZE // len(piece))
    begun = time.process_time()
    found = mentions(io.BytesIO(text.encode()))
    assert time.process_time() - begun < 20
    assert len(found) <= MAX_MENTIONS + 1000


def test_a_class_has_no_endless_name() -> None:
    text = "<?php namespace " + "A\\" * SIZE + "B; new C; new " + "\\D" * SIZE + ";"
    assert max(len(mention.name) for mention in mentions(io.BytesIO(text.encode()))) < 1000


PIECES = st.sampled_from([
    "include ", "require(", "'", '"', "$x", "{", "}", "(", ")", ";", "\n", ".", "__DIR__", "dirname(", ",",
    "\\", "A", "use ", "namespace ", "as ", "new ", "<<<A\n", "/*", "*/", "//", "?>", "<?php ", "::", "class ",
    "é", "\0",
])  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
@settings(max_examples=examples(300), deadline=None)
def test_any_text_is_read(text: str) -> None:
    whole = "<?php " + text
    for mention in mentions(io.BytesIO(whole.encode())):
        assert mention.name
        assert 1 <= mention.line <= whole.count("\n") + 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    mentions(io.BytesIO(b"<?php include " + data))
