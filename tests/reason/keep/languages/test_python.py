"""What Python code in use brings: modules, data files, metadata."""

from collections.abc import Mapping
from typing import Any

import pytest

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, Origin
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected

LIB = "/usr/lib/python3.11"
SITE = "/opt/venv/lib/python3.11/site-packages"
BASE = {
    "/usr/bin/python3.11": "elf",
    "/opt/venv/bin/python": "link /usr/bin/python3.11",
    f"{LIB}/os.py": "text import stat",
    f"{LIB}/json/__init__.py": "text from .decoder import x",
    f"{LIB}/json/decoder.py": "text x = 1",
    f"{LIB}/csv.py": "text import _csv\\ndef f():\\n    import turtle",
    f"{LIB}/turtle.py": "text import tkinter",
    f"{LIB}/email/__init__.py": "text def message_from_string():\\n    from email.parser import Parser",
    f"{LIB}/email/parser.py": "text import csv",
    f"{LIB}/_strptime.py": "text import calendar",
    f"{LIB}/calendar.py": "text x = 1",
    f"{LIB}/encodings/__init__.py": "text x = 1",
    f"{LIB}/encodings/cp1252.py": "text x = 1",
    f"{LIB}/encodings/big5.py": "text import _codecs_tw",
    f"{LIB}/lib-dynload/_csv.cpython-311-x86_64-linux-gnu.so": "elf",
    f"{LIB}/lib-dynload/_csv.cpython-39-x86_64-linux-gnu.so": "elf",
    f"{LIB}/lib-dynload/_codecs_tw.cpython-311-x86_64-linux-gnu.so": "elf",
    f"{SITE}/flask/__init__.py": "text def f():\\n    from . import rare\\n    import asyncio",
    f"{SITE}/flask/rare.py": "text def f():\\n    import rarer",
    f"{SITE}/rarer.py": "text x = 1",
    f"{LIB}/asyncio/__init__.py": "text x = 1",
    "/srv/app/app.py": "text pass",
}
RUN = Exec("/opt/venv/bin/python", "", "/usr/bin/python3.11", 1, 0, Origin.CONTAINER, argv=("python", "app.py"))
LOADED = (f"{LIB}/os.py", f"{LIB}/encodings/__init__.py", f"{SITE}/flask/__init__.py", "/srv/app/app.py")


def ran(spec: Mapping[str, str], *loaded: str, **config: Any) -> Capture:
    uses = [read(path, pid=1) for path in (*LOADED, *loaded)]
    return capture({**BASE, **spec}, uses, [RUN], {"WorkingDir": "/srv/app", **config})


def added(app: str, spec: Mapping[str, str] | None = None, *loaded: str, **config: Any) -> set[str]:
    """What is kept for the application's text beyond what is kept for none."""
    with_it = ran({"/srv/app/app.py": f"text {app}", **(spec or {})}, *loaded, **config)
    return kept(with_it) - kept(ran(dict(spec or {}), *loaded, **config))


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("import json", {f"{LIB}/json/__init__.py", f"{LIB}/json/decoder.py"}),
        ("def f():\\n    import json.decoder", {f"{LIB}/json/__init__.py", f"{LIB}/json/decoder.py"}),
        # a standard module named by the application: its functions' imports too, but for developers' tools;
        # an extension module of another Python is not meant
        ("import csv", {f"{LIB}/csv.py", f"{LIB}/lib-dynload/_csv.cpython-311-x86_64-linux-gnu.so"}),
        ("import email", {
            f"{LIB}/email/__init__.py", f"{LIB}/email/parser.py", f"{LIB}/csv.py",
            f"{LIB}/lib-dynload/_csv.cpython-311-x86_64-linux-gnu.so",
        }),
        ("x.strptime('', '')", {f"{LIB}/_strptime.py", f"{LIB}/calendar.py"}),
        ("x.encode('windows-1252')", {f"{LIB}/encodings/cp1252.py"}),
        ("x.encode('latin-1')", set()),
        ("open(x, encoding='big5')", {
            f"{LIB}/encodings/big5.py", f"{LIB}/lib-dynload/_codecs_tw.cpython-311-x86_64-linux-gnu.so",
        }),
        ("import rarer", {f"{SITE}/rarer.py"}),
        ("import flask.rare", {f"{SITE}/rarer.py"}),  # that module is there anyway; now its functions count
        ("async def f(): pass", {f"{LIB}/asyncio/__init__.py"}),
        ("try:\\n    import nothing\\nexcept ImportError: pass", set()),
        ("import turtle", {f"{LIB}/turtle.py"}),
    ],
)  # fmt: skip
def test_modules(app: str, expected: set[str]) -> None:
    assert added(app) - {f"{LIB}/json", f"{LIB}/email"} == expected


def test_functions_of_loaded_libraries_are_followed_one_step() -> None:
    found = kept(ran({}))
    assert f"{SITE}/flask/rare.py" in found
    assert f"{SITE}/rarer.py" not in found
    # the event loop is for an application that has coroutines
    assert f"{LIB}/asyncio/__init__.py" not in found


def test_a_library_that_the_application_names_later_is_followed_as_far_as_it_goes() -> None:
    spec = {
        f"{SITE}/late/__init__.py": "text def f():\\n    from . import part",
        f"{SITE}/late/part.py": "text def f():\\n    from . import more",
        f"{SITE}/late/more.py": "text x = 1",
    }
    assert added("def f():\\n    import late", spec) == {
        f"{SITE}/late/{n}.py" for n in ("__init__", "part", "more")
    }


def test_far_code_is_read_again_when_it_turns_out_to_be_near() -> None:
    # The application comes last in the order of paths, and makes near what flask's function had led to.
    spec = {"/zzz/late.py": "text import flask.rare"}
    without = kept(ran(spec))
    found = kept(ran(spec, "/zzz/late.py"))
    assert f"{SITE}/rarer.py" in found - without


def test_bytecode_stands_for_its_source() -> None:
    spec = {
        f"{SITE}/flask/__pycache__/__init__.cpython-311.pyc": "file",
        f"{SITE}/flask/__init__.py": "text def f():\\n    import rarer",
    }
    uses = [read(f"{LIB}/os.py", pid=1), read(f"{SITE}/flask/__pycache__/__init__.cpython-311.pyc", pid=1)]
    assert f"{SITE}/rarer.py" in kept(capture({**BASE, **spec}, uses, [RUN]))


def test_bytecode_without_a_source_is_a_doubt() -> None:
    seen = ran({"/srv/app/closed.pyc": "file"}, "/srv/app/closed.pyc")
    assert [doubt.code for doubt in selected(seen).doubts] == ["python-bytecode"]


def test_packages_and_relative_imports() -> None:
    spec = {
        "/srv/app/shop/__init__.py": "text x = 1",
        "/srv/app/shop/cart.py": "text from . import price\\nfrom .tax import rate\\nfrom .. import nothing",
        "/srv/app/shop/price.py": "text x = 1",
        "/srv/app/shop/tax/__init__.py": "text rate = 1",
        "/srv/app/space/inner.py": "text x = 1",  # a namespace package
        "/srv/app/shop/other.py": "text x = 1",
    }
    found = added("def f():\\n    from shop import cart\\n    import space.inner", spec)
    assert found - {"/srv/app/shop", "/srv/app/space"} == set(spec) - {"/srv/app/shop/other.py"}


def test_computed_imports() -> None:
    spec = {f"/srv/app/plugins/{name}.py": "text x = 1" for name in ("__init__", "a", "b")}
    assert added("import_module(f'plugins.{x}')", spec) == set(spec)
    seen = ran({"/srv/app/app.py": "text import os\\nimport_module(name)\\nimport_module(other)"})
    doubts = selected(seen).doubts
    assert [doubt.code for doubt in doubts] == ["python-import"]
    assert "/srv/app/app.py:2" in doubts[0].text
    seen = ran({f"{SITE}/flask/__init__.py": "text import_module(name)"})
    assert selected(seen).doubts == ()


@pytest.mark.parametrize(
    ("app", "codes"),
    [
        ("import nothing", ["python-missing"]),
        ("def f():\\n    import nothing", []),
        ("try:\\n    import nothing\\nexcept ImportError: pass", []),
        ("if sys.platform == 'win32':\\n    import nothing", []),
        ("import sys, _thread, os", []),  # built in
        ("from os import nothing", []),
    ],
)
def test_missing_modules(app: str, codes: list[str]) -> None:
    assert [doubt.code for doubt in selected(ran({"/srv/app/app.py": f"text {app}"})).doubts] == codes


def test_search_path() -> None:
    spec = {
        "/opt/extra/extra.py": "text x = 1",
        "/opt/linked/linked.py": "text x = 1",
        f"{SITE}/link.pth": "text import os; x\\n/opt/linked\\n/nowhere\\n../../../../../../../etc",
        "/srv/app/beside.py": "text x = 1",
    }
    app = "def f():\\n    import extra, linked, beside"
    found = added(app, spec, Env=["PYTHONPATH=/opt/extra:"])
    assert found == {"/opt/extra/extra.py", "/opt/linked/linked.py", "/srv/app/beside.py"}
    assert "/opt/extra/extra.py" not in added(app, spec)


def test_data_beside_the_code() -> None:
    spec = {
        "/srv/app/data/a.csv": "file",
        "/srv/app/data/b.csv": "file",
        "/srv/app/data/c.py": "text x = 1",
        f"{SITE}/flask/t/x.txt": "file",
        f"{SITE}/flask/t/y.txt": "file",
        "/etc/app.conf": "file",
        "/srv/app/words.txt": "file",
    }
    here = "os.path.dirname(__file__)"
    assert added(f"open(os.path.join({here}, 'data/a.csv'))", spec) == {"/srv/app/data/a.csv"}
    assert added(f"open(os.path.join({here}, 'data', x))", spec) == {
        "/srv/app/data/a.csv",
        "/srv/app/data/b.csv",
    }
    assert added("files('flask').joinpath('t/x.txt')", spec) == {f"{SITE}/flask/t/x.txt"}
    assert added("open('/etc/app.conf'), open('words.txt')", spec) == {"/etc/app.conf", "/srv/app/words.txt"}
    assert added("open('../../etc/app.conf'), open('/proc/1/maps')", spec) == {"/etc/app.conf"}


def test_templates_of_a_web_application() -> None:
    spec = {"/srv/app/templates/x/a.html": "file", "/srv/app/static/b.css": "file", "/srv/app/other/c": "file"}
    found = added("from flask import Flask", spec)
    assert {path for path in found if not path.endswith(("/x", "s", "c"))} == {"/srv/app/templates/x/a.html"}
    assert "/srv/app/static/b.css" in found
    assert "/srv/app/other/c" not in found


def test_too_many_files_are_a_doubt() -> None:
    spec = {f"/srv/app/data/{number}": "file" for number in range(600)}
    seen = ran({**spec, "/srv/app/app.py": "text open(Path(__file__).parent / 'data' / x)"})
    chosen = selected(seen)
    assert [doubt.code for doubt in chosen.doubts] == ["python-data"]
    assert "/srv/app/data/1" not in chosen


def test_metadata() -> None:
    spec = {
        f"{SITE}/My_Lib-1.0.dist-info/METADATA": "file",
        f"{SITE}/My_Lib-1.0.dist-info/RECORD": "file",
        f"{SITE}/plug-2.dist-info/METADATA": "file",
        f"{SITE}/plug-2.dist-info/entry_points.txt": "text [console_scripts]\\nx = n:f\\n[a.b]\\np = plug.in:f",
        f"{SITE}/plug/__init__.py": "text x = 1",
        f"{SITE}/plug/in.py": "text x = 1",
    }
    top = "from importlib import metadata\\n"
    # With one file of it, what else tells scanners about a distribution comes along (RECORD).
    found = added(top + "metadata.version('my.lib')", spec)
    assert {paths.parent(path) for path in found} == {f"{SITE}/My_Lib-1.0.dist-info"}
    assert f"{SITE}/My_Lib-1.0.dist-info/METADATA" in found
    assert added(top + "metadata.entry_points(group='a.b')", spec) == {path for path in spec if "/plug" in path}
    assert added(top + "metadata.entry_points(group='c')", spec) == set()


def test_time_zones() -> None:
    spec = {
        f"{LIB}/zoneinfo/__init__.py": "text x = 1",
        "/usr/share/zoneinfo/Europe/Berlin": "file",
        "/usr/share/zoneinfo/Asia/Tokyo": "file",
        "/usr/share/zoneinfo/right/Asia/Tokyo": "file",
    }
    zones = "/usr/share/zoneinfo/"
    assert added("ZoneInfo('Europe/Berlin')", spec) == {zones + "Europe/Berlin"}
    assert added("ZoneInfo('../../../etc/passwd')", {**spec, "/etc/passwd": "file"}) == set()
    assert added("ZoneInfo(x)", spec) == {zones + "Europe/Berlin", zones + "Asia/Tokyo"}


def test_a_console_script_and_what_a_shell_script_starts() -> None:
    spec = {
        "/opt/venv/bin/tool": "script #!/opt/venv/bin/python\\nfrom rarer import x",
        "/entry.sh": "script #!/bin/sh\\n/opt/venv/bin/tool\\npython -m shop.report\\nexec $1",
        "/bin/sh": "elf",
        "/srv/app/shop/__init__.py": "text x = 1",
        "/srv/app/shop/report.py": "text x = 1",
    }
    entry = Exec("/entry.sh", "", "/bin/sh", 2, 0, Origin.CONTAINER, argv=("/bin/sh", "/entry.sh"))
    uses = [read(path, pid=1) for path in LOADED]
    found = kept(capture({**BASE, **spec}, uses, [RUN, entry], {"WorkingDir": "/srv/app"}))
    assert {f"{SITE}/rarer.py", "/srv/app/shop/report.py", "/srv/app/shop/__init__.py"} <= found


def test_nothing_is_added_with_keep_exact_or_without_python() -> None:
    seen = ran({"/srv/app/app.py": "text import rarer"})
    assert f"{SITE}/rarer.py" in kept(seen)
    assert f"{SITE}/rarer.py" not in kept(seen, Rules(keep=Keep.EXACT))
    assert f"{SITE}/flask/rare.py" not in kept(seen, Rules(keep=Keep.EXACT))
    other = capture({**BASE, "/x/list.txt": "file"}, [read("/x/list.txt")])
    assert not {path for path in kept(other) if path.endswith(".py")}
