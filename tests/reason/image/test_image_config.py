"""The slim image keeps what the original's configuration says, and its name says that it is slim."""

import json
from dataclasses import replace

import pytest

from slimtrace.facts.image import Image
from slimtrace.reason.image.image_config import Edits, image_config, slim_reference, with_tag

HEX = "0123456789ab" + "c" * 52
IMAGE = Image(
    id="sha256:" + "1" * 64,
    reference="app:1",
    architecture="arm64",
    variant="v8",
    created="2024-01-02T03:04:05.678Z",
    config={
        "Hostname": "builder",
        "AttachStdin": False,
        "Image": "sha256:parent",
        "User": "1000:1000",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Env": ["PATH=/bin", "A=b=c", "EMPTY="],
        "Entrypoint": ["/entry"],
        "Cmd": ["a", "b"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/app",
        "Labels": {"l": "1"},
        "StopSignal": "SIGQUIT",
        "StopTimeout": 3,
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1000},
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/bash", "-c"],
        "ArgsEscaped": True,
        "MacAddress": "",
    },
)


@pytest.mark.parametrize(
    ("reference", "tags", "slim"),
    [
        ("app", (), "app.slim:latest"),
        ("my/app:1.2", (), "my/app.slim:1.2"),
        ("registry:5000/a/b", (), "registry:5000/a/b.slim:latest"),
        ("registry:5000/a/b:v1", (), "registry:5000/a/b.slim:v1"),
        (f"registry:5000/a/b@sha256:{HEX}", (), "registry:5000/a/b.slim:latest"),
        (f"a/b:7@sha256:{HEX}", (), "a/b.slim:7"),
        (f"sha256:{HEX}", (), "0123456789ab.slim:latest"),
        (HEX, ("my/app:3", "other:1"), "my/app.slim:3"),
        (HEX[:12], ("my/app:3",), "my/app.slim:3"),
        ("deadbeefcafe", ("deadbeefcafe:latest",), "deadbeefcafe.slim:latest"),
        ("app.slim:1", (), "app.slim.slim:1"),
    ],
)
def test_the_slim_name(reference: str, tags: tuple[str, ...], slim: str) -> None:
    assert slim_reference(reference, tags) == slim


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app", "app:latest"),
        ("my/app.slim:2", "my/app.slim:2"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
    ],
)
def test_a_name_without_a_tag_is_the_latest(name: str, expected: str) -> None:
    assert with_tag(name) == expected


def test_everything_that_describes_the_image_is_kept_and_nothing_of_its_build_container() -> None:
    kept = image_config(IMAGE, ("sha256:aa",))["config"]
    dropped = {"Hostname", "AttachStdin", "Image", "MacAddress"}
    assert kept == {key: value for key, value in IMAGE.config.items() if key not in dropped}


def test_the_layers_the_platform_and_the_original_time() -> None:
    config = image_config(IMAGE, ("sha256:aa", "sha256:bb"))
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:aa", "sha256:bb"]}
    assert (config["architecture"], config["variant"], config["os"]) == ("arm64", "v8", "linux")
    assert config["created"] == IMAGE.created
    assert [line["created"] for line in config["history"]] == [IMAGE.created] * 2
    assert "variant" not in image_config(replace(IMAGE, variant=""), ())


def test_the_same_input_gives_the_same_configuration() -> None:
    other = replace(IMAGE, config=dict(reversed(IMAGE.config.items())))
    first, second = (json.dumps(image_config(image, ("d",)), sort_keys=True) for image in (IMAGE, other))
    assert first == second


@pytest.mark.parametrize(
    ("edits", "changes"),
    [
        (Edits(), {}),
        (Edits(entrypoint=("/new",)), {"Entrypoint": ["/new"], "Cmd": None, "ArgsEscaped": None}),
        (Edits(entrypoint=("/new",), cmd=("c",)), {"Entrypoint": ["/new"], "Cmd": ["c"], "ArgsEscaped": None}),
        (Edits(cmd=("c",)), {"Cmd": ["c"]}),
        (Edits(env={"A": "2", "NEW": "x", "EMPTY": None}), {"Env": ["PATH=/bin", "A=2", "NEW=x"]}),
        (Edits(labels={"l": None, "m": "2"}), {"Labels": {"m": "2"}}),
        (Edits(volumes=("/x", "-/data")), {"Volumes": {"/x": {}}}),
        (Edits(volumes=("-/data",)), {"Volumes": None}),
        (Edits(expose=("8080", "-53/udp")), {"ExposedPorts": {"80/tcp": {}, "8080/tcp": {}}}),
        (Edits(user="root", workdir="/"), {"User": "root", "WorkingDir": "/"}),
    ],
)
def test_edits_change_what_they_name_and_nothing_else(edits: Edits, changes: dict[str, object]) -> None:
    before, after = (image_config(IMAGE, ("d",), each)["config"] for each in (None, edits))
    expected = {key: value for key, value in {**before, **changes}.items() if value is not None}
    assert after == expected
