"""The SBOM: valid, the same for the same selection, and whatever a package calls itself."""

import json
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.reason.explain.sbom import cyclonedx_json, os_release, purl
from slimtrace.reason.keep.packages import Package, PackageType

from ..trees import capture

DEBIAN = {"/usr/lib/os-release": 'text ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n# ID=x\n'}
RELEASE = {"ID": "debian", "VERSION_ID": "12"}
LIBC = Package(PackageType.DEB, "libc6", "2.36-9+deb12u10", "amd64", source="glibc", files=("/x",))
FLASK = Package(PackageType.PYPI, "Flask_Thing", "3.0", licenses=("BSD-3-Clause",))


def made(*packages: Package, spec: dict[str, str] | None = None) -> dict[str, Any]:
    text = cyclonedx_json(capture(DEBIAN if spec is None else spec), "my/app.slim:1", packages)
    problem = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_5).validate_str(text)
    assert problem is None, problem
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        (LIBC, "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc"),
        (
            Package(PackageType.DEB, "bzip2", "1+b1", "amd64", source="bzip2", source_version="1"),
            "pkg:deb/debian/bzip2@1%2Bb1?arch=amd64&distro=debian-12&upstream=bzip2%401",
        ),
        (
            Package(PackageType.APK, "musl", "1.2-r4", "x86_64"),
            "pkg:apk/debian/musl@1.2-r4?arch=x86_64&distro=debian-12",
        ),
        (
            Package(PackageType.RPM, "bash", "1:5.1-2", "x86_64"),
            "pkg:rpm/debian/bash@5.1-2?arch=x86_64&distro=debian-12&epoch=1",
        ),
        (FLASK, "pkg:pypi/flask-thing@3.0"),
        (Package(PackageType.NPM, "@scope/a", "1"), "pkg:npm/%40scope/a@1"),
        (Package(PackageType.GEM, "nokogiri", "1", "x86_64-linux"), "pkg:gem/nokogiri@1?platform=x86_64-linux"),
        (Package(PackageType.MAVEN, "org.a:b", "1"), "pkg:maven/org.a/b@1"),
        (Package(PackageType.NPM, "without"), "pkg:npm/without"),
    ],
)
def test_package_urls(package: Package, expected: str) -> None:
    assert purl(package, RELEASE).to_string() == expected


def test_it_is_of_the_slim_image_and_has_the_system() -> None:
    found = made(LIBC, FLASK)
    assert found["specVersion"] == "1.5"
    assert found["metadata"]["component"]["name"] == "my/app.slim:1"
    assert found["metadata"]["timestamp"] == "1970-01-01T00:00:00+00:00"
    kinds = {part["name"]: part["type"] for part in found["components"]}
    assert kinds == {"libc6": "library", "flask-thing": "library", "debian": "operating-system"}


def test_the_order_of_packages_does_not_matter() -> None:
    assert made(LIBC, FLASK) == made(FLASK, LIBC)
    assert made(LIBC, FLASK) == made(FLASK, LIBC, FLASK)
    assert made(LIBC)["serialNumber"] != made(FLASK)["serialNumber"]


@pytest.mark.parametrize(
    ("names", "licenses"),
    [
        (("MIT",), [{"license": {"id": "MIT"}}]),
        (("MIT OR Apache-2.0",), [{"expression": "MIT OR Apache-2.0"}]),
        (("MIT", "my own"), [{"license": {"id": "MIT"}}, {"license": {"name": "my own"}}]),
        (("MIT AND Zlib", "MIT"), [{"license": {"id": "MIT"}}, {"license": {"name": "MIT AND Zlib"}}]),
        (("x" * 1000,), None),
        ((), None),
    ],
)
def test_licenses(names: tuple[str, ...], licenses: object) -> None:
    (component,) = made(Package(PackageType.GEM, "a", "1", licenses=names), spec={})["components"]
    assert component.get("licenses") == licenses


def test_licenses_of_debian_are_in_its_copyright_files() -> None:
    spec = {"/usr/share/doc/libc6/copyright": "text Format: x\n\nFiles: *\nLicense: LGPL-2.1+\n"}
    (component,) = made(LIBC, spec=spec)["components"]
    assert component["licenses"] == [{"license": {"id": "LGPL-2.1+"}}]


def test_os_release() -> None:
    assert os_release(capture(DEBIAN)) == {
        "ID": "debian",
        "VERSION_ID": "12",
        "PRETTY_NAME": "Debian GNU/Linux 12",
    }
    assert os_release(capture({})) == {}
    assert os_release(capture({"/etc/os-release": "link /dev/null"})) == {}


ODD = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["\udcff", "a/b", "@/", ":", "", "\x1b[31m"]
)


@given(st.sampled_from(sorted(PackageType)), ODD, ODD, ODD, st.lists(ODD, max_size=3))
def test_a_package_may_call_itself_what_it_likes(
    kind: PackageType, name: str, version: str, architecture: str, licenses: list[str]
) -> None:
    package = Package(kind, name, version, architecture, tuple(licenses), source=name, source_version=version)
    assert len(made(package, spec={})["components"]) == 1
