"""The software bill of materials: CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/) of the packages to which
kept files belong. The only module that uses cyclonedx-python-lib.

Package URLs are those of https://github.com/package-url/purl-spec (PURL-TYPES); `upstream`, the source package,
and `distro` are what Syft and Trivy write and vulnerability scanners match by. The same selection gives the
same bytes: the serial number is a hash of the content, the time is the image's.
"""

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot5
from cyclonedx.spdx import is_expression, is_supported_id
from packageurl import PackageURL

from slimtrace import __version__
from slimtrace.facts.capture import Capture
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.reason.keep.packages import Package, PackageType, dpkg

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
MAX_LICENSE_NAME = 200  # characters of a license's name: a longer one is a text
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/slimtrace")


def cyclonedx_json(capture: Capture, reference: str, used: Iterable[Package]) -> str:
    """The text of the SBOM of the slim image `reference`, which has files of the packages `used`."""
    os_release_fields = os_release(capture)
    bom = Bom(metadata=BomMetaData(timestamp=_created(capture.image), tools=_tools()))
    image = Component(
        type=ComponentType.CONTAINER,
        name=printable(reference),
        bom_ref="image",
        properties=[Property(name="slimtrace:from", value=printable(capture.image.id))],
    )
    bom.metadata.component = image
    bom.components.update(_components(capture, used, os_release_fields))
    if os_release_fields.get("ID"):
        bom.components.add(_operating_system(os_release_fields))
    dependencies = (Dependency(component.bom_ref) for component in bom.components)
    bom.dependencies.add(Dependency(image.bom_ref, dependencies=dependencies))
    bom.serial_number = uuid.UUID(int=0)
    body = json.loads(JsonV1Dot5(bom).output_as_string())
    content = json.dumps(body, sort_keys=True)
    body["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def os_release(capture: Capture) -> dict[str, str]:
    """The image's os-release(5); empty without one."""
    for name in OS_RELEASE:
        path = capture.tree.resolve(name).path
        if path in capture.tree and (text := capture.contents.text(path)) is not None:
            lines = (line.strip().partition("=") for line in text[:100_000].splitlines() if line[:1] != "#")
            return {name: value.strip("\"'")[:MAX_LICENSE_NAME] for name, equals, value in lines if equals}
    return {}


def purl(package: Package, os_release_fields: Mapping[str, str]) -> PackageURL:
    """The package's URL, in the distribution that `release` describes."""
    kind, name, version = package.kind, printable(package.name), printable(package.version)
    vendor = printable(os_release_fields.get("ID", ""))
    distribution = {
        "distro": "-".join(filter(None, (vendor, printable(os_release_fields.get("VERSION_ID", "")))))
    }
    qualifiers: dict[str, str] = {}
    namespace = ""
    match kind:
        case PackageType.DEB | PackageType.APK | PackageType.RPM:
            namespace = vendor
            source = "@".join(filter(None, (package.source, package.source_version)))
            qualifiers = {"arch": package.architecture, "upstream": source, **distribution}
            if kind is PackageType.RPM and ":" in version:
                qualifiers["epoch"], _, version = version.partition(":")
        case PackageType.PYPI:
            name = re.sub(r"[-_.]+", "-", name).lower()
        case PackageType.NPM:
            namespace, _, name = name.rpartition("/")
        case PackageType.MAVEN:
            namespace, _, name = name.rpartition(":")
        case PackageType.GEM:
            qualifiers = {"platform": package.architecture}
    set_qualifiers = {key: printable(value) for key, value in qualifiers.items() if value}
    return PackageURL(kind, namespace or None, name or "unknown", version or None, set_qualifiers or None)


def _components(
    capture: Capture, used: Iterable[Package], os_release_fields: Mapping[str, str]
) -> Iterable[Component]:
    found: dict[str, Component] = {}
    for package in used:
        url = purl(package, os_release_fields)
        licenses = package.licenses
        if package.kind is PackageType.DEB:
            licenses = dpkg.licenses(capture, package)
        # A package that is there twice (a library in two node_modules, in two jars) is one component.
        found.setdefault(
            url.to_string(),
            Component(
                type=ComponentType.LIBRARY,
                name=url.name,
                group=url.namespace if package.kind in (PackageType.NPM, PackageType.MAVEN) else None,
                version=printable(package.version) or None,
                purl=url,
                bom_ref=url.to_string(),
                licenses=_licenses(licenses),
            ),
        )
    return found.values()


def _licenses(names: Iterable[str]) -> list[DisjunctiveLicense | LicenseExpression]:
    """One expression, or several names, as ids where SPDX has them: CycloneDX allows no mixture of the two."""
    wanted = sorted({printable(name) for name in names if 0 < len(name) <= MAX_LICENSE_NAME})
    if len(wanted) == 1 and not is_supported_id(wanted[0]) and is_expression(wanted[0]):
        return [LicenseExpression(wanted[0])]
    return [
        DisjunctiveLicense(id=name) if is_supported_id(name) else DisjunctiveLicense(name=name)
        for name in wanted
    ]


def _operating_system(os_release_fields: Mapping[str, str]) -> Component:
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=printable(os_release_fields["ID"]),
        version=printable(os_release_fields.get("VERSION_ID", "")) or None,
        description=printable(os_release_fields.get("PRETTY_NAME", "")) or None,
        bom_ref="operating-system",
    )


def _tools() -> ToolRepository:
    return ToolRepository(
        components=[Component(type=ComponentType.APPLICATION, name="slimtrace", version=__version__)]
    )


def _created(image: Image) -> datetime:
    try:
        found = datetime.fromisoformat(image.created[:19])
        return found.replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
