"""What Ruby files name: each form of naming, text that is not code, and hostile texts."""

import io
import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS
from slimtrace.facts.sources.ruby.source import mentions


def read(text: str) -> tuple[Mention, ...]:
    return mentions(io.BytesIO(text.encode("utf-8", "surrogateescape")))


def named(text: str, *kinds: str) -> list[str]:
    """Each mention but constants as a string; a computed one ends in a question mark."""
    return [
        f"{mention.kind} {mention.name}{' ?' * mention.computed}"
        for mention in read(text)
        if mention.kind != "constant"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('require "a"', ["require a"]),
        ("require('a'); require 'b' if x", ["require a", "require b"]),
        ("begin require 'a' rescue LoadError end", ["require a"]),
        ("Kernel.require 'a'", ["require a"]),
        ("params.require(:user)", []),
        ("def require(x)", []),
        ("require_relative 'a/b'", ["require_relative a/b"]),
        ("require File.expand_path('../a', __FILE__)", ["require_relative a"]),
        ("require File.expand_path('a', __dir__)", ["require_relative a"]),
        ("require File.join(File.dirname(__FILE__), 'a', 'b')", ["require_relative a/b"]),
        ('require "#{__dir__}/a"', ["require_relative a"]),
        ('require __dir__ + "/a"', ["require_relative a"]),
        ("load 'a.rb'", ["load a.rb"]),
        ("YAML.load('a'); load config", []),
        ("pp x; pp = 1; f(pp, 2); x.pp", ["require pp"]),
        ("gem 'rack', '~> 2'", ["gem rack"]),
        ("Bundler.require(:default)", ["bundler require"]),
        ("Zeitwerk::Loader.for_gem", ["zeitwerk for_gem"]),
        # computed
        ("require name", ["require name ?"]),
        ('require "a/#{name}"', ["require a/#{name} ?", "among a/"]),
        ('require_relative "a/#{name}"', ["require_relative a/#{name} ?", "among ./a/"]),
        ('require File.join(__dir__, "a", x)', ["require File . join ( __dir__ , a , x ) ?", "among ./a/"]),
        ("Dir[File.join(__dir__, 'a', '*.rb')].each { |f| require f }", ["path a/"]),
        ("Dir.glob('./a/**/*.rb').each do |f|\n  require f\nend", ["cwd ./a/"]),
        # constants
        ("autoload :A, 'x/a'", ["autoload A x/a"]),
        ("module M\n  class N\n    autoload(:A, 'a')\n  end\n  autoload :B, 'b'",
         ["autoload M::N::A a", "autoload M::B b"]),
        ("autoload :A, File.expand_path('a', __dir__)", ["autoload A ./a", "path a"]),
        ("autoload :ActiveThing", ["autoload ActiveThing"]),
        # files
        ("DATA = File.expand_path('../../data/x', __FILE__)", ["path ../data/x"]),
        ("File.read(File.join(__dir__, 'x.txt'))", ["path x.txt"]),
        ("File.read('x.txt'); YAML.load_file('c.yml')", ["cwd x.txt", "cwd c.yml"]),
        ("$LOAD_PATH.unshift File.expand_path('../lib', __FILE__)", ["load_path lib"]),
        ("$:.unshift(__dir__)", ["load_path ."]),
        ("get('/') { erb :index }", ["view erb"]),
        ("def erb(template) = x", []),
        # encodings
        ("# coding: euc-jp", ["encoding euc-jp"]),
        ("s.encode('Shift_JIS', 'UTF-8')", ["encoding Shift_JIS", "encoding UTF-8"]),
        ("s.force_encoding Encoding::EUC_JP", ["encoding EUC_JP"]),
        # text that is not code
        ("# require 'a'\nx = 1 # require 'b'", []),
        ("=begin\nrequire 'a'\n=end\nrequire 'b'", ["require b"]),
        ("__END__\nrequire 'a'", []),
        ("x = <<~EOS\n  require 'a'\nEOS\nrequire 'b'", ["require b"]),
        ("x = <<-'eos'\n  require 'a'\n  eos\nrequire 'b'", ["require b"]),
        ("list <<CONST\nrequire 'b'", ["require b"]),
        ("'require \"a\"'", []),
    ],
)  # fmt: skip
def test_mentions(text: str, expected: list[str]) -> None:
    assert named(text) == expected


def test_what_stands_in_a_method_is_lazy() -> None:
    text = """
require 'a'
def f
  require 'b'

  require 'c'
end
require 'd'
def g() = require('e')
require 'f'
"""
    assert {m.name: m.lazy for m in read(text)} == {
        "a": False, "b": True, "c": True, "d": False, "e": False, "f": False,
    }  # fmt: skip


def test_constants_come_with_the_class_or_module_around_them() -> None:
    text = "module A\n  class B < C::D\n    E\n  end\n  # F\nend\nG.new if H::I\nautoload :J, 'j'\n"
    assert {m.name for m in read(text) if m.kind == "constant"} == {"A C::D", "A::B E", " G", " H::I"}


SIZE = 1 << 17


@pytest.mark.parametrize("breaks", [0, 3000])
@pytest.mark.parametrize(
    "piece",
    [
        "require(", "File.join(", "File.join(a,", 'require "\\"', "A::", "<<A ", "#", 'require "a"+', "'",
        "Dir[", "autoload :", "module A\n", "def x\n  ", "=begin\n", "$:", "encode(",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_alone(piece: str, breaks: int) -> None:
    text = piece * (SIZE // len(piece))
    if breaks:
        text = "\n".join(text[at : at + breaks] for at in range(0, len(text), breaks))
    begun = time.process_time()
    found = read(text)
    assert time.process_time() - begun < 20
    assert len(found) <= MAX_MENTIONS + 3000


def test_nested_scopes_do_not_grow_without_bounds() -> None:
    text = "".join(f"{' ' * depth}class A{'b' * 100}\n{' ' * depth} X{depth}\n" for depth in range(1000))
    assert max(len(mention.name) for mention in read(text)) < 5000


PIECES = st.sampled_from([
    "require ", "require_relative ", "autoload :A, ", "'", '"', "#{", "}", "(", ")", "\n", "  ", "\\",
    "__dir__", "File.join(", ",", "a", ".", "[", "]", "<<~A", "A", "=begin", "=end", "def f", "end",
    "class B", "::", "#", "__FILE__", "+", "é", "\0", "Dir[", "*",
])  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
@settings(max_examples=examples(300), deadline=None)
def test_any_text_is_read(text: str) -> None:
    for mention in read(text):
        assert mention.name
        assert 1 <= mention.line <= text.count("\n") + 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    mentions(io.BytesIO(b"require '" + data))
