"""What PHP's code in use and its configuration name is kept, case by case."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, FileUse, Use
from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.keep.languages.composer import Autoloader
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected, tree_and_answers

PHP = {"/usr/bin/php8.2": "elf"}
START = Exec("/usr/bin/php8.2", "", "/usr/bin/php8.2", 1, 0, argv=("php", "/srv/app/index.php"))
CONFIG = {"WorkingDir": "/srv"}
SITE = {
    "/etc/apache2/site.conf": "text <VirtualHost *>\\n  DocumentRoot /var/www/html\\n</VirtualHost>",
    "/var/www/html/index.php": "text <?php echo 1;",
}
APACHE = Exec("/usr/sbin/apache2", "", "/usr/sbin/apache2", 1, 0)
MODULE = FileUse(Use.MAP, "", resolved="/usr/lib/apache2/modules/libphp8.2.so")


def command(spec: Mapping[str, str], main: str, opened: Iterable[str] = ()) -> Capture:
    """PHP runs /srv/app/index.php with this text, from /srv."""
    spec = {**PHP, "/srv/app/index.php": f"text <?php {main}", **spec}
    return capture(spec, [read(path, pid=1) for path in ("/srv/app/index.php", *opened)], [START], CONFIG)


def served(spec: Mapping[str, str], opened: Iterable[str] = ()) -> Capture:
    """Apache with PHP inside has answered a request for /."""
    spec = {**SITE, MODULE.resolved: "elf", "/usr/sbin/apache2": "elf", **spec}
    return capture(spec, [MODULE, *(read(path, pid=1) for path in (*SITE, *opened))], [APACHE])


def added(seen: Capture) -> set[str]:
    """The files that are kept beside what was opened."""
    new = kept(seen) - kept(seen, Rules(keep=Keep.EXACT))
    return {path for path in new if seen.tree[path].kind != "dir"}


@pytest.mark.parametrize(
    ("why", "main", "spec", "expected"),
    [
        ("beside the script", "include 'a.php';", {"/srv/app/a.php": "text"}, {"/srv/app/a.php"}),
        ("of the working directory", "include 'lib/a.php';", {"/srv/lib/a.php": "text"}, {"/srv/lib/a.php"}),
        ("of the include path", "include 'PEAR.php';", {"/usr/share/php/PEAR.php": "text"},
         {"/usr/share/php/PEAR.php"}),
        ("__DIR__", "require __DIR__ . '/a.php';", {"/srv/app/a.php": "text", "/srv/a.php": "text"},
         {"/srv/app/a.php"}),
        ("above", "require dirname(__DIR__) . '/a.php';", {"/srv/a.php": "text"}, {"/srv/a.php"}),
        ("absolute", "require '/opt/a.php';", {"/opt/a.php": "text"}, {"/opt/a.php"}),
        ("what is not there", "include 'a.php'; include __DIR__ . '/b.php';", {}, set()),
        ("set_include_path", "set_include_path(__DIR__ . '/lib'); include 'a.php';",
         {"/srv/app/lib/a.php": "text"},
         {"/srv/app/lib/a.php"}),
        ("computed in a directory", "include __DIR__ . '/p/' . $x;", {"/srv/app/p/a.php": "text"},
         {"/srv/app/p/a.php"}),
        ("a directory", "new Loader(__DIR__ . '/../tpl');", {"/srv/tpl/x/a.twig": "text"},
         {"/srv/tpl/x/a.twig"}),
        ("data", "file_get_contents(__DIR__ . '/a.json');", {"/srv/app/a.json": "text"}, {"/srv/app/a.json"}),
        ("transitively", "include 'a.php';",
         {"/srv/app/a.php": "text <?php include 'b.php';", "/srv/app/b.php": "text"},
         {"/srv/app/a.php", "/srv/app/b.php"}),
    ],
)  # fmt: skip
def test_a_script_names(why: str, main: str, spec: dict[str, str], expected: set[str]) -> None:
    assert added(command({"/srv/app/other.php": "text", **spec}, main)) == expected


def test_a_document_root_is_the_applications() -> None:
    spec = {
        "/var/www/html/late.php": "text <?php include '../lib/a.php';",
        "/var/www/html/css/a.css": "text",
        "/var/www/lib/a.php": "text",
        "/var/www/html/vendor/x/y.php": "text",
        "/var/www/other/z.php": "text",
    }
    assert added(served(spec)) == {
        "/var/www/html/late.php",
        "/var/www/html/css/a.css",
        "/var/www/lib/a.php",
    }


@pytest.mark.parametrize(
    ("config", "root"),
    [
        ("DocumentRoot /srv/www", "/srv/www"),
        ('  DocumentRoot "/srv/www"', "/srv/www"),
        ("    root /srv/www;", "/srv/www"),
        ("Alias /x /srv/www", "/srv/www"),
    ],
)
def test_what_is_a_document_root(config: str, root: str) -> None:
    spec = {f"{root}/a.php": "text", f"{root}/b.php": "text", "/etc/x.conf": f"text a\\n{config}\\nb"}
    assert f"{root}/b.php" in added(served(spec, [f"{root}/a.php", "/etc/x.conf"]))


INI = "/etc/php/8.2/apache2/conf.d/20-x.ini"
PLACE = "/usr/lib/php/20220829"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extension=dom", {f"{PLACE}/dom.so"}),
        ("; comment\\nextension = dom.so", {f"{PLACE}/dom.so"}),
        ('zend_extension="opcache"', {f"{PLACE}/opcache.so"}),
        (f"extension={PLACE}/dom.so", {f"{PLACE}/dom.so"}),
        (";extension=dom", set()),
        ("extension=none", set()),
        ("auto_prepend_file = /srv/first.php", {"/srv/first.php"}),
        ("openssl.cafile=/srv/ca.pem", {"/srv/ca.pem"}),
    ],
)
def test_the_configuration_names(text: str, expected: set[str]) -> None:
    files = {
        f"{PLACE}/dom.so": "elf",
        f"{PLACE}/opcache.so": "elf",
        "/srv/first.php": "text",
        "/srv/ca.pem": "text",
    }
    assert added(served({INI: f"text {text}", **files}, [INI])) == expected


def test_an_extension_brings_its_libraries() -> None:
    spec = {
        INI: "text extension=dom",
        f"{PLACE}/dom.so": "elf needs=libxml2.so.2",
        "/usr/lib/libxml2.so.2": "elf soname=libxml2.so.2",
    }
    assert added(served(spec, [INI])) == {f"{PLACE}/dom.so", "/usr/lib/libxml2.so.2"}


VENDOR = "/srv/app/vendor"
COMPOSER = {
    f"{VENDOR}/autoload.php": "text <?php require_once __DIR__ . '/composer/autoload_real.php';",
    f"{VENDOR}/composer/autoload_real.php": "text <?php require __DIR__ . '/autoload_static.php';",
    f"{VENDOR}/composer/autoload_static.php": "text <?php $x = __DIR__ . '/..' . '/acme/src';",
    f"{VENDOR}/composer/autoload_psr4.php": (
        "text <?php\\n$vendorDir = dirname(__DIR__);\\n$baseDir = dirname($vendorDir);\\nreturn array(\\n"
        "    'Acme\\\\Deep\\\\' => array($vendorDir . '/deep/lib', $vendorDir . '/deep/src'),\\n"
        "    'Acme\\\\' => array($vendorDir . '/acme/src'),\\n"
        "    'App\\\\' => array($baseDir . '/src'),\\n);"
    ),
    f"{VENDOR}/composer/autoload_classmap.php": "text <?php\\n    'Old_Class' => $vendorDir . '/old/x.inc',\\n",
    f"{VENDOR}/composer/autoload_namespaces.php":
        "text <?php\\n    'Twig_' => array($vendorDir . '/twig/lib'),\\n",
    f"{VENDOR}/composer/autoload_files.php": "text <?php\\n    'abc' => $vendorDir . '/acme/functions.php',\\n",
    f"{VENDOR}/acme/src/A.php": "text <?php namespace Acme; class A extends Base {}",
    f"{VENDOR}/acme/src/Base.php": "text <?php namespace Acme; class Base { function x() { new Deep\\B; } }",
    f"{VENDOR}/acme/src/Unused.php": "text",
    f"{VENDOR}/acme/functions.php": "text",
    f"{VENDOR}/deep/src/B.php": "text",
    f"{VENDOR}/old/x.inc": "text",
    f"{VENDOR}/twig/lib/Twig/Loader/File.php": "text",
    "/srv/app/src/Http/Page.php": "text",
}  # fmt: skip
FIXED = {
    path for path in COMPOSER if path.endswith(("autoload.php", "_real.php", "_static.php", "functions.php"))
}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", set()),
        (
            "use Acme\\A;",
            {f"{VENDOR}/acme/src/A.php", f"{VENDOR}/acme/src/Base.php", f"{VENDOR}/deep/src/B.php"},
        ),
        ("new \\Acme\\Deep\\B;", {f"{VENDOR}/deep/src/B.php"}),
        ("new Old_Class;", {f"{VENDOR}/old/x.inc"}),
        ("new Twig_Loader_File;", {f"{VENDOR}/twig/lib/Twig/Loader/File.php"}),
        ("$pages = ['App\\\\Http\\\\Page'];", {"/srv/app/src/Http/Page.php"}),
        ("App\\Http\\Page::show();", {"/srv/app/src/Http/Page.php"}),
        ("new Nobody\\Knows;", set()),
    ],
)
@pytest.mark.parametrize("order", ["{load} {code}", "{code} {load}"])
def test_the_maps_of_composers_autoloader(code: str, expected: set[str], order: str) -> None:
    main = order.format(load="require __DIR__ . '/vendor/autoload.php';", code=code)
    assert added(command(COMPOSER, main)) == FIXED | expected


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ("include __DIR__ . '/../lib/a.php';",
         ["/srv/lib/a.php:2 includes a file that only a run would tell: include $y"]),
        ("include $x;", ["/srv/app/index.php:1 includes a file that only a run would tell: include $x"]),
        ("require __DIR__ . '/../vendor/a.php';", []),
    ],
)  # fmt: skip
def test_doubts(main: str, expected: list[str]) -> None:
    computed = "text <?php\\ninclude $y; include $z;"
    spec = {"/srv/lib/a.php": computed, "/srv/vendor/a.php": computed}
    assert [doubt.text for doubt in selected(command(spec, main)).doubts] == expected


def test_what_is_served_is_there_for_every_include() -> None:
    assert selected(served({"/var/www/html/index.php": "text <?php include $x;"})).doubts == ()


def test_without_php_nothing_is_read() -> None:
    seen = capture(
        {**SITE, "/usr/sbin/apache2": "elf", "/var/www/html/late.php": "text"}, map(read, SITE), [APACHE]
    )
    assert "/var/www/html/late.php" not in kept(seen)


def test_the_reason_is_the_line() -> None:
    seen = command({"/srv/lib/a.php": "text"}, "\\ninclude '../lib/a.php';")
    assert Reason(Why.IMPORTED, "/srv/app/index.php:2") in selected(seen).kept["/srv/lib/a.php"]


@given(st.text(alphabet="'\\ =>array()$vendorDir.baseDir;/ax\n", max_size=200), st.text(max_size=20))
def test_any_map_is_taken(text: str, name: str) -> None:
    files, contents = tree_and_answers({f"{VENDOR}/composer/autoload_psr4.php": f"text {text}"})
    assert list(Autoloader(files, contents, f"{VENDOR}/composer").find_class(name)) == []
