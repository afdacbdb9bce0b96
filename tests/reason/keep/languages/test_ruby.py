"""What Ruby's code in use names is kept: by the load path and the gems, case by case."""

from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Any

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec
from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.keep.languages.ruby.finder import underscored
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected

OWN, ARCH, SITE = "/usr/lib/ruby/3.1.0", "/usr/lib/x86_64-linux-gnu/ruby/3.1.0", "/usr/lib/ruby/vendor_ruby"
GEMS = "/var/lib/gems/3.1.0"
RUBY = {
    "/usr/bin/ruby3.1": "elf",
    f"{OWN}/set.rb": "text",
    f"{ARCH}/rbconfig.rb": "text",
    f"{ARCH}/etc.so": "elf",
    f"{SITE}/rubygems.rb": "text",
}
START = Exec("/usr/bin/ruby3.1", "", "/usr/bin/ruby3.1", 1, 0, argv=("ruby", "app.rb"))
CONFIG = {"WorkingDir": "/app"}


def seen_with(
    spec: Mapping[str, str], app: str, opened: Iterable[str], missed: Iterable[str] = (), config: Any = CONFIG
) -> Capture:
    spec = {**RUBY, "/app/app.rb": f"text {app}", **spec}
    uses = [read(path, pid=1) for path in ("/app/app.rb", *RUBY, *opened)]
    uses += [read(path, error=2, pid=1) for path in missed]
    return capture(spec, uses, [START], config)


def added(
    spec: Mapping[str, str], app: str = "", opened: Iterable[str] = (), missed: Iterable[str] = ()
) -> set[str]:
    """What is kept of `spec` beside what was opened, when Ruby runs /app/app.rb with this text."""
    seen = seen_with(spec, app, opened, missed)
    return {path for path in kept(seen) - kept(seen, Rules(keep=Keep.EXACT)) if path in spec}


def gem(name: str, *needs: str, version: str = "1.0", **files: str) -> dict[str, str]:
    """An installed gem with files of its lib by name (two underscores are a slash)."""
    text = f"# -*- encoding: utf-8 -*-\\n# stub: {name} {version} ruby lib\\n"
    text += "".join(f"s.add_runtime_dependency(%q<{need}>.freeze, [])\\n" for need in needs)
    found = {f"{GEMS}/specifications/{name}-{version}.gemspec": f"text {text}"}
    for file, code in files.items():
        found[f"{GEMS}/gems/{name}-{version}/lib/{file.replace('__', '/')}.rb"] = f"text {code}"
    return found


@pytest.mark.parametrize(
    ("why", "app", "spec", "expected"),
    [
        ("of Ruby's library", "require 'csv'", {f"{OWN}/csv.rb": "text"}, {f"{OWN}/csv.rb"}),
        ("in a route", "get('/') { require 'csv' }", {f"{OWN}/csv.rb": "text"}, {f"{OWN}/csv.rb"}),
        ("in a method", "def f\\n  require 'csv'", {f"{OWN}/csv.rb": "text"}, {f"{OWN}/csv.rb"}),
        ("an extension", "require 'x'", {f"{ARCH}/x.so": "elf"}, {f"{ARCH}/x.so"}),
        ("Ruby before an extension", "require 'x'", {f"{OWN}/x.rb": "text", f"{OWN}/x.so": "elf"},
         {f"{OWN}/x.rb"}),
        ("by its ending", "require 'x.so'", {f"{OWN}/x.rb": "text", f"{ARCH}/x.so": "elf"}, {f"{ARCH}/x.so"}),
        ("what is added before Ruby's own", "require 'x'", {f"{OWN}/x.rb": "text", f"{SITE}/x.rb": "text"},
         {f"{SITE}/x.rb"}),
        ("relative", "require_relative 'lib/x'", {"/app/lib/x.rb": "text"}, {"/app/lib/x.rb"}),
        ("of the working directory", "require './lib/x'", {"/app/lib/x.rb": "text"}, {"/app/lib/x.rb"}),
        ("load", "load 'x.rb'", {"/app/x.rb": "text"}, {"/app/x.rb"}),
        ("$LOAD_PATH", "$LOAD_PATH.unshift File.expand_path('lib', __dir__)\\nrequire 'x'",
         {"/app/lib/x.rb": "text"}, {"/app/lib/x.rb"}),
        ("computed below a directory", "require_relative \"p/#{x}\"",
         {"/app/p/a.rb": "text", "/app/p/b.txt": "text"},
         {"/app/p/a.rb"}),
        ("computed on the load path", "require \"p/#{x}\"", {f"{SITE}/p/a.rb": "text"}, {f"{SITE}/p/a.rb"}),
        ("data", "File.read(File.join(__dir__, 'x.txt'))", {"/app/x.txt": "text"}, {"/app/x.txt"}),
        ("a directory", "X = File.expand_path('data', __dir__)", {"/app/data/a/b.txt": "text"},
         {"/app/data/a/b.txt"}),
        ("its own directory", "X = File.join(__dir__, '..', 'app')", {"/app/data/a/b.txt": "text"}, set()),
        ("what is not there", "require 'x'; require_relative 'y'", {}, set()),
        ("the constant of an autoload", "autoload :A, 'a'\\nA.new", {f"{SITE}/a.rb": "text"}, {f"{SITE}/a.rb"}),
        ("an autoload that nothing names", "autoload :A, 'a'\\nB::A.new", {f"{SITE}/a.rb": "text"}, set()),
        ("an encoding", "x.encode('ISO-8859-15')",
         {f"{ARCH}/enc/iso_8859_15.so": "elf", f"{ARCH}/enc/trans/single_byte.so": "elf",
          f"{ARCH}/enc/trans/big5.so": "elf"},
         {f"{ARCH}/enc/iso_8859_15.so", f"{ARCH}/enc/trans/single_byte.so"}),
        ("an alias", "Encoding::CP1252", {f"{ARCH}/enc/windows_1252.so": "elf"},
         {f"{ARCH}/enc/windows_1252.so"}),
        ("what Ruby has built in", "x.encode('UTF-8')", {f"{ARCH}/enc/utf_16le.so": "elf"}, set()),
        ("a view", "erb :index", {f"{SITE}/tilt/erb.rb": "text", "/app/views/index.erb": "text"},
         {f"{SITE}/tilt/erb.rb", "/app/views/index.erb"}),
    ],
)  # fmt: skip
def test_an_application_names(why: str, app: str, spec: dict[str, str], expected: set[str]) -> None:
    assert added(spec, app) == expected


def test_rubys_own_library_is_followed_as_far_as_loading_it_goes() -> None:
    spec = {
        f"{OWN}/a.rb": "text require 'b'\\ndef f\\n  require 'c'\\nend",
        **{f"{OWN}/{name}.rb": "text" for name in "bc"},
    }
    assert added(spec, "require 'a'") == {f"{OWN}/a.rb", f"{OWN}/b.rb"}


def test_a_tool_of_developers_is_for_the_application_to_name() -> None:
    spec = {**gem("g", g="require 'objspace'"), f"{OWN}/objspace.rb": "text"}
    assert f"{OWN}/objspace.rb" not in added(spec, "require 'g'")
    assert f"{OWN}/objspace.rb" in added(spec, "require 'objspace'")


def test_a_command_line_was_read_at_the_start() -> None:
    spec = {
        **gem("g", g="autoload :Server, 'server'\\nServer", server="require 'optparse'"),
        f"{OWN}/optparse.rb": "text",
    }
    assert f"{OWN}/optparse.rb" in added(spec, "require 'optparse'")
    found = added(spec, "require 'g'")
    assert f"{OWN}/optparse.rb" not in found
    assert f"{GEMS}/gems/g-1.0/lib/server.rb" not in found  # it cannot be loaded without


def test_an_entrypoint_takes_another_command_line() -> None:
    spec = {**gem("g", g="require 'optparse'"), f"{OWN}/optparse.rb": "text"}
    config = {**CONFIG, "Entrypoint": ["ruby3.1", "app.rb"]}
    assert f"{OWN}/optparse.rb" in kept(seen_with(spec, "require 'g'", [], config=config))


def test_rubygems_itself_is_not_followed() -> None:
    spec = {
        f"{SITE}/rubygems/specification.rb": "text require 'rubygems/installer'",
        f"{SITE}/rubygems/installer.rb": "text",
    }
    assert added(spec, "", [f"{SITE}/rubygems/specification.rb"]) == set()


INSTALLED = {
    **gem("rack", "base", rack="autoload :Lint, 'rack/lint'\\ndef f\\n  require 'rack/late'"),
    **gem("rack", "base", rack__lint="", rack__late=""),
    **gem("base", base=""),
    **gem("other", other=""),
}  # fmt: skip
RACKS = {f"{GEMS}/specifications/{name}-1.0.gemspec" for name in ("rack", "base")}
RACK = f"{GEMS}/gems/rack-1.0/lib"


def test_a_gem_in_use_has_all_that_it_names_and_its_specifications() -> None:
    found = added(INSTALLED, "", [f"{RACK}/rack.rb"])
    # The specification of rack itself is kept for its package's sake anyway.
    assert found | RACKS == {*RACKS, f"{RACK}/rack/late.rb"}
    assert f"{GEMS}/specifications/base-1.0.gemspec" in found


def test_a_gem_that_is_required_is_activated() -> None:
    found = added(INSTALLED, "def f\\n  require 'rack'")
    assert found == {*RACKS, f"{RACK}/rack.rb", f"{RACK}/rack/late.rb"}


def test_a_gem_that_is_named_alone() -> None:
    assert added(INSTALLED, "gem 'rack'") == RACKS


def test_a_constant_that_another_file_names() -> None:
    spec = {**INSTALLED, "/app/views/x.erb": "text <%= Lint.new %>", f"{RACK}/rack/lint.rb": "text"}
    assert f"{RACK}/rack/lint.rb" in added(spec, "require 'rack'; erb :x")


def test_the_newest_version_of_a_gem() -> None:
    spec = {**INSTALLED, **gem("rack", version="1.10", rack=""), **gem("rack", version="1.9", rack="")}
    assert {path for path in added(spec, "require 'rack'") if path.endswith("rack.rb")} == {
        f"{GEMS}/gems/rack-1.10/lib/rack.rb"
    }


def test_what_bundler_requires() -> None:
    lock = "GEM\\n  specs:\\n    base (1.0)\\n    rack (1.0)\\n      base\\n\\nPLATFORMS\\n  ruby\\n"
    found = added({**INSTALLED, "/app/Gemfile.lock": f"text {lock}"}, "Bundler.require(:default)")
    assert {*RACKS, f"{RACK}/rack.rb", f"{GEMS}/gems/base-1.0/lib/base.rb"} <= found
    assert not any("other" in path for path in found)


def test_a_gems_compiled_extensions() -> None:
    place = f"{GEMS}/extensions/x86_64-linux/3.1.0/rack-1.0"
    spec = {**INSTALLED, f"{place}/rack_ext.so": "elf", f"{place}/gem.build_complete": "text"}
    found = added(spec, "require 'rack'; require 'rack_ext'")
    assert {f"{place}/rack_ext.so", f"{place}/gem.build_complete"} <= found


def test_a_gem_beside_what_comes_with_ruby() -> None:
    spec = {f"{OWN}/csv.rb": "text", **gem("csv", csv="")}
    assert added(spec, "require 'csv'") == set(spec)


def test_a_directory_that_was_searched_is_on_the_load_path() -> None:
    spec = {"/opt/lib/x.rb": "text", f"{SITE}/late.rb": "text"}
    missed = ["/opt/lib/set.rb"]
    assert added(spec, "require 'x'", missed=missed) == {"/opt/lib/x.rb"}
    assert added(spec, "require 'x'") == set()


def test_the_order_of_files_does_not_matter() -> None:
    """An autoload and the constant that it waits for may be met in either order."""
    for names in permutations("abc"):
        one, two, three = (f"/app/{name}.rb" for name in names)
        spec = {
            one: "text module M\\n  autoload :X, 'x'\\nend",
            two: "text M::X.new",
            three: "text",
            f"{SITE}/x.rb": "text",
        }
        assert added(spec, "", [one, two, three]) == {f"{SITE}/x.rb"}


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("require name", ["/app/app.rb:1 requires a feature that only a run would tell: name"]),
        ("x\\nrequire x + 'y'\\nrequire z",
         ["/app/app.rb:2 requires a feature that only a run would tell: x + y"]),
        ("require \"p/#{name}\"", []),
        ("Dir['./p/*.rb'].each { |f| require f }", []),
        ("require 'missing'", []),
    ],
)  # fmt: skip
def test_doubts(app: str, expected: list[str]) -> None:
    spec = {f"{SITE}/third.rb": "text require name", f"{OWN}/set.rb": "text require name"}
    seen = seen_with(spec, app, [f"{SITE}/third.rb"])
    assert [doubt.text for doubt in selected(seen).doubts] == expected


def test_without_ruby_nothing_is_read() -> None:
    spec = {"/usr/bin/other": "elf", "/app/app.rb": "text require_relative 'a'", "/app/a.rb": "text"}
    seen = capture(spec, [read("/app/app.rb")], [Exec("/usr/bin/other", "", "/usr/bin/other", 1, 0)], CONFIG)
    assert "/app/a.rb" not in kept(seen)


def test_the_reason_is_the_line() -> None:
    seen = seen_with({"/app/a.rb": "text"}, "\\nrequire_relative 'a'", [])
    assert selected(seen).kept["/app/a.rb"] == (Reason(Why.IMPORTED, "/app/app.rb:2"),)


@pytest.mark.parametrize(
    ("constant", "file"),
    [("Foo", "foo"), ("ActiveRecord", "active_record"), ("HTTPServer", "http_server"), ("A1b", "a1b")],
)
def test_underscored(constant: str, file: str) -> None:
    assert underscored(constant) == file


@pytest.mark.parametrize(
    "text", ["", "# stub: a", "# stub: a b c lib", "s.add_runtime_dependency(%q<rack>)" * 1000, "%q<" * 9999]
)
def test_any_specification_is_taken(text: str) -> None:
    spec = {
        f"{GEMS}/specifications/rack-1.0.gemspec": f"text {text}",
        f"{GEMS}/gems/rack-1.0/lib/rack.rb": "text",
    }
    assert f"{GEMS}/gems/rack-1.0/lib/rack.rb" in added(spec, "require 'rack'")
