"""The confinement as docker run's options, a Compose file and a Pod: what each format's own rules accept, and
what it says when it is read back."""

import shlex
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import schemas
import yaml
from compose_spec import PyCompose
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.confinement import Confinement, Writable
from slimtrace.reason.confine import yaml_text
from slimtrace.reason.confine.compose import service_name, service_yaml
from slimtrace.reason.confine.docker_run import command_line
from slimtrace.reason.confine.kubernetes import pod_manifest

KUBERNETES = "1.34"  # whose schemas are asked, as strictly as the API server does
PLACES = (
    Writable("/run", mode=0o755),
    Writable("/srv/a b", volume=True),
    Writable("/tmp", mode=0o1777, uid=5, gid=6, executable=True),
)
WEB = Confinement(("chown", "setuid"), writable=PLACES, uid=0, gid=0, low_ports=(80, 443))
PLAIN = Confinement(no_new_privileges=False, read_only=False)
USER = Confinement(user="1000:7", uid=1000, gid=7, writable=(Writable("/data", volume=True),))


def composed(*words: Any) -> dict[str, Any]:
    text = service_yaml(*words)
    PyCompose.from_yaml(text)  # which reads the Compose specification and nothing else
    found = yaml.safe_load(text)
    (service,) = found["services"].values()
    return dict(service)


def pod(*words: Any, **more: str) -> dict[str, Any]:
    found = yaml.safe_load(pod_manifest(*words, **more))
    kubernetes_validate.validate(found, KUBERNETES, strict=True)
    return dict(found["spec"])


def test_docker_run() -> None:
    assert command_line("my/web:1", WEB, "here/a b.json", "slimtrace-web") == (
        "docker run \\\n"
        "  --cap-drop ALL \\\n"
        "  --cap-add CHOWN \\\n"
        "  --cap-add SETUID \\\n"
        "  --security-opt no-new-privileges \\\n"
        "  --security-opt 'seccomp=here/a b.json' \\\n"
        "  --security-opt apparmor=slimtrace-web \\\n"
        "  --read-only \\\n"
        "  --tmpfs /run:mode=0755,uid=0,gid=0 \\\n"
        "  --volume '/srv/a b' \\\n"
        "  --tmpfs /tmp:exec,mode=1777,uid=5,gid=6 \\\n"
        "  my/web:1\n"
    )
    assert command_line("x", PLAIN) == "docker run \\\n  --cap-drop ALL \\\n  x\n"
    assert "--user 1000:7" in command_line("x", USER)


def test_compose_service() -> None:
    assert composed("my/web:1", WEB, "a.json", "slimtrace-web") == {
        "image": "my/web:1",
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "SETUID"],
        "security_opt": ["no-new-privileges:true", "seccomp=a.json", "apparmor=slimtrace-web"],
        "read_only": True,
        "tmpfs": ["/run:mode=0755,uid=0,gid=0", "/tmp:exec,mode=1777,uid=5,gid=6"],
        "volumes": [{"type": "volume", "target": "/srv/a b"}],
    }
    assert composed("x", PLAIN) == {"image": "x", "cap_drop": ["ALL"], "read_only": False}
    assert composed("x", USER)["user"] == "1000:7"
    assert composed("x", Confinement(), "$HOME/${x}.json")["security_opt"][1] == "seccomp=$$HOME/$${x}.json"


@pytest.mark.requires("compose-schema")
@pytest.mark.parametrize("confinement", [WEB, PLAIN, USER, Confinement()])
@pytest.mark.parametrize("profiles", [(), ("a.json",), ("$HOME/${x}.json", "slimtrace-web")])
def test_compose_by_the_schema(confinement: Confinement, profiles: tuple[str, ...]) -> None:
    checker = jsonschema.Draft201909Validator(schemas.compose())
    checker.validate(yaml.safe_load(service_yaml("my/web:1", confinement, *profiles)))
    # That the schema is one that can refuse.
    wrong = yaml.safe_load(service_yaml("my/web:1", confinement, *profiles).replace("read_only:", "read_onyl:"))
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(wrong)


def test_a_pod() -> None:
    found = pod("my/web:1", WEB, "/some/where/web.json", "slimtrace-web")
    (container,) = found["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "SETUID"]},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "slimtrace/web.json"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "slimtrace-web"},
    }
    assert found["securityContext"] == {
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]
    }
    names = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume["emptyDir"] for volume in found["volumes"]}
    assert {path: volumes[name] for path, name in names.items()} == {
        "/run": {"medium": "Memory"},
        "/srv/a b": {},
        "/tmp": {"medium": "Memory"},
    }
    (filling,) = found["initContainers"]
    assert filling["command"] == ["cp", "-a", "--", "/srv/a b/.", "/slimtrace-volume"]
    assert filling["volumeMounts"] == [{"name": names["/srv/a b"], "mountPath": "/slimtrace-volume"}]


def test_a_pod_s_user() -> None:
    found = pod("x", USER, copier="fat:1")
    user = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 7}
    (filling,) = found["initContainers"]
    assert filling["image"] == "fat:1" and filling["command"][1] == "-RP"
    for container in (filling, *found["containers"]):
        assert container["securityContext"].items() >= user.items()
    root = pod("x", Confinement(user="root", uid=0, gid=0))["containers"][0]["securityContext"]
    assert root["runAsUser"] == 0 and root["runAsNonRoot"] is False
    assert "runAsUser" in pod_manifest("x", Confinement(user="who"))  # a comment


def test_a_pod_without_confinement() -> None:
    found = pod("x", PLAIN)
    assert found == {
        "containers": [
            {
                "name": "x",
                "image": "x",
                "securityContext": {
                    "allowPrivilegeEscalation": True,
                    "readOnlyRootFilesystem": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"), ("host:5000/my/App_x:1.2", "app-x"), ("a/b@sha256:00", "b"),
        ("sha256:00ff", "sha256"), ("", "app"), ("--", "app"), ("x" * 99, "x" * 50),
    ],
)  # fmt: skip
def test_a_service_s_name(image: str, name: str) -> None:
    assert service_name(image) == name


@pytest.mark.parametrize(
    ("right", "wrong"), [("cap_drop", "cap_dropped"), ("read_only: true", "read_only: [1]"), ("target", "aim")]
)
def test_the_compose_reader_refuses_what_is_wrong(right: str, wrong: str) -> None:
    text = service_yaml("x", WEB)
    assert right in text
    with pytest.raises(ValueError):
        PyCompose.from_yaml(text.replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("readOnlyRootFilesystem", "readOnlyRoot"),
        ("mountPath", "path"),
        ('drop:\n            - "ALL"', "drop: 1"),
    ],
)
def test_the_schema_of_pods_refuses_what_is_wrong(right: str, wrong: str) -> None:
    text = pod_manifest("x", WEB)
    assert right in text
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(yaml.safe_load(text.replace(right, wrong)), KUBERNETES, strict=True)


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
_HOSTILE = _TEXTS | st.sampled_from(
    [
        "yes",
        "1e3",
        "null",
        "~",
        "- x",
        "a: b",
        "\\",
        '"',
        "#",
        "$$",
        "\x85",
        "\u2028",
        "\ufeff",
        "\x00",
        "'; rm -rf /",
    ]
)


@settings(deadline=None)
@given(_HOSTILE, _HOSTILE, _HOSTILE)
def test_hostile_texts_stay_texts(image: str, seccomp: str, apparmor: str) -> None:
    """Whatever the image or a profile is called: a shell and a YAML reader see these words and no others."""
    place = Writable("/$x/'q", volume=True)
    found = Confinement(writable=(place,), user=image)
    words = shlex.split(command_line(image, found, seccomp, apparmor).replace("\\\n", " "))
    assert words[-1] == image and words[words.index("--volume") + 1] == place.path
    # Compose's own reader would refuse what is no image name.
    (service,) = yaml.safe_load(service_yaml(image, found, seccomp, apparmor))["services"].values()
    assert service["image"] == as_yaml_reads(image).replace("$", "$$")
    assert service["volumes"] == [{"type": "volume", "target": "/$$x/'q"}]
    spec = pod(image, found, seccomp, apparmor)
    assert spec["containers"][0]["image"] == as_yaml_reads(image)
    assert spec["initContainers"][0]["command"][3] == "/$x/'q/."


def as_yaml_reads(text: str) -> str:
    return str(yaml.safe_load(yaml_text.document({"text": text}))["text"])


@settings(deadline=None)
@given(_HOSTILE)
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    written = yaml_text.document({"text": text})
    assert written.isascii() and written.count("\n") == 1 and written.rstrip("\n").isprintable()
    if not any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        assert as_yaml_reads(text) == text


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.recursive(
            st.booleans() | st.integers() | st.text("ab:#- \n", max_size=4),
            lambda inner: (
                st.lists(inner.filter(lambda item: not isinstance(item, list)), min_size=1, max_size=3)
                | st.dictionaries(st.text("ab:# ", min_size=1, max_size=3), inner, min_size=1, max_size=3)
            ),
            max_leaves=8,
        ),
        min_size=1,
    )
)
def test_a_document_is_read_as_it_was(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text.document(value, ["a\nb: c"])) == value
