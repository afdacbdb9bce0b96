"""A history, in each of the spellings that builders leave, becomes a Dockerfile again."""

import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.reason.image.dockerfile import find_base, reconstruct

HASH = "ab" * 32
HASHED = f"# the source, {{}}, is known by its hash only: sha256:{HASH}"
ELSEWHERE = "# the sources were relative to a build context or another stage: neither is part of the image"
UNSURE = "# where one value ends and the next begins is a guess"
GUESSED = "# run without a shell, or by docker commit: where its words begin and end is a guess"


def body(*lines: HistoryEntry | str) -> str:
    history = tuple(
        line if isinstance(line, HistoryEntry) else HistoryEntry(line, empty=True) for line in lines
    )
    text = reconstruct(Image(id="sha256:1", reference="app:1", history=history))
    return "\n".join(line for line in text.splitlines()[3:] if line)


@pytest.mark.parametrize(
    ("history", "dockerfile"),
    [
        ('/bin/sh -c #(nop)  CMD ["node" "a \\"b\\".js"]', 'CMD ["node", "a \\"b\\".js"]'),
        ('CMD ["a", "b"]', 'CMD ["a", "b"]'),
        ("CMD []", "CMD []"),
        ('/bin/sh -c #(nop)  ENTRYPOINT ["jq"]', 'ENTRYPOINT ["jq"]'),
        ("/bin/sh -c #(nop)  ENV A=b", "ENV A=b"),
        ("/bin/sh -c #(nop)  ENV A=b c", 'ENV A="b c"'),
        ("/bin/sh -c #(nop) WORKDIR /app", "WORKDIR /app"),
        ("/bin/sh -c #(nop)  EXPOSE 80", "EXPOSE 80"),
        ("EXPOSE map[80/tcp:{} 53/udp:{}]", "EXPOSE 80/tcp 53/udp"),
        ("/bin/sh -c #(nop)  VOLUME [/data /x]", "VOLUME /data /x"),
        ('VOLUME ["/data"]', 'VOLUME ["/data"]'),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|2 A=b C=d e /bin/sh -c make", "# with build argument A=b\n# with build argument C=d e\nRUN make"),
        ("RUN |1 V=1 /bin/sh -c make # buildkit", "# with build argument V=1\nRUN make"),
        ("RUN /bin/sh -c make install # buildkit", "RUN make install"),
        ("RUN a &&     b # keep this\n    && c", "RUN a &&     b # keep this \\\n    && c"),
        (
            "COPY . /app # buildkit",
            f"{ELSEWHERE}\nCOPY . /app",
        ),
        (
            f"/bin/sh -c #(nop) COPY file:{HASH} in /etc/x ",
            f"{HASHED.format('a file')}\nCOPY {HASH[:12]} /etc/x",
        ),
        (
            f"/bin/sh -c #(nop) ADD --chown=1:1 dir:{HASH} in / ",
            f"{HASHED.format('a directory')}\nADD --chown=1:1 {HASH[:12]} /",
        ),
        (
            'HEALTHCHECK &{["CMD" "curl" "-f" "x"] "30s" "0s" "5s" \'\\x03\'}',
            'HEALTHCHECK --interval=30s --start-period=5s --retries=3 CMD ["curl", "-f", "x"]',
        ),
        ('HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}', "HEALTHCHECK NONE"),
        ("bazel build ...", "# bazel build ..."),
    ],
)
def test_each_spelling(history: str, dockerfile: str) -> None:
    assert body("CMD x", history) == f"FROM scratch\nCMD x\n{dockerfile}"


def test_an_import_is_named_as_the_base_that_it_is() -> None:
    imported = HistoryEntry("", comment="Imported from -", size=12)
    assert (
        body(imported, "/bin/sh -c x") == "# Imported from -, 12 bytes: not known further\nFROM scratch\nRUN x"
    )


def test_layers_show_their_size() -> None:
    assert body("CMD x", HistoryEntry("/bin/sh -c y", size=7)).endswith("# 7 bytes\nRUN y")


def test_without_history_the_configuration_gives_the_instructions() -> None:
    image = Image(id="i", reference="r", config={"Env": ["A=b"], "Cmd": ["x"], "User": "u", "WorkingDir": "/w"})
    assert reconstruct(image).splitlines()[3:] == [
        "FROM scratch",
        "ENV A=b",
        "WORKDIR /w",
        "USER u",
        'CMD ["x"]',
    ]


BUILDKIT = [
    # as the official images have them
    ("# debian.sh --arch 'amd64' out/ 'bookworm'", "# # debian.sh --arch 'amd64' out/ 'bookworm'"),
    ("ADD rootfs.tar.xz / # buildkit", f"{ELSEWHERE}\nADD rootfs.tar.xz /"),
    ("COPY --chown=1:1 --chmod=755 a b /c/ # buildkit", f"{ELSEWHERE}\nCOPY --chown=1:1 --chmod=755 a b /c/"),
    ("COPY <<EOF /etc/motd # buildkit", f"{ELSEWHERE}\nCOPY <<EOF /etc/motd"),
    ("RUN /bin/sh -c set -eux; \t\tmake; # buildkit", "RUN set -eux; \t\tmake;"),
    (
        "RUN |2 A=b C=d e /bin/sh -c make # buildkit",
        "# with build argument A=b\n# with build argument C=d e\nRUN make",
    ),
    ("RUN |1 A= /bin/sh -c make # buildkit", "# with build argument A=\nRUN make"),
    ("RUN make all # buildkit", f'{GUESSED}\nRUN ["make", "all"]'),
    ("RUN /bin/sh -c set -e\nmake\n # buildkit", "RUN <<EOF\nset -e\nmake\nEOF"),
    ("RUN /bin/sh -c echo EOF\nEOF\n # buildkit", "RUN <<EOF1\necho EOF\nEOF\nEOF1"),
    ("RUN /bin/sh -c cat <<X >/a\nb\nX # buildkit", "RUN cat <<X >/a\nb\nX"),
    ("RUN /bin/sh -c a \\\n  && b # buildkit", "RUN a \\\n  && b"),
    ("ENV PATH=/usr/bin:/bin", "ENV PATH=/usr/bin:/bin"),
    ("ENV A=1 B=2", f"{UNSURE}\nENV A=1 B=2"),
    ("LABEL maintainer=Some One <one@example.org>", 'LABEL maintainer="Some One <one@example.org>"'),
    ("EXPOSE [80/tcp 53/udp]", "EXPOSE 80/tcp 53/udp"),
    ("SHELL [/bin/bash -o pipefail -c]", 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]'),
    ("ARG V=1", "ARG V=1"),
    ("ARG A=1 B=2", "ARG A=1 B=2"),
    ("ARG A=x y", 'ARG A="x y"'),
    ("ARG A", "ARG A"),
    ("WORKDIR /a b$c", "WORKDIR /a b\\$c"),
    ("STOPSIGNAL SIGQUIT", "STOPSIGNAL SIGQUIT"),
    (
        'CMD ["\\x1b[2J" "\\u202e" "\\U0001f600" "\\xff" "\\a"]',
        'CMD ["\\u001b[2J", "\\u202e", "\U0001f600", "\\udcff", "\\u0007"]',
    ),
    (
        'HEALTHCHECK &{["CMD-SHELL" "curl \\"x\\" || exit 1"] "5m0s" "3s" "0s" "1s" \'\\n\'}',
        'HEALTHCHECK --interval=5m0s --timeout=3s --start-interval=1s --retries=10 CMD curl "x" || exit 1',
    ),
    ('HEALTHCHECK &{["CMD" "x"] "0s" "0s" "0s" "0s" \' \'}', 'HEALTHCHECK --retries=32 CMD ["x"]'),
    ("HEALTHCHECK &{broken", "HEALTHCHECK &{broken"),
    ("jib-gradle-plugin:3.4.0", "# jib-gradle-plugin:3.4.0"),
    ("/usr/bin/server --port 80", "# /usr/bin/server --port 80"),
]


@pytest.mark.parametrize(("history", "dockerfile"), BUILDKIT)
def test_each_spelling_of_other_builders(history: str, dockerfile: str) -> None:
    image = Image(id="i", reference="r", history=(HistoryEntry("CMD x", empty=True), HistoryEntry(history)))
    lines = [line for line in reconstruct(image).splitlines() if line and not line.startswith("# syntax=")]
    assert "\n".join(lines[3:]) == f"FROM scratch\nCMD x\n{dockerfile}"


def test_a_here_document_needs_a_builder_that_knows_it() -> None:
    image = Image(id="i", reference="r", history=(HistoryEntry("RUN /bin/sh -c a\nb\n # buildkit"),))
    assert reconstruct(image).startswith("# syntax=docker/dockerfile:1\n")
    image = Image(id="i", reference="r", history=(HistoryEntry("RUN /bin/sh -c a # buildkit"),))
    assert "syntax" not in reconstruct(image)


def test_the_configuration_tells_which_spaces_are_a_value_s_own() -> None:
    config = {
        "Env": ["A=b C=d", "E=f"],
        "Labels": {"one": "two three=four"},
        "Volumes": {"/a b": {}, "/c": {}},
        "Shell": ["/bin/my shell", "-c"],
    }
    lines = ("ENV A=b C=d E=f", "LABEL one=two three=four", "VOLUME [/a b /c]", "SHELL [/bin/my shell -c]")
    history = tuple(HistoryEntry(line, empty=True) for line in (*lines, "RUN /bin/my shell -c x # buildkit"))
    assert reconstruct(Image(id="i", reference="r", config=config, history=history)).splitlines()[4:] == [
        'ENV A="b C=d" E=f',
        'LABEL one="two three=four"',
        "",
        UNSURE,
        'VOLUME ["/a b", "/c"]',
        'SHELL ["/bin/my shell", "-c"]',
        "RUN x",
    ]


def test_a_classic_history_without_a_shell() -> None:
    assert (
        body("/bin/sh -c #(nop)  CMD []", "true a b")
        == f'FROM scratch\nCMD []\n{GUESSED}\nRUN ["true", "a", "b"]'
    )


def test_build_arguments_that_equal_their_default_are_not_noted() -> None:
    lines = ("ARG V=1 2", "ARG W=3", "RUN |2 V=1 2 W=4 /bin/sh -c make # buildkit")
    assert body(*lines) == 'FROM scratch\nARG V="1 2"\nARG W=3\n# with build argument W=4\nRUN make'


def test_triggers_that_only_the_configuration_has() -> None:
    history = (HistoryEntry("ONBUILD RUN base", empty=True), HistoryEntry("ONBUILD RUN a", empty=True))
    image = Image(id="i", reference="r", config={"OnBuild": ["RUN a", "COPY . /x"]}, history=history)
    assert [line for line in reconstruct(image).splitlines()[4:] if line] == [
        "# not in force any more: it was for images built from a base of this one",
        "# ONBUILD RUN base",
        "ONBUILD RUN a",
        "ONBUILD COPY . /x",
    ]


FIRST, SECOND = HistoryEntry("RUN /bin/sh -c base # buildkit", size=5), HistoryEntry("USER x", empty=True)
BASE = Image("sha256:b", "base:1", layers=("l1",), history=(FIRST,), config={"Shell": ["/bin/zsh", "-c"]})


def test_the_base_that_is_known_is_named() -> None:
    last = HistoryEntry("RUN /bin/zsh -c mine # buildkit", size=3)
    image = Image("sha256:i", "app:1", layers=("l1", "l2"), history=(FIRST, last))
    assert find_base(image, [BASE]) is BASE
    assert reconstruct(image, BASE).splitlines()[2:] == [
        "# base:1 is the local image that this one begins with: its instructions are not repeated.",
        "FROM base:1",
        "",
        "# 3 bytes",
        "RUN mine",
    ]


def test_which_image_is_the_base() -> None:
    image = Image(
        "sha256:i", "app:1", layers=("l1", "l2"), history=(FIRST, SECOND, HistoryEntry("RUN y", size=1))
    )
    nearer = Image("sha256:n", "near:1", layers=("l1",), history=(FIRST, SECOND))
    others = [
        Image("sha256:1", "same:1", layers=image.layers, history=image.history),
        Image("sha256:2", "longer:1", layers=("l1", "l2"), history=(*image.history, SECOND)),
        Image("sha256:3", "other:1", layers=("l0",), history=(FIRST,)),
        Image("sha256:4", "told:1", layers=("l1",), history=(HistoryEntry("RUN other", size=5),)),
        Image("sha256:5", "empty:1"),
    ]
    assert find_base(image, [BASE, nearer, *others]) is nearer
    assert find_base(image, [nearer, BASE, *others]) is nearer
    assert find_base(image, others) is None


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.text(max_size=40) | st.sampled_from([line for line, _ in BUILDKIT]), max_size=4),
    st.text(max_size=9),
)
def test_any_history_makes_a_dockerfile_that_steers_no_terminal(lines: list[str], name: str) -> None:
    shown = reconstruct(Image(id="i", reference=name, history=tuple(map(HistoryEntry, lines))))
    assert all(char in "\n\t" or char.isprintable() for char in shown)
    assert shown.startswith("# ")


@pytest.mark.parametrize(
    "line",
    [
        "ENV " + "A= " * 100_000,
        "ENV " + "=" * 100_000,
        "VOLUME [" + "a " * 100_000 + "]",
        "|9999 " + "A=b " * 100_000,
        "|9999 " + "A" * 300_000,
        "RUN " + "EOF\n" * 100_000,
        'CMD ["' + "\\" * 200_000,
        "HEALTHCHECK &{[" + '"' * 100_001 + "] " + "1" * 100_000 + "}",
        "HEALTHCHECK &{[] " + "'" * 100_000,
        "/bin/sh -c #(nop) " * 20_000,
    ],
    ids=lambda line: line[:20],
)
def test_a_forged_history_takes_no_time(line: str) -> None:
    begun = time.process_time()
    reconstruct(Image(id="i", reference="r", history=(HistoryEntry(line), HistoryEntry(line))))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "text", ["RUN \x1b[2J", "\x1b]0;x\x07", "COPY \u202ex /y", "RUN a\rb", "RUN", "|9", "|1 "]
)
def test_a_hostile_history_steers_no_terminal(text: str) -> None:
    shown = reconstruct(Image(id="i", reference="r\x1b", history=(HistoryEntry(text),)))
    assert all(char in "\n\t" or char.isprintable() for char in shown)
