"""Web applications that load most of their code on demand: paths that no probe requested work in the slim
image, because the code names the files; and these files are kept for no other reason."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from builds import Build
from containers import Page, address, eventually, page, running

from slimtrace import store
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.rules import Keep, Rules


@dataclass(frozen=True)
class Sample:
    """The URL paths of an image's application that the default exercise does not request, and some of the files
    that only these need."""

    port: int
    untouched: tuple[str, ...]
    needs: tuple[str, ...]


RUBY = "/usr/lib/ruby/3.1.0"

SAMPLES = {
    "node-lazy": Sample(
        3000,
        ("/builtin", "/local", "/package", "/module", "/word/a", "/word/b", "/static/hello.txt", "/latin"),
        (
            "/app/lib/late.js",
            "/app/lib/table.json",
            "/app/lib/module.mjs",
            "/app/lib/words/b.json",
            "/app/public/hello.txt",
            "/app/node_modules/greeter/dist/polite.node.js",
            "/app/node_modules/greeter/dist/words.js",
            "/app/node_modules/greeter/dist/greeter.mjs",
            "/app/node_modules/iconv-lite/encodings/tables/shiftjis.json",
        ),
    ),
    "ruby-lazy": Sample(
        4567,
        (
            *("/autoload", "/library", "/extension", "/relative"),
            *("/plugin/one", "/view", "/data", "/encoding"),
        ),
        (
            "/usr/src/app/lib/shop/cart.rb",
            "/usr/src/app/lib/shop/price.rb",
            "/usr/src/app/lib/late.rb",
            "/usr/src/app/plugins/one.rb",
            "/usr/src/app/views/page.erb",
            "/usr/src/app/data/words.txt",
            "/usr/lib/ruby/vendor_ruby/tilt/erb.rb",
            f"{RUBY}/csv.rb",
            f"{RUBY}/csv/parser.rb",
            "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/bigdecimal.so",
            "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/enc/trans/single_byte.so",
        ),
    ),
    "php": Sample(
        80,
        ("/late.php", "/classes.php", "/page.php", "/lib/words.txt"),
        (
            "/var/www/html/late.php",
            "/var/www/html/lib/words.php",
            "/var/www/html/lib/more.php",
            "/var/www/html/lib/words.txt",
            "/var/www/html/templates/plain.php",
            "/var/www/html/vendor/acme/src/helper.php",
            "/var/www/html/vendor/acme/src/Shapes/Circle.php",
            "/var/www/html/vendor/acme/src/Shapes/Shape.php",
        ),
    ),
}


@pytest.fixture(scope="module", params=SAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sample(name: str, built: Callable[[str], Build]) -> Build:
    done = built(name)
    assert done.completed.returncode == 0, done.completed.stderr
    return done


def answers(image: str, port: int, untouched: tuple[str, ...]) -> dict[str, Page | None]:
    """The answer of a container of the image to each path."""
    with running(image) as container:
        host = address(container)
        eventually(lambda: page(host, port), f"an answer of {image}")
        return {path: page(host, port, path) for path in untouched}


def test_what_no_probe_touched_works(sample: Build, name: str) -> None:
    wanted = SAMPLES[name]
    fat = answers(sample.fat, wanted.port, wanted.untouched)
    assert {path: said and said.status for path, said in fat.items()} == dict.fromkeys(wanted.untouched, 200)
    assert answers(sample.slim, wanted.port, wanted.untouched) == fat


def test_nothing_is_doubtful(sample: Build) -> None:
    assert sample.report["doubts"] == []


def test_what_no_code_names_is_not_kept(built: Callable[[str], Build]) -> None:
    assert "/app/node_modules/greeter/dist/polite.browser.js" not in built("node-lazy").kept
    assert "/usr/src/app/lib/shop/receipt.rb" not in built("ruby-lazy").kept
    assert "/var/www/html/vendor/acme/src/Shapes/Unused.php" not in built("php").kept


def test_it_is_kept_for_what_the_code_names_alone(sample: Build, name: str) -> None:
    needs = set(SAMPLES[name].needs)
    capture = store.load(sample.artifacts / "capture")
    assert needs <= set(graph_builder.build_graph(capture).paths())
    assert needs.isdisjoint(graph_builder.build_graph(capture, Rules(keep=Keep.EXACT)).paths())
