"""The modules that Perl code in use brings."""

from collections.abc import Mapping

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, FileUse, Origin, Use
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected

CORE = "/usr/share/perl/5.36"
ARCH = "/usr/lib/x86_64-linux-gnu/perl/5.36"
BASE = {
    "/usr/bin/perl": "elf",
    f"{CORE}/strict.pm": "text 1;",
    f"{CORE}/Carp.pm": "text use Never;",
    f"{CORE}/Text/Wrap.pm": "text use Text::Tabs;\\nsub f {\\n    require Far;\\n}",
    f"{CORE}/Text/Tabs.pm": "text 1;",
    f"{CORE}/Far.pm": "text 1;",
    f"{CORE}/Never.pm": "text 1;",
    f"{CORE}/unicore/Name.pm": "text 1;",
    f"{CORE}/unicore/Name.pl": "text 1;",
    f"{ARCH}/POSIX.pm": "text 1;",
    f"{ARCH}/auto/POSIX/POSIX.so": "elf needs=libm.so.6",
    f"{ARCH}/auto/POSIX/other.bs": "file",
    f"{ARCH}/Encode/JP.pm": "text 1;",
    f"{ARCH}/auto/Encode/JP/JP.so": "elf",
    "/usr/lib/libm.so.6": "elf soname=libm.so.6",
    "/usr/share/perl5/LWP.pm": "text sub f {\\n    require HTTP::Later;\\n}",
    "/usr/share/perl5/HTTP/Later.pm": "text 1;",
    "/opt/app/lib/App/Core.pm": "text sub f {\\n    require App::Rare;\\n}",
    "/opt/app/lib/App/Rare.pm": "text 1;",
    "/opt/app/conf.pl": "text 1;",
}


def ran(script: str, spec: Mapping[str, str] | None = None) -> Capture:
    argv = ("/usr/bin/perl", "/opt/app/run")
    run = Exec("/opt/app/run", "", "/usr/bin/perl", 1, 0, Origin.CONTAINER, argv=argv)
    uses = [
        read(f"{CORE}/Carp.pm", pid=1),
        # strict.pm was looked for all along @INC
        FileUse(Use.READ, "/usr/share/perl5/strict.pm", error=2, pid=1),
        FileUse(Use.READ, f"{ARCH}/strict.pm", error=2, pid=1),
        read(f"{CORE}/strict.pm", pid=1),
    ]
    text = f"script #!/usr/bin/perl\\n{script}"
    return capture({**BASE, "/opt/app/run": text, **(spec or {})}, uses, [run], {"WorkingDir": "/opt/app"})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("use Text::Wrap;", {f"{CORE}/Text/Wrap.pm", f"{CORE}/Text/Tabs.pm"}),  # not what its functions require
        ("sub f {\\n    require LWP;\\n}", {"/usr/share/perl5/LWP.pm", "/usr/share/perl5/HTTP/Later.pm"}),
        ("use POSIX;", {f"{ARCH}/POSIX.pm", f"{ARCH}/auto/POSIX/POSIX.so", "/usr/lib/libm.so.6"}),
        ("decode('shiftjis', $x);", {f"{ARCH}/Encode/JP.pm", f"{ARCH}/auto/Encode/JP/JP.so"}),
        ("use lib '/opt/app/lib'; use App::Core;",
         {"/opt/app/lib/App/Core.pm", "/opt/app/lib/App/Rare.pm"}),
        ("use FindBin; use lib \"$FindBin::Bin/lib\"; use App::Rare;", {"/opt/app/lib/App/Rare.pm"}),
        ("do './conf.pl';", {"/opt/app/conf.pl"}),
        ("print \"\\\\N{SNOWMAN}\";", {f"{CORE}/unicore/Name.pm", f"{CORE}/unicore/Name.pl"}),
        ("use Carp;", set()),  # what it takes was seen when it was loaded
    ],
)  # fmt: skip
def test_modules(script: str, expected: set[str]) -> None:
    script = script.replace('"', '"').replace("\\\\N", "\\N")
    assert kept(ran(script)) - kept(ran("1;")) == expected


def test_doubts() -> None:
    def codes(script: str, spec: Mapping[str, str] | None = None) -> list[str]:
        return [doubt.code for doubt in selected(ran(script, spec)).doubts]

    assert codes("use strict; use Text::Wrap;") == []
    assert codes("use Not::There;") == ["perl-missing"]
    assert codes("eval { require Not::There };") == []
    assert codes("require $plugin;") == ["perl-import"]
    assert codes("use LWP;", {"/usr/share/perl5/LWP.pm": "text require $plugin;"}) == []


def test_nothing_is_added_with_keep_exact() -> None:
    seen = ran("sub f {\\n    require LWP;\\n}")
    assert "/usr/share/perl5/LWP.pm" in kept(seen)
    assert "/usr/share/perl5/LWP.pm" not in kept(seen, Rules(keep=Keep.EXACT))
