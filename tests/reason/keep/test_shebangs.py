"""How the kernel, env and execvp find what runs a script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.reason.keep import shebangs
from slimtrace.reason.keep.shebangs import Shebang

from ..trees import DASH, GLIBC, INTERP, tree_and_answers


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#!/bin/sh\n", Shebang("/bin/sh")),
        (b"#!/bin/sh", Shebang("/bin/sh")),
        (b"#! \t /bin/sh  \t\nx", Shebang("/bin/sh")),
        (b"#!/bin/sh -e -x \n", Shebang("/bin/sh", "-e -x")),  # one argument, however many words
        (b"#!/usr/bin/awk\t-f\n", Shebang("/usr/bin/awk", "-f")),
        (b"#!/bin/a b\tc\n", Shebang("/bin/a", "b\tc")),
        (b"#!/bin/sh\r\n", Shebang("/bin/sh\r")),  # the kernel does not know DOS
        (b"#!python3\n", Shebang("python3")),
        (b"#!/bin/sh\0 -e\n", Shebang("/bin/sh")),
        (b"#!/b\xff\n", Shebang("/b\udcff")),
        (b"#!\n/bin/sh", None),
        (b"#!   ", None),
        (b"#!", None),
        (b"", None),
        (b" #!/bin/sh\n", None),
        (b"\x7fELF", None),
        (b"#!/" + b"a" * 253 + b"\n", None),  # the newline is byte 257
        (b"#!/" + b"a" * 252 + b"\n", Shebang("/" + "a" * 252)),
        (b"#!/" + b"a" * 252 + b" -x\n", Shebang("/" + "a" * 252)),  # cut, but the name was whole
        (b"#!/a " + b"b" * 400, Shebang("/a", "b" * 250)),
    ],
)
def test_shebang(head: bytes, expected: Shebang | None) -> None:
    assert shebangs.parse(head) == expected


@given(st.binary(max_size=300))
def test_shebang_takes_anything(rest: bytes) -> None:
    line = shebangs.parse(b"#!" + rest)
    assert line is None or (line.interpreter and "\n" not in line.interpreter + line.argument)


@pytest.mark.parametrize(
    ("argument", "program"),
    [
        ("python3", "python3"),
        ("", None),
        ("-S python3 -u", "python3"),
        ("-S -i A=b node --flag", "node"),
        ("-Snode", "node"),
        ("-S -u PATH 'my prog'", "my prog"),
        ("--split-string=node -x", "node"),
        ("-S ${HOME}/x", None),
        ("-S 'open", None),
    ],
)
def test_env(argument: str, program: str | None) -> None:
    assert shebangs.env_program(argument) == program


SPEC = {
    **GLIBC,
    **DASH,
    "/usr/bin/env": f"elf {INTERP}",
    "/opt/bin/node": f"elf {INTERP}",
    "/opt/bin/text": "text hello",
    "/entry": "script #!/bin/sh -e",
    "/app.js": "script #!/usr/bin/env node",
    "/second": "script #!/entry",
    "/bare": "script echo hello",
    "/binary": "script \0\1\2",
    "/loop": "script #!/loop",
    "/orphan": "script #!/usr/bin/env ruby",
    "/relative": "script #!bin/sh",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/entry", ["/bin/sh"]),
        ("/second", ["/entry", "/bin/sh"]),
        ("/app.js", ["/usr/bin/env", "/opt/bin/node"]),
        ("/bare", ["/bin/sh"]),
        ("/binary", []),
        ("/usr/bin/dash", []),
        ("/missing", []),
        ("/loop", ["/loop"] * shebangs.MAX_DEPTH),
        ("/orphan", ["/usr/bin/env", ""]),
        ("/relative", ["/usr/bin/sh"]),
    ],
)
def test_interpreters(path: str, expected: list[str]) -> None:
    steps = shebangs.interpreters(*tree_and_answers(SPEC), path, "/usr/bin:/opt/bin", "/usr")
    assert [step.path for step in steps] == expected


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sh", "/bin/sh"),
        ("node", "/opt/bin/node"),
        ("text", None),  # not executable
        ("x11", None),
        ("./node", "/opt/bin/./node"),
        ("bin/node", "/opt/bin/bin/node"),
        ("/opt/bin/node", "/opt/bin/node"),
        ("", None),
    ],
)
def test_find_program(name: str, found: str | None) -> None:
    spec = {**SPEC, "/opt/bin/bin/node": "elf"}
    where = shebangs.find_program(tree_and_answers(spec)[0], name, "/bin::/opt/bin", "/opt/bin")
    assert (where or "").replace("/./", "/") == (found or "").replace("/./", "/")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("curl -f http://localhost/ || exit 1", ("curl",)),
        ("A=1 node server.js", ("node",)),
        ("if test -f /x; then cat /x | wc -l; fi", ("cat", "wc")),
        ("exec nginx -g 'daemon off;'", ("nginx",)),
        ("(cd /x && ls)&", ("ls",)),
        ("echo 'open", ()),
        ("exec gosu app env A=1 node server.js", ("gosu", "env", "node")),
        ("case $1 in a) cat;; esac", ("cat",)),
        ("", ()),
    ],
)
def test_commands(text: str, names: tuple[str, ...]) -> None:
    assert shebangs.commands(text) == names
