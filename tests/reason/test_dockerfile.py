"""A history, in each of the spellings that builders leave, becomes a Dockerfile again."""

import pytest

from slimtrace.facts.image import HistoryEntry, Image
from slimtrace.reason.dockerfile import reverse

HASH = "ab" * 32
HASHED = f"# the source, {{}}, is known by its hash only: sha256:{HASH}"
ELSEWHERE = "# the sources were relative to a build context or another stage: neither is part of the image"
GUESSED = "# run without a shell, or by docker commit: where its words begin and end is a guess"


def body(*lines: HistoryEntry | str) -> str:
    history = tuple(
        line if isinstance(line, HistoryEntry) else HistoryEntry(line, empty=True) for line in lines
    )
    text = reverse(Image(id="sha256:1", reference="app:1", history=history))
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


def test_without_history_the_configuration_speaks() -> None:
    image = Image(id="i", reference="r", config={"Env": ["A=b"], "Cmd": ["x"], "User": "u", "WorkingDir": "/w"})
    assert reverse(image).splitlines()[3:] == ["FROM scratch", "ENV A=b", "WORKDIR /w", "USER u", 'CMD ["x"]']


@pytest.mark.parametrize(
    "text", ["RUN \x1b[2J", "\x1b]0;x\x07", "COPY \u202ex /y", "RUN a\rb", "RUN", "|9", "|1 "]
)
def test_a_hostile_history_steers_no_terminal(text: str) -> None:
    shown = reverse(Image(id="i", reference="r\x1b", history=(HistoryEntry(text),)))
    assert all(char == "\n" or char.isprintable() for char in shown)
