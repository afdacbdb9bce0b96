"""What JavaScript files name: the language's lexical traps, each form of naming, and hostile texts."""

import io
import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.sources import MAX_MENTIONS
from slimtrace.facts.sources.javascript.source import mentions


def named(text: str) -> list[str]:
    """Each mention as a string; a computed one ends in a question mark."""
    found = mentions(io.BytesIO(text.encode("utf-8", "surrogateescape")))
    return [f"{mention.kind} {mention.name}{' ?' * mention.computed}" for mention in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # CommonJS
        ("const a = require('a')", ["require a"]),
        ('require("./b.js").c()', ["require ./b.js"]),
        ("require(`c`)", ["require c"]),
        ("require.resolve('d/package.json')", ["require d/package.json"]),
        ("module.require('e')", ["require e"]),
        ("require(/* why */ 'f')", ["require f"]),
        ("require('a' + '/b')", ["require a/b"]),
        (r'require("c\u0061p\x2fx")', ["require cap/x"]),
        ("function f() { return require('lazy') }", ["require lazy"]),
        ("parser.require('x')", []),
        ("function require(x) {}", []),
        ("typeof require === 'function'", []),
        # ECMAScript modules
        ("import a from 'a'", ["import a"]),
        ("import 'a'; import * as b from \"b\"", ["import a", "import b"]),
        ("import d, { a as b,\n c } from './x.mjs'", ["import ./x.mjs"]),
        ("export * from 'a'; export { b } from 'b'", ["import a", "import b"]),
        ("export const from = 'a'; export default 'b'", []),
        ("const a = await import('a')", ["import a"]),
        ("import.meta.resolve('a')", ["import a"]),
        ("Array.from('abc'); x.import('y')", []),
        # computed
        ("require(name)", ["require name ?"]),
        ("import(a.b)", ["import a.b ?"]),
        ("require('./lib/' + name)", ["require './lib/' + name ?", "among ./lib/"]),
        ("require(`./lib/${name}.js`)", ["require `./lib/${name}.js` ?", "among ./lib/"]),
        ("require('pkg/locale/' + x)", ["require 'pkg/locale/' + x ?", "among pkg/locale/"]),
        ("require(path.join(__dirname, 'm', f))", ["require path.join(__dirname, 'm', f) ?", "among ./m/"]),
        ("require('x-' + name)", ["require 'x-' + name ?"]),
        ("require(a ? 'b' : 'c')", ["require a ? 'b' : 'c' ?"]),
        # files
        ("require(path.join(__dirname, 'a'))", ["require ./a"]),
        ("path.join(__dirname, 'a', '..', 'b')", ["path a/../b"]),
        ("path.resolve(__dirname, `a`)", ["path a"]),
        ("join(__dirname, 'a')", ["path a"]),
        ("fs.readFileSync(__dirname + '/a.txt')", ["path a.txt"]),
        ("fs.readFileSync(`${__dirname}/a.txt`, 'utf8')", ["path a.txt"]),
        ("path.join(__dirname, 'views', name)", ["path views/"]),
        ("path.join(__dirname, '..')", []),
        ("new URL('./a.js', import.meta.url)", ["path ./a.js"]),
        ("fileURLToPath(new URL('a.txt', import.meta.url))", ["path a.txt"]),
        ("new URL('/x', base)", []),
        ("new Worker('./w.js')", ["cwd ./w.js"]),
        ("new Worker(new URL('w.js', import.meta.url))", ["path w.js"]),
        ("express.static('public')", ["cwd public"]),
        ("path.resolve('a'); path.join(process.cwd(), 'b')", ["cwd a", "cwd b"]),
        ("fs.readFile('a.json', done)", ["cwd a.json"]),
        ("app.set('views', 'tpl')", ["cwd tpl"]),
        ("app.set('view engine', 'pug')", ["require pug", "cwd views"]),
        ("[1].join(','); Promise.resolve('x'); new Map().set('a', 'b')", []),
        # text that is not code
        ("// require('a')\nrequire('b')", ["require b"]),
        ("/* require('a') */ require('b')", ["require b"]),
        ("#!/usr/bin/env node require('a')\nrequire('b')", ["require b"]),
        ("'require(\"a\")'; \"it's require('b')\"", []),
        ("`require('a') ${require('b')} require('c') ${`${require('d')}`}`", ["require b", "require d"]),
        (r"'\'require(\''; require('b')", ["require b"]),
        ("'continued \\\n require(1)'; require('b')", ["require b"]),
        ("/require('a')/; /[/'\"]/.test(x); require('b')", ["require b"]),
        ("a = b / require('c') / 2", ["require c"]),
        ("if (x) /'/.test(y); require('b')", ["require b"]),
        ("f(x) / 2; '/'; require('b')", ["require b"]),
        ("x = {} / 1; y = a[0] / 2; require('b') // '", ["require b"]),
        ("() => {}\n/'/.exec(x); require('b')", ["require b"]),
        ("x++ / 2; require('b') /* ' */", ["require b"]),
        ("return /'/; require('b')", ["require b"]),
        ("`${a}` / 2; require('b') // `", ["require b"]),
    ],
)
def test_mentions(text: str, expected: list[str]) -> None:
    assert named(text) == expected


def test_mentions_have_lines() -> None:
    found = mentions(io.BytesIO(b"\n'a'\n/*\n*/ require(\n'b')\r\nimport 'c'"))
    assert [(mention.name, mention.line) for mention in found] == [("b", 4), ("c", 6)]


def test_a_name_may_be_no_utf_8() -> None:
    assert [mention.name for mention in mentions(io.BytesIO(b"require('\xff')"))] == ["\udcff"]


SIZE = 1 << 15


@pytest.mark.parametrize(
    "piece",
    [
        "require(", "require('", "require(`${", "import{", "import a from", "__dirname+", "join(/[ ", "join(",
        'require("\\"', "/*", "`${", "/[", "'\\", "{(", "})", "a/", "path.join(__dirname,", "require('x');",
        "\\", "#", "`", "new URL(", "import(x", "export",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_alone(piece: str) -> None:
    text = (piece * (SIZE // len(piece)) + "require").encode()
    begun = time.process_time()
    found = mentions(io.BytesIO(text))
    assert time.process_time() - begun < 20  # what grows faster takes minutes
    assert len(found) <= MAX_MENTIONS


PIECES = st.sampled_from([
    "require(", "import ", "from", "'", '"', "`", "${", "}", "{", "(", ")", "/", "*", "//", "/*", "*/", "\n",
    "\\", "__dirname", "+", "path.join(", ",", "a", ".", "[", "]", "new URL(", "import.meta.url", "=", "return",
    "\u2028", "é", "\0",
])  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
@settings(max_examples=examples(300), deadline=None)
def test_any_text_is_read(text: str) -> None:
    for mention in mentions(io.BytesIO(text.encode())):
        assert mention.name
        assert 1 <= mention.line <= text.count("\n") + 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    mentions(io.BytesIO(b"require(" + data))
