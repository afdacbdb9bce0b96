"""What a shell script names."""

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.sources import SOURCE_LIMIT
from slimtrace.facts.sources.shell import source


def named(text: str, kind: str) -> list[str]:
    return [one.name for one in source.mentions_in(text) if one.kind == kind]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("cat x", ["cat"]),
        ("A=1 B=2 printenv A", ["printenv"]),
        ("cat a | sort | uniq -c && wc || false; sed p & tr", ["cat", "sort", "uniq", "wc", "sed", "tr"]),
        ("if test -f x; then cat x; elif stat y; then rm y; else tee z; fi", ["cat", "stat", "rm", "tee"]),
        ("while read -r a; do wc; done <x; until nc -z h 1; do sleep 1; done", ["wc", "nc", "sleep"]),
        ("for i in grep sed; do tail $i; done", ["tail"]),
        ("for i do tail; done", ["tail"]),
        ("for ((i = 0; i < 3; i++)); do seq $i; done", ["seq"]),
        ("case $1 in grep|sed) awk;; (head) tail ;; *) wc; esac; ls", ["awk", "tail", "wc", "ls"]),
        ("case $(uname) in Linux) id;; esac", ["uname", "id"]),
        ("! cmp a b", ["cmp"]),
        ("{ ls; }; (cd x && pwd; du)", ["ls", "du"]),
        ("x=$(date +%s) y=`hostname`", ["date", "hostname"]),
        ("echo \"at $(date) by `id -un`\" '$(not)'", ["date", "id"]),
        ("echo `echo \\`uname\\``", ["uname"]),
        ("echo $(basename $(dirname $(pwd)))", ["basename", "dirname"]),
        ("echo ${x:-$(hostname)} ${y%%$(uname)}", ["hostname", "uname"]),
        ("n=$((1 + $(nproc) * (2)))", ["nproc"]),
        ("((i++)); sync", ["sync"]),
        ("[[ $x =~ ^(cat|dog)$ && -f y ]] && sync", ["sync"]),
        ("if [[ a == b ]]; then sync; fi", ["sync"]),
        ("a=(cat $(find .) dog); sync", ["find", "sync"]),
        ("diff <(sort a) >(tee b)", ["sort", "tee", "diff"]),
        ("f() { mktemp; }; f; function g { tr; }; g; h () ( stat ); h", ["mktemp", "tr", "stat"]),
        ("date() { command date -u; }; date", ["date"]),
        ("exec nginx -g 'daemon off;'", ["nginx"]),
        ("exec gosu app env -u X A=1 python3 x", ["gosu", "env", "python3"]),
        ("su-exec redis:redis redis-server", ["su-exec", "redis-server"]),
        ("setpriv --reuid 5 --clear-groups node x", ["setpriv", "node"]),
        ("find . -exec chmod 1 {} +", ["find", "chmod"]),
        ("ls | xargs -n 1 -r basename", ["ls", "xargs", "basename"]),
        ("timeout -k 5 10 curl x", ["timeout", "curl"]),
        ("nice -n 5 nohup java", ["nice", "nohup", "java"]),
        ("xargs echo", ["xargs", "echo"]),  # not the shell's own echo
        ("command -v psql >/dev/null", []),
        ("trap 'rm -f $x; kill 0' EXIT TERM", ["rm"]),
        ('eval "grep x"', ["grep"]),
        ("sh -ec 'curl x && jq .'", ["sh", "curl", "jq"]),
        ("cat <<E\n$(id) 'it' isn't\nE\nls", ["id", "cat", "ls"]),
        ("cat <<'E'\n$(id)\nE\nls", ["cat", "ls"]),
        ("cat <<-E\n\tx\n\tE\nls", ["cat", "ls"]),
        ("cat <<A <<B\nls\nA\nls\nB\nwc", ["cat", "wc"]),
        ("cat <<<$(id)", ["id", "cat"]),
        ("# $(rm)\necho x#$(id) # ls", ["id"]),
        ("'my tool' a", ["my tool"]),
        ("c\\at x", ["cat"]),
        ("cat \\\n x", ["cat"]),
        ("$'ca\\x74' x", ["ca\\x74"]),
        ("2>&1 cat &>x; cat 3<&0", ["cat"]),
        ("echo 'open", []),
        ("", []),
    ],
)  # fmt: skip
def test_commands(text: str, commands: list[str]) -> None:
    assert sorted(set(named(text, "command"))) == sorted(set(commands))


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        (". /etc/profile; source lib.sh; bash /x/y.sh", "source", ["/etc/profile", "lib.sh", "/x/y.sh"]),
        ('. "$DIR/lib.sh"', "source", ["$DIR/lib.sh"]),
        ("DIR=/opt/x; export PATH=/a:$PATH", "variable", ["DIR=/opt/x", "PATH=/a:$PATH"]),
        ("[ -x /usr/bin/foo ] && x --conf=/etc/x.conf", "file", ["/usr/bin/foo", "/etc/x.conf"]),
        (
            "wc </etc/passwd; python manage.py -c conf/app.yml",
            "file",
            ["/etc/passwd", "manage.py", "conf/app.yml"],
        ),
        ("echo >/run/x/pid 2>>/var/log/y >/dev/null", "output", ["/run/x/pid", "/var/log/y"]),
        ("python3 -u -m shop.report x", "module", ["shop.report"]),
        ('exec "$@"; "$tool" x; ${CMD:-x}', "command", ["$@", "$tool", "${CMD:-x}"]),
    ],
)
def test_other_kinds(text: str, kind: str, names: list[str]) -> None:
    assert named(text, kind) == names


def test_lines_and_what_is_computed() -> None:
    text = '#!/bin/sh\n\nls\n  "$x"\ncat <<E\n\n$(id)\nE\n'
    found = {(one.name, one.line, one.computed) for one in source.mentions_in(text)}
    assert found == {("ls", 3, False), ("$x", 4, True), ("cat", 5, False), ("id", 7, False)}


HOSTILE = [
    "$(" * 100_000,
    "`" * 100_001,
    '"$(' * 100_000,
    "${" * 100_000 + "$x" * 100_000,
    "((" * 100_000,
    "a=(" * 100_000,
    "case x in " * 50_000,
    "<<X " * 50_000 + "\n" + "x\n" * 50_000,
    "<<X\n" * 100_000,
    "\\`" * 100_000,
    "eval 'eval \"" * 20_000,
    "trap '" + "a;" * 100_000 + "' 0",
    "[[ " * 100_000,
    "f() " * 50_000,
    "a" * 1_000_000,
    "'" * 1_000_001,
    "exec " * 100_000,
    "env A=1 " * 50_000 + "x",
    "/" * 500_000,
    "a." * 300_000 + " " + "./" * 200_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_ends_soon(text: str) -> None:
    begun = time.process_time()
    source.mentions_in(text)
    assert time.process_time() - begun < 10


@given(st.text(alphabet="ab/.$(){}[]`'\"\\<>|&;#=! \n\tEOF-", max_size=300))
def test_anything_can_be_read(text: str) -> None:
    lines = text.count("\n") + 1
    for one in source.mentions_in(text):
        assert 1 <= one.line <= lines


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data: bytes) -> None:
    source.mentions(io.BytesIO(data))


def test_only_so_much_is_read() -> None:
    stream = io.BytesIO(b"#" * SOURCE_LIMIT + b"\nls")
    assert source.mentions(stream) == ()
