"""Which packages an image has, by the metadata of each package manager, and which paths each owns."""

import pytest

from slimtrace.reason.keep.packages import Owners, Package, PackageType, installed, unreadable
from slimtrace.reason.keep.packages.installed import MAX_OWNERS

from ...trees import capture, read

MERGED = {"/lib": "link usr/lib", "/bin": "link usr/bin"}


def stanza(name: str, version: str = "1", more: str = "") -> str:
    text = f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
    return f"{text}{more}\n"


def owners(spec: dict[str, str], used: list[str] | None = None) -> dict[str, list[str]]:
    """Every owned path with the labels of its owners."""
    seen = capture(spec)
    found = Owners(installed(seen, used))
    return {path: [one.label for one in owned] for path in seen.tree.entries if (owned := found.of(path))}


def one(spec: dict[str, str]) -> Package:
    (found,) = installed(capture(spec))
    return found


STATUS, INFO = "/var/lib/dpkg/status", "/var/lib/dpkg/info"
LIBC = {
    **MERGED,
    STATUS: "text " + stanza("libc6", "2.36-9", "Multi-Arch: same\nSource: glibc\n"),
    f"{INFO}/libc6:amd64.list": "text /.\n/lib\n/lib/libc.so.6\n/lib/gone.so\n/usr/share/doc\n/etc/empty",
    f"{INFO}/libc6:amd64.md5sums": "text x",
    "/usr/lib/libc.so.6": "elf",
    "/etc/empty": "dir",
}


def test_dpkg() -> None:
    assert one(LIBC) == Package(
        PackageType.DEB,
        "libc6",
        "2.36-9",
        "amd64",
        source="glibc",
        files=("/usr/lib/libc.so.6",),
        directories=("/etc/empty",),
        database=STATUS,
        key="libc6:amd64",
        metadata=(f"{INFO}/libc6:amd64.list", f"{INFO}/libc6:amd64.md5sums"),
    )
    assert one(LIBC).label == "deb libc6"
    assert one(LIBC).node == "package deb libc6 2.36-9"


def test_a_merged_directory_belongs_to_nobody() -> None:
    spec = {
        **MERGED,
        STATUS: f"text {stanza('base-files')}\n{stanza('cpp')}",
        f"{INFO}/base-files.list": "text /bin\n/lib\n/usr/lib/cpp",
        f"{INFO}/cpp.list": "text /lib\n/usr/bin/cpp",
        "/usr/bin/cpp": "file",
        "/usr/lib/cpp": "link ../share",
        "/usr/share": "dir",
    }
    assert owners(spec) == {"/usr/bin/cpp": ["deb cpp"], "/usr/lib/cpp": ["deb base-files"]}


def test_a_diverted_file_is_the_one_that_was_moved() -> None:
    spec = {
        STATUS: f"text {stanza('dash')}\n{stanza('other')}\n{stanza('third')}",
        "/var/lib/dpkg/diversions": "text /sh\n/sh.other\ndash\n/mine\n/mine.orig\n:",
        **{f"{INFO}/{name}.list": "text /sh" for name in ("dash", "other")},
        f"{INFO}/third.list": "text /mine",
        **dict.fromkeys(("/sh", "/sh.other", "/mine", "/mine.orig"), "file"),
    }
    assert owners(spec) == {"/sh": ["deb dash"], "/sh.other": ["deb other"], "/mine.orig": ["deb third"]}


def test_distroless() -> None:
    spec = {
        "/var/lib/dpkg/status.d/base": f"text {stanza('base-files')}",
        "/var/lib/dpkg/status.d/base.md5sums": f"text {'a' * 32}  etc/debian_version",
        "/etc/debian_version": "file",
    }
    found = one(spec)
    assert (found.label, found.files, found.database, found.metadata) == (
        "deb base-files",
        ("/etc/debian_version",),
        "/var/lib/dpkg/status.d/base",
        ("/var/lib/dpkg/status.d/base.md5sums",),
    )


@pytest.mark.parametrize("place", ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"])
def test_apk(place: str) -> None:
    spec = {"/usr/bin/x": "file", "/var/empty": "dir"}
    spec[place] = "text P:x\nV:1-r0\nA:x86_64\nL:MIT\no:y\nF:usr/bin\nR:x\nF:var/empty\n"
    found = one(spec)
    assert (found.label, found.version, found.source, found.licenses) == ("apk x", "1-r0", "y", ("MIT",))
    assert (found.files, found.directories, found.database) == (("/usr/bin/x",), ("/var/empty",), place)


@pytest.mark.parametrize(
    ("spec", "subject"),
    [
        ({"/var/lib/rpm/Packages": "file"}, "/var/lib/rpm/Packages"),
        ({"/usr/lib/sysimage/rpm/Packages.db": "file"}, "/usr/lib/sysimage/rpm/Packages.db"),
        ({"/var/lib/rpm": "link ../../usr/rpm", "/usr/rpm/rpmdb.sqlite": "text x"}, "/usr/rpm/rpmdb.sqlite"),
        (
            {"/var/lib/rpm/rpmdb.sqlite": "file", "/var/lib/rpm/rpmdb.sqlite-wal": "file size=9"},
            "/var/lib/rpm/rpmdb.sqlite",
        ),
    ],
)
def test_a_database_that_cannot_be_read_is_a_doubt(spec: dict[str, str], subject: str) -> None:
    assert [(doubt.code, doubt.subject) for doubt in unreadable(capture(spec))] == [
        ("package-database", subject)
    ]
    assert installed(capture(spec)) == ()


SITE = "/venv/lib/python3/site-packages"
PYTHON = {
    f"{SITE}/flask-3.dist-info/METADATA": "text Name: Flask\nVersion: 3.0\nLicense: BSD",
    f"{SITE}/flask-3.dist-info/RECORD": (
        "text flask/app.py,,\n../../../bin/flask,,\nflask-3.dist-info/METADATA,,"
    ),
    f"{SITE}/flask/app.py": "file",
    f"{SITE}/old-1.egg-info/PKG-INFO": "text Name: old\nVersion: 1",
    f"{SITE}/old-1.egg-info/top_level.txt": "text old\nsingle",
    f"{SITE}/old/deep/__init__.py": "file",
    f"{SITE}/single.py": "file",
    f"{SITE}/mute-2.0.dist-info/METADATA": "text nothing",
    "/venv/bin/flask": "file",
}


def test_python() -> None:
    found = {package.name: package for package in installed(capture(PYTHON))}
    assert {name: one.version for name, one in found.items()} == {"Flask": "3.0", "old": "1", "mute": "2.0"}
    assert found["Flask"].metadata == (f"{SITE}/flask-3.dist-info/RECORD",)
    assert set(found["Flask"].files) == {
        "/venv/bin/flask",
        f"{SITE}/flask/app.py",
        f"{SITE}/flask-3.dist-info/METADATA",
        f"{SITE}/flask-3.dist-info/RECORD",
    }
    assert {f"{SITE}/old/deep/__init__.py", f"{SITE}/single.py"} <= set(found["old"].files)


def test_only_languages_packages_near_the_used_paths_are_read() -> None:
    spec = {
        **PYTHON,
        "/app/node_modules/a/package.json": 'text {"name": "a"}',
        "/app/node_modules/a/i.js": "file",
    }
    assert {one.kind for one in installed(capture(spec), [f"{SITE}/single.py"])} == {PackageType.PYPI}
    assert {one.kind for one in installed(capture(spec), ["/app/node_modules/a/i.js"])} == {PackageType.NPM}
    assert installed(capture(spec), []) == ()


def test_npm() -> None:
    spec = {
        "/app/node_modules/a/package.json": 'text {"name": "a", "version": "1"}',
        "/app/node_modules/a/lib/i.js": "file",
        "/app/node_modules/a/node_modules/@s/b/package.json": 'text {"name": "@s/b", "version": "2"}',
        "/app/node_modules/a/node_modules/@s/b/i.js": "file",
        "/usr/share/nodejs/c/package.json": "text broken",
        "/usr/share/nodejs/c/i.js": "file",
        "/usr/share/doc/nodejs/api/i.js": "file",
        "/app/node_modules/.bin/a": "link ../a/lib/i.js",
    }
    assert {path: who for path, who in owners(spec).items() if not path.endswith(".json")} == {
        "/app/node_modules/a/lib/i.js": ["npm a"],
        "/app/node_modules/a/node_modules/@s/b/i.js": ["npm @s/b"],
        "/usr/share/nodejs/c/i.js": ["npm c"],
    }


def test_gems() -> None:
    home = "/usr/local/lib/ruby/gems/3.2.0"
    spec = {
        f"{home}/specifications/rack-2.2.gemspec": "text # stub: rack 2.2 ruby lib\n",
        f"{home}/specifications/default/json-2.6.gemspec": (
            'text # stub: json 2.6 ruby lib\n  s.files = ["lib/json.rb"]'
        ),
        f"{home}/gems/rack-2.2/lib/rack.rb": "file",
        f"{home}/extensions/x86_64-linux/3.2.0/rack-2.2/rack.so": "elf",
        "/usr/local/lib/ruby/3.2.0/json.rb": "file",
        "/usr/local/lib/ruby/3.2.0/set.rb": "file",
    }
    everything = {
        f"{home}/specifications/rack-2.2.gemspec": ["gem rack"],
        f"{home}/specifications/default/json-2.6.gemspec": ["gem json"],
        f"{home}/gems/rack-2.2/lib/rack.rb": ["gem rack"],
        f"{home}/extensions/x86_64-linux/3.2.0/rack-2.2/rack.so": ["gem rack"],
        "/usr/local/lib/ruby/3.2.0/json.rb": ["gem json"],
    }
    assert owners(spec) == everything
    assert owners(spec, ["/usr/local/lib/ruby/3.2.0/json.rb"]) == everything


def test_a_languages_package_that_a_distribution_installed_is_listed_once() -> None:
    site = "/usr/lib/python3/dist-packages"
    spec = {
        STATUS: f"text {stanza('python3-flask')}",
        f"{INFO}/python3-flask.list": f"text {site}/flask.py\n{site}/flask-3.egg-info",
        f"{site}/flask.py": "file",
        f"{site}/flask-3.egg-info": "text Name: Flask\nVersion: 3",
    }
    assert set(map(tuple, owners(spec).values())) == {("deb python3-flask",)}


def test_owning_keeps_the_order_and_names_each_once() -> None:
    packages = [Package(PackageType.DEB, name, files=(f"/{name}", "/both")) for name in ("b", "a", "c")]
    found = Owners(packages)
    assert [one.name for one in found.owning(["/a", "/b", "/a", "/none"])] == ["b", "a"]
    assert [one.name for one in found.of("/both")] == ["b", "a", "c"]


def test_forged_lists_do_not_grow_without_end() -> None:
    found = Owners(Package(PackageType.DEB, f"{number}", files=("/x",)) for number in range(MAX_OWNERS + 5))
    assert len(found.of("/x")) == MAX_OWNERS


@pytest.mark.parametrize("name", ["a\\x1b[31m", "../../etc", "a b", "\udcff", ""])
def test_odd_names(name: str) -> None:
    spec = {
        STATUS: f"text {stanza(name)}",
        f"{INFO}/x.list": "text /../..\n/a/../../b\n//\n/x/.",
        "/b": "file",
    }
    assert len(installed(capture(spec, [read("/b")]))) == bool(name)
