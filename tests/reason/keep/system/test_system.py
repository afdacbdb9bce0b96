"""Files that system libraries load on demand are kept by evidence only."""

import pytest

from slimtrace.facts.events import FileUse, Use
from slimtrace.facts.selection import Reason, Why

from ...prove.runs import APP, LIB, more, seen
from ...trees import GLIBC, INTERP, capture, kept, read, selected

# -- dlopen


PLUGINS = {
    f"{LIB}/libz.so.1": "link libz.so.1.3",
    f"{LIB}/libz.so.1.3": "elf soname=libz.so.1 needs=libm.so.6",
    f"{LIB}/libm.so.6": "elf soname=libm.so.6",
    f"{LIB}/libgcc_s.so.1": "elf soname=libgcc_s.so.1",
    "/opt/plugins/a.so": "elf",
    "/opt/plugins/b.so": "elf",
    "/usr/lib/i386-linux-gnu/libold.so": "elf machine=EM_386 bits=32",
}


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("", set()),
        ("library:libz.so.1", {f"{LIB}/libz.so.1", f"{LIB}/libz.so.1.3", f"{LIB}/libm.so.6"}),
        ("library:/opt/plugins/a.so", {"/opt/plugins/a.so"}),
        ("library:/opt/plugins/../plugins/a.so", {"/opt/plugins/a.so"}),
        ("library:libnone.so,library:../a.so", set()),
        ("library:libold.so", set()),  # of another architecture
        ("library:libc.so.6", set()),  # it is linked with it
        ("import:pthread_cancel", {f"{LIB}/libgcc_s.so.1"}),
        ("import:localtime", set()),
    ],
)
def test_libraries_named_by_strings(says: str, expected: set[str]) -> None:
    assert more(seen(says, PLUGINS)) == expected


def test_a_library_is_sought_along_the_path_of_the_one_that_names_it() -> None:
    run = capture(
        {
            **GLIBC,
            "/usr/bin/app": f"elf 0755 {INTERP} needs=libapp.so runpath=/opt/app",
            "/opt/app/libapp.so": "elf runpath=$ORIGIN/own says=library:libown.so",
            "/opt/app/own/libown.so": "elf",
        },
        execs=[APP],
    )
    assert more(run) == {"/opt/app/own/libown.so"}
    assert selected(run).kept["/opt/app/own/libown.so"] == (Reason(Why.ON_DEMAND, "libown.so"),)


@pytest.mark.parametrize("library", ["libc", "libselinux", "libjvm"])
def test_names_that_libraries_load_only_for_others_are_ignored(library: str) -> None:
    names = "library:libidn2.so.0,library:libsepol.so.2,library:libnuma.so.1"
    run = seen(
        "",
        {
            f"{LIB}/{library}.so.6": f"elf soname={library}.so.6 says={names}",
            f"{LIB}/libidn2.so.0": "elf",
            f"{LIB}/libsepol.so.2": "elf",
            f"{LIB}/libnuma.so.1": "elf",
        },
        read(f"{LIB}/{library}.so.6"),
    )
    ignored = {"libc": "libidn2.so.0", "libselinux": "libsepol.so.2", "libjvm": "libnuma.so.1"}[library]
    assert f"{LIB}/{ignored}" not in kept(run)


# -- names

NAMES = {
    "/etc/nsswitch.conf": "text passwd: files sss\\nhosts: files mdns4 [NOTFOUND=return] dns\\n"
    "group: compat # x",
    "/etc/hosts": "text",
    "/etc/host.conf": "text",
    "/etc/gai.conf": "text",
    "/etc/services": "text",
    "/etc/protocols": "text",
    "/etc/passwd": "text",
    "/etc/shadow": "text",
    **{f"{LIB}/libnss_{name}.so.2": "elf" for name in ("files", "dns", "mdns4", "sss", "compat", "hesiod")},
}
NEW = {f"{LIB}/libc.so.6": "elf soname=libc.so.6 needs=ld-linux-x86-64.so.2 says=version:GLIBC_2.34"}


def modules(*names: str) -> set[str]:
    return {f"{LIB}/libnss_{name}.so.2" for name in names}


HOSTS = {"/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/services"}


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("", set()),
        ("import:getaddrinfo", HOSTS | {"/etc/gai.conf"} | modules("mdns4")),
        ("import:gethostbyname", HOSTS | modules("mdns4")),
        ("import:getservbyname", {"/etc/nsswitch.conf", "/etc/services"}),
        ("import:getprotobyname", {"/etc/nsswitch.conf", "/etc/protocols"}),
        ("import:getpwnam", {"/etc/nsswitch.conf"} | modules("sss")),
        ("import:initgroups", {"/etc/nsswitch.conf"} | modules("compat")),
    ],
)
def test_the_name_service(says: str, expected: set[str]) -> None:
    assert more(seen(says, NAMES | NEW)) == expected


def test_before_glibc_2_34_files_and_dns_are_modules() -> None:
    assert more(seen("import:gethostbyname", NAMES)) == HOSTS | modules("files", "dns", "mdns4")
    without = {path: line for path, line in NAMES.items() if path != "/etc/nsswitch.conf"}
    assert more(seen("import:gethostbyname", without)) == (HOSTS - {"/etc/nsswitch.conf"}) | modules(
        "files", "dns"
    )


def test_a_program_without_libc_reads_the_files_that_it_names() -> None:
    run = capture(
        {**NAMES, "/usr/bin/app": "elf 0755 says=path:/etc/nsswitch.conf,path:/etc/services"}, execs=[APP]
    )
    assert more(run) == {"/etc/nsswitch.conf", "/etc/services"}


# -- gconv

GCONV = f"{LIB}/gconv"
CHARSETS = {
    f"{GCONV}/gconv-modules": "text module ISO-8859-15// INTERNAL ISO8859-15 1\\n"
    "module INTERNAL ISO-8859-15// ISO8859-15 1\\nalias LATIN-9// ISO-8859-15//",
    f"{GCONV}/gconv-modules.d/extra.conf": "text "
    + "\\n".join(f"module INTERNAL CP125{n}// CP125{n} 1" for n in range(6)),
    f"{GCONV}/gconv-modules.cache": "file",
    f"{GCONV}/ISO8859-15.so": "elf needs=libkit.so",
    f"{GCONV}/libkit.so": "elf",
    f"{LIB}/libkit.so": "elf",
    **{f"{GCONV}/CP125{n}.so": "elf" for n in range(6)},
}
LATIN = {f"{GCONV}/gconv-modules.cache", f"{GCONV}/ISO8859-15.so", f"{LIB}/libkit.so"}


@pytest.mark.parametrize(
    ("says", "env", "expected"),
    [
        ("charset:ISO-8859-15", {}, set()),  # it does not call iconv_open
        ("import:iconv_open", {}, set()),
        ("import:iconv_open,charset:UTF-8", {}, set()),
        ("import:iconv_open,charset:ISO-8859-15", {}, LATIN),
        ("import:iconv_open,charset:latin-9", {}, LATIN),
        ("import:iconv_open", {"LANG": "de_DE.ISO-8859-15@euro"}, LATIN),
        ("import:iconv_open", {"LANG": "de_DE.ISO-8859-15", "LC_ALL": "C.UTF-8"}, set()),
        ("import:iconv_open," + ",".join(f"charset:CP125{n}" for n in range(6)), {}, set()),  # a table
    ],
)
def test_charsets(says: str, env: dict[str, str], expected: set[str]) -> None:
    assert more(seen(says, CHARSETS, **env)) == expected


def test_without_the_cache_the_lists_are_read() -> None:
    without = {path: line for path, line in CHARSETS.items() if not path.endswith(".cache")}
    run = seen("import:iconv_open,charset:CP1252", without)
    lists = {f"{GCONV}/gconv-modules", f"{GCONV}/gconv-modules.d/extra.conf"}
    assert more(run) == lists | {f"{GCONV}/CP1252.so"}


# -- locale

LOCALES = {
    "/usr/lib/locale/C.utf8/LC_CTYPE": "file",
    "/usr/lib/locale/C.utf8/LC_MESSAGES/SYS_LC_MESSAGES": "file",
    "/usr/lib/locale/de_DE.iso88591/LC_CTYPE": "file",
    "/usr/lib/locale/locale-archive": "file",
}
C_UTF8 = {"/usr/lib/locale/C.utf8/LC_CTYPE", "/usr/lib/locale/C.utf8/LC_MESSAGES/SYS_LC_MESSAGES"}


@pytest.mark.parametrize(
    ("says", "env", "expected"),
    [
        ("", {"LANG": "C.UTF-8"}, set()),
        ("import:setlocale", {}, set()),
        ("import:setlocale", {"LANG": "C", "LC_ALL": "POSIX", "LANGUAGE": "de", "LC_TIME": ""}, set()),
        ("import:setlocale", {"LANG": "C.UTF-8"}, C_UTF8),
        ("import:newlocale", {"LC_TIME": "C.utf8"}, C_UTF8),
        ("import:setlocale", {"LANG": "de_DE.ISO-8859-1"}, {"/usr/lib/locale/de_DE.iso88591/LC_CTYPE"}),
        ("import:setlocale", {"LANG": "fr_FR.UTF-8"}, {"/usr/lib/locale/locale-archive"}),
        ("import:setlocale", {"LANG": "../../../etc"}, {"/usr/lib/locale/locale-archive"}),
        ("import:setlocale,locale:C.UTF-8", {}, C_UTF8),
        ("import:setlocale,locale:fr_FR.UTF-8", {}, set()),
    ],
)
def test_locales(says: str, env: dict[str, str], expected: set[str]) -> None:
    assert more(seen(says, LOCALES, **env)) == expected


def test_of_a_locale_that_was_read_the_rest_is_kept() -> None:
    run = seen("", LOCALES, read("/usr/lib/locale/C.utf8/LC_CTYPE"))
    assert more(run) == C_UTF8 - {"/usr/lib/locale/C.utf8/LC_CTYPE"}


# -- time zones

ZONEINFO = "/usr/share/zoneinfo"
ZONES = {
    "/etc/localtime": f"link {ZONEINFO}/Etc/UTC",
    f"{ZONEINFO}/Etc/UTC": "file",
    f"{ZONEINFO}/UTC": "link Etc/UTC",
    f"{ZONEINFO}/Europe/Berlin": "file",
    f"{ZONEINFO}/Asia/Tokyo": "file",
    f"{ZONEINFO}/right/Asia/Tokyo": "file",
    f"{ZONEINFO}/zone1970.tab": "file",
    f"{ZONEINFO}/tzdata.zi": "file",
    f"{ZONEINFO}/localtime": "link /etc/localtime",
}
LOCAL = {"/etc/localtime", f"{ZONEINFO}/Etc/UTC"}
TABLE = ",".join(f"zone:Europe/{name}" for name in ("Berlin", "Paris", "Rome", "Riga", "Oslo"))


@pytest.mark.parametrize(
    ("says", "env", "expected"),
    [
        ("", {"TZ": "Europe/Berlin"}, set()),
        ("import:localtime", {}, LOCAL),
        ("import:tzset", {"TZ": "Europe/Berlin"}, LOCAL | {f"{ZONEINFO}/Europe/Berlin"}),
        ("import:tzset", {"TZ": ":Asia/Tokyo"}, LOCAL | {f"{ZONEINFO}/Asia/Tokyo"}),
        ("import:tzset", {"TZ": "../../../etc/passwd"}, LOCAL),
        ("import:tzset", {"TZ": "CET-1CEST"}, LOCAL),
        ("import:mktime,zone:Asia/Tokyo,zone:No/Where", {}, LOCAL | {f"{ZONEINFO}/Asia/Tokyo"}),
        (f"import:mktime,{TABLE}", {}, LOCAL),
    ],
)
def test_time_zones(says: str, env: dict[str, str], expected: set[str]) -> None:
    assert more(seen(says, ZONES, **env)) == expected


def test_where_zones_are_read_by_name_all_of_them_are_kept() -> None:
    run = seen("", ZONES, read(f"{ZONEINFO}/Europe/Berlin"))
    zones = {f"{ZONEINFO}/{name}" for name in ("Etc/UTC", "UTC", "Asia/Tokyo")}
    assert more(run) == zones


@pytest.mark.parametrize(
    "use",
    [
        read("/etc/localtime", f"{ZONEINFO}/Etc/UTC"),  # not by name
        FileUse(Use.READ, f"{ZONEINFO}/UTC0", error=2),  # not there
        read(f"{ZONEINFO}/tzdata.zi"),
        FileUse(Use.STAT, f"{ZONEINFO}/Europe/Berlin"),
    ],
)
def test_one_zone_does_not_mean_all(use: FileUse) -> None:
    assert more(seen("", ZONES, use)) == set()


# -- terminals

TERMINALS = {
    f"{LIB}/libtinfo.so.6": "elf soname=libtinfo.so.6",
    "/usr/lib/terminfo/x/xterm": "file",
    "/usr/share/terminfo/78/xterm-256color": "file",
    "/usr/share/terminfo/v/vt100": "link ../d/dec",
    "/usr/share/terminfo/d/dec": "file",
    "/usr/share/terminfo/r/rare": "file",
    "/usr/share/terminfo/o/other": "file",
}
COMMON = {
    "/usr/lib/terminfo/x/xterm",
    "/usr/share/terminfo/78/xterm-256color",
    "/usr/share/terminfo/v/vt100",
    "/usr/share/terminfo/d/dec",
}


def test_terminals_are_kept_for_a_terminal_library_and_for_an_entry_that_was_read() -> None:
    spec = TERMINALS
    assert more(seen("", spec)) == set()
    assert more(seen("", spec, read(f"{LIB}/libtinfo.so.6"))) == COMMON
    assert more(seen("", spec, read("/usr/share/terminfo/o/other"))) == COMMON
    assert more(seen("", spec, read(f"{LIB}/libtinfo.so.6"), TERM="rare")) == COMMON | {
        "/usr/share/terminfo/r/rare"
    }
    assert more(seen("", spec, read(f"{LIB}/libtinfo.so.6"), TERM="../../etc/x")) == COMMON


# -- files by formats


SHARE = {
    f"/usr/share/app/{name}": "file"
    for name in ("main.conf", "words/en.stop", "words/en.dict", "words/README", "words/deep/x.y", "other/a.b")
}


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("files:%s/words/%s.%s", {"en.stop", "en.dict"}),
        ("files:%s%s/words/%s.stop", {"en.stop"}),
        ("files:%s/words/%s", {"en.stop", "en.dict", "README"}),
        ("files:%s/words/%d.%s", {"en.stop", "en.dict"}),
        ("files:%s/none/%s", set()),
        ("", set()),
    ],
)
def test_files_whose_names_are_put_together(says: str, expected: set[str]) -> None:
    run = seen(says, SHARE, read("/usr/share/app/main.conf"))
    assert {path.rpartition("/")[2] for path in more(run) if "." in path or "README" in path} == expected


def test_files_in_directories_that_nothing_was_read_from_are_not_kept() -> None:
    assert more(seen("files:%s/words/%s", SHARE)) == set()
    shallow = {"/etc/main.conf": "file", "/etc/words/a": "file"}
    assert more(seen("files:%s/words/%s", shallow, read("/etc/main.conf"))) == set()


def test_a_large_directory_is_a_database() -> None:
    many = SHARE | {f"/usr/share/app/words/{number}": "file" for number in range(500)}
    assert more(seen("files:%s/words/%s", many, read("/usr/share/app/main.conf"))) == set()


# -- PostgreSQL


@pytest.mark.parametrize("place", ["/usr/lib/postgresql/15/lib", "/usr/pgsql-15/lib", "/opt/other/lib"])
def test_the_libraries_that_the_catalogue_names(place: str) -> None:
    share = "/usr/share/postgresql/15"
    spec = {
        f"{share}/postgres.bki": "text insert ( f $libdir/latin1 ) ( g $libdir/none ) ( h $libdir/../../x )",
        f"{place}/snowball.so": "elf",
        f"{place}/latin1.so": "elf needs=libc.so.6",
        f"{place}/other.so": "elf",
    }
    run = seen("", spec, read(f"{share}/postgres.bki"), read(f"{place}/snowball.so"))
    assert more(run) == ({f"{place}/latin1.so"} if "other" not in place else set())
    assert more(seen("", spec, read(f"{share}/postgres.bki"))) == set()
