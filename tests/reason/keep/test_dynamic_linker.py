"""The dynamic linker's search order, case by case."""

import pytest

from slimtrace.reason.keep.dynamic_linker import DynamicLinker

from ..trees import GLIBC, INTERP, tree_and_answers

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
A, B = "elf soname=liba.so", "elf soname=libb.so"


def found(spec: dict[str, str], program: str = "/app/bin/app", **environment: str) -> dict[str, str | None]:
    """Where each needed name of the program's closure was found; None for what was not."""
    linker = DynamicLinker(*tree_and_answers({**GLIBC, **spec}), environment)
    return {need.name: need.found and need.found.path for need in linker.closure(program)}


@pytest.mark.parametrize(
    ("why", "spec", "environment", "expected"),
    [
        ("default directories", {"/usr/lib/liba.so": A}, {}, "/usr/lib/liba.so"),
        (
            "multiarch before plain",
            {"/usr/lib/liba.so": A, "/usr/lib/x86_64-linux-gnu/liba.so": A},
            {},
            "/usr/lib/x86_64-linux-gnu/liba.so",
        ),
        ("lib64", {"/usr/lib64/liba.so": A}, {}, "/usr/lib64/liba.so"),
        (
            "LD_LIBRARY_PATH before the default",
            {"/usr/lib/liba.so": A, "/opt/l/liba.so": A},
            {"LD_LIBRARY_PATH": "/none:/opt/l"},
            "/opt/l/liba.so",
        ),
        (
            "ld.so.conf with an include before the default",
            {
                "/usr/lib/liba.so": A,
                "/opt/l/liba.so": A,
                "/etc/ld.so.conf": "text include ld.so.conf.d/*.conf\\n",
                "/etc/ld.so.conf.d/x.conf": "text # ours\\n/opt/l\\n",
                "/etc/ld.so.conf.d/y.off": "text /opt/m\\n",
            },
            {},
            "/opt/l/liba.so",
        ),
        (
            "an include that includes itself",
            {"/etc/ld.so.conf": "text include /etc/ld.so.conf\\n/opt/l", "/opt/l/liba.so": A},
            {},
            "/opt/l/liba.so",
        ),
        (
            "another architecture is passed over",
            {"/usr/lib/x86_64-linux-gnu/liba.so": "elf machine=EM_AARCH64", "/usr/lib/liba.so": A},
            {},
            "/usr/lib/liba.so",
        ),
        (
            "another word size is passed over",
            {"/usr/lib/x86_64-linux-gnu/liba.so": "elf machine=EM_X86_64 bits=32", "/usr/lib/liba.so": A},
            {},
            "/usr/lib/liba.so",
        ),
        (
            "a text file (a linker script) is passed over",
            {"/usr/lib/x86_64-linux-gnu/liba.so": "text INPUT(x)", "/usr/lib/liba.so": A},
            {},
            "/usr/lib/liba.so",
        ),
        (
            "the plain variant rather than a processor's",
            {"/usr/lib/glibc-hwcaps/x86-64-v3/liba.so": A, "/usr/lib/liba.so": A},
            {},
            "/usr/lib/liba.so",
        ),
        (
            "a processor's variant where there is no other",
            {"/usr/lib/glibc-hwcaps/x86-64-v3/liba.so": A},
            {},
            "/usr/lib/glibc-hwcaps/x86-64-v3/liba.so",
        ),
        ("nowhere", {}, {}, None),
    ],
)
def test_default_search(
    why: str, spec: dict[str, str], environment: dict[str, str], expected: str | None
) -> None:
    app = {"/app/bin/app": f"elf {INTERP} needs=liba.so"}
    assert found({**app, **spec}, **environment)["liba.so"] == expected, why


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("runpath=$ORIGIN/../lib", "/app/lib/liba.so"),
        ("runpath=${ORIGIN}/../lib", "/app/lib/liba.so"),
        ("rpath=$ORIGIN/../lib", "/app/lib/liba.so"),
        ("rpath=/app/lib runpath=/none", "/usr/lib/liba.so"),  # DT_RUNPATH makes DT_RPATH void
        ("runpath=/app/$LIB", "/app/lib/liba.so"),
        ("runpath=/app/$PLATFORM", "/app/x86_64/liba.so"),
        ("runpath=/none:/app/lib", "/app/lib/liba.so"),
    ],
)
def test_rpath_and_runpath(tags: str, expected: str) -> None:
    spec = {
        "/app/bin/app": f"elf {INTERP} needs=liba.so {tags}",
        "/app/lib/liba.so": A,
        "/usr/lib/liba.so": A,
        "/app/x86_64/liba.so": A,
    }
    assert found(spec)["liba.so"] == expected


@pytest.mark.parametrize(
    ("program", "library", "expected"),
    [
        ("rpath=/opt/l", "", "/opt/l/libb.so"),  # RPATH counts for the libraries that it loads too
        ("runpath=/opt/l", "", None),  # RUNPATH does not
        ("rpath=/opt/l", "runpath=/none", None),  # and an object's own RUNPATH turns inherited RPATHs off
    ],
)
def test_only_rpath_is_inherited(program: str, library: str, expected: str | None) -> None:
    spec = {
        "/app/bin/app": f"elf {INTERP} needs=liba.so {program}",
        "/opt/l/liba.so": f"elf soname=liba.so needs=libb.so {library}",
        "/opt/l/libb.so": B,
        "/usr/lib/liba.so": f"elf soname=liba.so needs=libb.so {library}",
    }
    assert found(spec)["libb.so"] == expected


def test_rpath_before_and_runpath_after_the_environment() -> None:
    spec = {"/opt/env/liba.so": A, "/opt/own/liba.so": A}
    for tag, expected in (("rpath", "/opt/own/liba.so"), ("runpath", "/opt/env/liba.so")):
        app = {"/app/bin/app": f"elf {INTERP} needs=liba.so {tag}=/opt/own"}
        assert found({**app, **spec}, LD_LIBRARY_PATH="/opt/env")["liba.so"] == expected


def test_a_loaded_soname_is_not_searched_again() -> None:
    # As in a JDK: libjava needs libjvm, which its own search would not find, but the launcher loaded it.
    spec = {
        "/app/bin/app": f"elf {INTERP} needs=libjvm.so,libjava.so runpath=/app/server:/app/lib",
        "/app/server/libjvm.so": "elf soname=libjvm.so",
        "/app/lib/libjava.so": "elf soname=libjava.so needs=libjvm.so",
    }
    assert found(spec)["libjvm.so"] == "/app/server/libjvm.so"


def test_a_need_has_the_links_on_the_way() -> None:
    linker = DynamicLinker(*tree_and_answers({**GLIBC, "/app": f"elf {INTERP} needs=libc.so.6"}))
    need = linker.closure("/app")[0]
    assert need.asked == "/lib/x86_64-linux-gnu/libc.so.6"
    assert need.found is not None and (need.found.path, need.found.links) == (LIBC, ("/lib",))


def test_the_closure_ends_where_libraries_need_each_other() -> None:
    spec = {
        "/app/bin/app": f"elf {INTERP} needs=liba.so",
        "/usr/lib/liba.so": "elf needs=libb.so",
        "/usr/lib/libb.so": "elf needs=liba.so",
    }
    assert set(found(spec)) == {"liba.so", "libb.so"}


MUSL = {
    "/lib/ld-musl-x86_64.so.1": "elf soname=libc.musl-x86_64.so.1",
    "/lib/libc.musl-x86_64.so.1": "link ld-musl-x86_64.so.1",
    "/app": "elf interp=/lib/ld-musl-x86_64.so.1 needs=liba.so,libc.musl-x86_64.so.1 runpath=/opt/l",
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"/usr/lib/liba.so": A, "/usr/local/lib/liba.so": A}, "/usr/local/lib/liba.so"),
        ({"/usr/lib64/liba.so": A}, None),
        ({"/etc/ld-musl-x86_64.path": "text /opt/a:/opt/b\\n/opt/c", "/opt/c/liba.so": A}, "/opt/c/liba.so"),
        ({"/etc/ld-musl-x86_64.path": "text /opt/a", "/usr/lib/liba.so": A}, None),
        ({"/opt/l/liba.so": A, "/usr/lib/liba.so": A}, "/opt/l/liba.so"),
    ],
)
def test_musl(spec: dict[str, str], expected: str | None) -> None:
    needs = {need.name: need for need in DynamicLinker(*tree_and_answers({**MUSL, **spec})).closure("/app")}
    assert (needs["liba.so"].found and needs["liba.so"].found.path) == expected
    libc = needs["libc.musl-x86_64.so.1"].found
    assert libc is not None and libc.path == "/lib/ld-musl-x86_64.so.1"


def test_musl_inherits_runpath() -> None:
    spec = {"/opt/l/liba.so": "elf needs=libb.so", "/opt/l/libb.so": B}
    needs = DynamicLinker(*tree_and_answers({**MUSL, **spec})).closure("/app")
    assert [need.found.path for need in needs if need.name == "libb.so" and need.found] == ["/opt/l/libb.so"]
