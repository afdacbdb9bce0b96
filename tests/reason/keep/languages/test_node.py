"""What Node's code in use names is kept: by Node's own resolution, case by case."""

import json
from collections.abc import Iterable, Mapping

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.events import Exec, FileUse, Use
from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.keep.languages.node_modules import ModuleResolver
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected, tree_and_answers

NODE = {"/usr/bin/node": "elf"}
START = Exec("/usr/bin/node", "", "/usr/bin/node", 1, 0, argv=("node", "/app/main.js"))
CONFIG = {"WorkingDir": "/app"}


def added(
    spec: Mapping[str, str], main: str = "", opened: Iterable[str] = (), config: Mapping[str, object] = CONFIG
) -> set[str]:
    """What is kept of `spec` beside what was opened, when Node runs /app/main.js with this text."""
    spec = {**NODE, "/app/main.js": f"text {main}", **spec}
    seen = capture(spec, [read(path, pid=1) for path in ("/app/main.js", *opened)], [START], config)
    return {
        path for path in kept(seen) - kept(seen, Rules(keep=Keep.EXACT)) if spec.get(path, "dir")[:3] != "dir"
    }


def package(**manifest: object) -> str:
    return "text " + json.dumps(manifest)


PKG = "/app/node_modules/pkg"


@pytest.mark.parametrize(
    ("why", "specifier", "spec", "expected"),
    [
        ("the exact name", "./a.js", {"/app/a.js": "text"}, {"/app/a.js"}),
        (".js first", "./a", {"/app/a.js": "text", "/app/a.json": "text"}, {"/app/a.js"}),
        (".json", "./a", {"/app/a.json": "text"}, {"/app/a.json"}),
        (".node", "./a", {"/app/a.node": "elf"}, {"/app/a.node"}),
        ("a file before a directory", "./a", {"/app/a.js": "text", "/app/a/index.js": "text"}, {"/app/a.js"}),
        ("index.js", "./a", {"/app/a/index.js": "text"}, {"/app/a/index.js"}),
        ("a slash means the directory", "./a/", {"/app/a.js": "text", "/app/a/index.js": "text"},
         {"/app/a/index.js"}),
        ("main", "./a", {"/app/a/package.json": package(main="lib/b"), "/app/a/lib/b.js": "text"},
         {"/app/a/package.json", "/app/a/lib/b.js"}),
        ("a main that is a directory", "./a",
         {"/app/a/package.json": package(main="lib"), "/app/a/lib/index.js": "text"},
         {"/app/a/package.json", "/app/a/lib/index.js"}),
        ("a main that is missing", "./a", {"/app/a/package.json": package(main="x"), "/app/a/index.js": "text"},
         {"/app/a/package.json", "/app/a/index.js"}),
        ("upwards", "../lib/a", {"/lib/a.js": "text"}, {"/lib/a.js"}),
        ("absolute", "/opt/a", {"/opt/a.js": "text"}, {"/opt/a.js"}),
        ("a builtin", "fs", {"/app/node_modules/fs/index.js": "text"}, set()),
        ("a builtin's part", "fs/promises", {"/app/node_modules/fs/promises.js": "text"}, set()),
        ("a package of that name", "fs/", {"/app/node_modules/fs/index.js": "text"},
         {"/app/node_modules/fs/index.js"}),
        ("node:", "node:test", {"/app/node_modules/test/index.js": "text"}, set()),
        ("a package", "pkg", {f"{PKG}/package.json": package(main="m.js"), f"{PKG}/m.js": "text"},
         {f"{PKG}/package.json", f"{PKG}/m.js"}),
        ("a package without package.json", "pkg", {f"{PKG}/index.js": "text"}, {f"{PKG}/index.js"}),
        ("a file of a package", "pkg/lib/a", {f"{PKG}/package.json": package(), f"{PKG}/lib/a.js": "text"},
         {f"{PKG}/package.json", f"{PKG}/lib/a.js"}),
        ("a scoped package", "@s/pkg", {"/app/node_modules/@s/pkg/index.js": "text"},
         {"/app/node_modules/@s/pkg/index.js"}),
        ("a package above", "pkg", {"/node_modules/pkg/index.js": "text"}, {"/node_modules/pkg/index.js"}),
        ("the nearest one", "pkg", {f"{PKG}/index.js": "text", "/node_modules/pkg/index.js": "text"},
         {f"{PKG}/index.js"}),
        ("NODE_PATH", "pkg", {"/opt/mods/pkg/index.js": "text"}, {"/opt/mods/pkg/index.js"}),
        ("Debian's place", "pkg", {"/usr/share/nodejs/pkg/index.js": "text"},
         {"/usr/share/nodejs/pkg/index.js"}),
        ("Debian's native place", "pkg", {"/usr/lib/x86_64-linux-gnu/nodejs/pkg/index.js": "text"},
         {"/usr/lib/x86_64-linux-gnu/nodejs/pkg/index.js"}),
        ("what is not there", "pkg", {}, set()),
    ],
)  # fmt: skip
def test_require(why: str, specifier: str, spec: dict[str, str], expected: set[str]) -> None:
    config = {**CONFIG, "Env": ["NODE_PATH=/opt/mods"]}
    assert added(spec, f"f = () => require('{specifier}')", config=config) == expected


@pytest.mark.parametrize(
    ("why", "code", "exports", "expected"),
    [
        ("a string", "require('pkg')", "./a.js", "a.js"),
        ("the main entry", "require('pkg')", {".": "./a.js"}, "a.js"),
        ("exports before main", "require('pkg')", {".": "./a.js", "./main": "./main.js"}, "a.js"),
        ("what is not exported", "require('pkg/b.js')", {".": "./a.js"}, None),
        ("a subpath", "require('pkg/b')", {"./b": "./b.js"}, "b.js"),
        ("require", "require('pkg')", {"import": "./a.mjs", "require": "./a.js"}, "a.js"),
        ("import", "import 'pkg'", {"import": "./a.mjs", "require": "./a.js"}, "a.mjs"),
        ("import()", "import('pkg')", {"import": "./a.mjs", "require": "./a.js"}, "a.mjs"),
        ("node", "require('pkg')", {"browser": "./b.js", "node": "./a.js", "default": "./b.js"}, "a.js"),
        ("the first condition", "require('pkg')", {"default": "./b.js", "node": "./a.js"}, "b.js"),
        ("nested", "require('pkg')", {".": {"node": {"import": "./a.mjs", "require": "./a.js"}}}, "a.js"),
        ("nested in vain", "require('pkg')", {"node": {"import": "./a.mjs"}, "default": "./b.js"}, "b.js"),
        ("a list", "require('pkg')", ["nonsense", "./a.js", "./b.js"], "a.js"),
        ("a pattern", "require('pkg/x/a')", {"./x/*": "./*.js"}, "a.js"),
        ("a pattern with an end", "require('pkg/x/a.js')", {"./x/*.js": "./*.js"}, "a.js"),
        ("the longest pattern", "require('pkg/x/a')", {"./*": "./b.js", "./x/*": "./*.js"}, "a.js"),
        ("an excluded one", "require('pkg/x/a')", {"./*": "./b.js", "./x/*": None}, None),
        ("a folder", "require('pkg/x/a.js')", {"./x/": "./"}, "a.js"),
        ("out of the package", "require('pkg')", "../../secret.js", None),
    ],
)  # fmt: skip
def test_exports(why: str, code: str, exports: object, expected: str | None) -> None:
    spec = {f"{PKG}/package.json": package(main="main.js", exports=exports)}
    spec |= {f"{PKG}/{name}": "text" for name in ("a.js", "a.mjs", "b.js", "main.js")}
    found = added({**spec, "/app/secret.js": "text"}, code)
    assert found == ({f"{PKG}/package.json", f"{PKG}/{expected}"} if expected else set())


def test_both_ways_of_a_condition_that_only_newer_nodes_know() -> None:
    spec = {f"{PKG}/package.json": package(exports={"module-sync": "./a.mjs", "default": "./a.js"})}
    spec |= {f"{PKG}/a.mjs": "text", f"{PKG}/a.js": "text"}
    assert added(spec, "require('pkg')") == set(spec)


def test_a_package_names_itself_and_its_own_imports() -> None:
    manifest = package(name="app", exports={"./x": "./x.js"}, imports={"#in/*": "./in/*.js", "#dep": "pkg"})
    spec = {
        "/app/package.json": manifest,
        "/app/x.js": "text",
        "/app/in/a.js": "text",
        f"{PKG}/index.js": "text",
    }
    code = "require('app/x'); require('#in/a'); import('#dep'); require('#none')"
    assert added(spec, code) == set(spec)


def test_the_closure_goes_on_through_what_is_found() -> None:
    spec = {
        "/app/a.js": "text require('pkg')",
        f"{PKG}/index.js": "text const x = () => import('./b.mjs')",
        f"{PKG}/b.mjs": "text import './c.json'; export * from 'other'",
        f"{PKG}/c.json": "text {}",
        "/app/node_modules/other/index.js": "text",
        "/app/unused.js": "text",
    }
    assert added(spec, "require('./a')") == set(spec) - {"/app/unused.js"}


def test_links_are_followed_as_node_does() -> None:
    spec = {
        PKG: "link ../.store/pkg@1/node_modules/pkg",
        "/app/.store/pkg@1/node_modules/pkg/index.js": "text require('dep')",
        "/app/.store/pkg@1/node_modules/dep/index.js": "text",
    }
    assert added(spec, "require('pkg')") == set(spec)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.join(__dirname, 'data.txt')", {"/app/data.txt"}),
        ("express.static(path.join(__dirname, 'public'))", {"/app/public/a.css", "/app/public/img/b.png"}),
        ("express.static('public')", {"/app/public/a.css", "/app/public/img/b.png"}),
        ("new URL('data.txt', import.meta.url)", {"/app/data.txt"}),
        ("fs.readFile('data.txt')", {"/app/data.txt"}),
        ("require('./lib/' + name)", {"/app/lib/a.js", "/app/lib/b.json", "/app/lib/sub/index.js"}),
        ("path.join(__dirname, '..', 'app')", set()),
        ("fs.readdirSync('/')", set()),
    ],
)
def test_files_and_directories(code: str, expected: set[str]) -> None:
    names = (
        "data.txt",
        "public/a.css",
        "public/img/b.png",
        "lib/a.js",
        "lib/b.json",
        "lib/c.txt",
        "lib/sub/index.js",
    )
    assert added({f"/app/{name}": "text" for name in names}, code) == expected


@pytest.mark.parametrize("image", ["amd64", "arm64"])
def test_native_parts(image: str) -> None:
    spec = {
        f"{PKG}/package.json": package(name="pkg"),
        f"{PKG}/index.js": "text module.exports = require('node-gyp-build')(__dirname)",
        "/app/node_modules/node-gyp-build/index.js": "text",
        f"{PKG}/build/Release/pkg.node": "elf",
        f"{PKG}/build/Release/obj.target/pkg.node": "elf",
        f"{PKG}/prebuilds/linux-x64/node.napi.node": "elf",
        f"{PKG}/prebuilds/linux-x64/node.napi.musl.node": "elf",
        f"{PKG}/prebuilds/linux-x64/electron.napi.node": "elf",
        f"{PKG}/prebuilds/linux-arm64/node.napi.node": "elf",
        f"{PKG}/prebuilds/darwin-x64+arm64/node.napi.node": "elf",
    }
    arch = {"amd64": "x64", "arm64": "arm64"}[image]
    spec = {**NODE, "/app/main.js": "text require('pkg')", **spec}
    seen = capture(spec, [read("/app/main.js", pid=1)], [START], CONFIG)
    seen = type(seen)(type(seen.image)("", "", image, config=CONFIG), seen.tree, seen.trace, seen.contents)
    assert {path for path in kept(seen) if path.endswith(".node")} == {
        f"{PKG}/build/Release/pkg.node",
        f"{PKG}/prebuilds/linux-{arch}/node.napi.node",
    }


def test_the_platforms_part_of_a_package_that_finds_out_what_to_load() -> None:
    modules = "/app/node_modules"
    spec = {
        f"{PKG}/package.json": package(
            name="pkg", optionalDependencies={"@p/linux-x64": "1", "@p/musl": "1", "@p/win": "1", "@p/arm": "1"}
        ),
        f"{PKG}/index.js": "text require(`@p/${process.platform}-${process.arch}/x.node`)",
        f"{modules}/@p/linux-x64/package.json": package(cpu=["x64"], os=["linux"], libc=["glibc"]),
        f"{modules}/@p/linux-x64/x.node": "elf",
        f"{modules}/@p/musl/package.json": package(cpu=["x64"], os=["linux"], libc=["musl"]),
        f"{modules}/@p/musl/x.node": "elf",
        f"{modules}/@p/win/package.json": package(os=["win32"]),
        f"{modules}/@p/win/x.node": "file",
        f"{modules}/@p/arm/package.json": package(cpu=["arm"]),
        f"{modules}/@p/arm/x.node": "file",
    }
    found = added(spec, "require('pkg')")
    assert found == {path for path in spec if path.startswith(PKG) or "/linux-x64/" in path}


def doubts(spec: Mapping[str, str], main: str, opened: Iterable[str] = ()) -> list[str]:
    spec = {**NODE, "/app/main.js": f"text {main}", **spec}
    seen = capture(spec, [read(path, pid=1) for path in ("/app/main.js", *opened)], [START], CONFIG)
    return [doubt.text for doubt in selected(seen).doubts]


COMPUTED = "text \\nrequire(name); require(other)"


@pytest.mark.parametrize(
    ("main", "spec", "opened", "expected"),
    [
        ("require(name)", {}, (), ["/app/main.js:1 requires a module that only a run would tell: name"]),
        ("require('./a')", {"/app/a.js": COMPUTED}, (),
         ["/app/a.js:2 requires a module that only a run would tell: name"]),
        ("require('./b')", {"/app/a.js": COMPUTED, "/app/b.js": "text require('./a')"},
         ("/app/a.js", "/app/b.js"),
         ["/app/a.js:2 requires a module that only a run would tell: name"]),
        ("require('pkg')", {f"{PKG}/index.js": COMPUTED}, (), []),
        ("require('./lib/' + name)", {"/app/lib/a.js": "text"}, (), []),
        # what the application sends to browsers is no code of its own
        ("express.static('public')", {"/app/public/a.js": COMPUTED}, ("/app/public/a.js",), []),
    ],
)  # fmt: skip
def test_doubts(main: str, spec: dict[str, str], opened: tuple[str, ...], expected: list[str]) -> None:
    assert doubts(spec, main, opened) == expected


def test_a_doubt_names_its_place_printably() -> None:
    spec = {"/app/a\n\x1b[31m.js": COMPUTED}
    (text,) = doubts(spec, r"require('./a\x0a\x1b[31m')")
    assert text.isprintable()


def test_without_node_nothing_is_read() -> None:
    spec = {"/usr/bin/other": "elf", "/app/main.js": "text require('./a')", "/app/a.js": "text"}
    seen = capture(
        spec, [read("/app/main.js", pid=1)], [Exec("/usr/bin/other", "", "/usr/bin/other", 1, 0)], CONFIG
    )
    assert "/app/a.js" not in kept(seen)


def test_a_program_with_node_inside_is_node() -> None:
    spec = {"/app/a.js": "text", "/usr/lib/libnode.so.108": "elf", "/app/main.js": "text require('./a')"}
    uses = [FileUse(Use.MAP, "", resolved="/usr/lib/libnode.so.108"), read("/app/main.js")]
    assert "/app/a.js" in kept(capture(spec, uses, config=CONFIG))


def test_a_script_without_an_ending_is_code() -> None:
    run = Exec("/app/bin/www", "", "/usr/bin/node", 1, 0, argv=("/app/bin/www",))
    spec = {**NODE, "/app/bin/www": "script #!/usr/bin/env node\\nrequire('../a')", "/app/a.js": "text"}
    spec |= {"/usr/bin/env": "elf"}
    assert "/app/a.js" in kept(capture(spec, [], [run], CONFIG))


def test_package_managers_are_not_followed() -> None:
    npm = "/usr/share/nodejs/npm"
    spec = {f"{npm}/cli.js": "text require('./install')", f"{npm}/install.js": "text"}
    assert added(spec, "", [f"{npm}/cli.js"]) == set()


def test_the_reason_is_the_line() -> None:
    spec = {**NODE, "/app/main.js": "text \\nrequire('./a')", "/app/a.js": "text"}
    seen = capture(spec, [read("/app/main.js", pid=1)], [START], CONFIG)
    assert selected(seen).kept["/app/a.js"] == (Reason(Why.IMPORTED, "/app/main.js:2"),)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.sampled_from(["./a.js", "./*.js", "../x", "pkg", "#in"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([".", "./*", "./a", "node", "default", "require", "import", "#in", "main", ""]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON, JSON, st.sampled_from(["pkg", "pkg/a", "#in", ".", "..", "/", "", "@", "@x", "./", "pkg/"]))
@settings(max_examples=examples(200), deadline=None)
def test_any_manifest_is_taken(main: object, exports: object, imports: object, specifier: str) -> None:
    manifest = package(name="pkg", main=main, exports=exports, imports=imports)
    files, contents = tree_and_answers(
        {f"{PKG}/package.json": manifest, f"{PKG}/a.js": "text", f"{PKG}/in.js": "text"}
    )
    for kind in ("require", "import"):
        for module in ModuleResolver(files, contents).find(specifier, f"{PKG}/in.js", kind):
            assert files.resolve(module.path).entry


def test_broken_manifests_are_none() -> None:
    for text in (
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"main": ' + "9" * 5000 + "}",
        '{"exports": ' + '{"node":' * 900,
    ):
        assert added({f"{PKG}/package.json": f"text {text}", f"{PKG}/index.js": "text"}, "require('pkg')") == {
            f"{PKG}/index.js",
            f"{PKG}/package.json",
        }
