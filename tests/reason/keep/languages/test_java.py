"""Java: all of a class path is kept, and the files that the JDK's own code loads after its start."""

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, FileUse, Origin, Use
from slimtrace.facts.selection import Reason, Why

from ...prove.runs import more
from ...trees import capture, read, selected

HOME = "/usr/lib/jvm/java-17"
JAVA = f"{HOME}/bin/java"
TREE = {
    "/usr/bin/java": f"link {JAVA}",
    JAVA: "elf 0755",
    "/app/classes/Main.class": "file",
    "/app/classes/deep/Lazy.class": "file",
    "/app/classes/deep/words.properties": "file",
    "/app/app.jar": "jar lib/a.jar lib/none.jar ../shared/%73ome.jar file:/opt/far.jar http://x/y.jar",
    "/app/lib/a.jar": "jar b.jar",
    "/app/lib/b.jar": "jar a.jar",
    "/app/lib/c.JAR": "jar",
    "/app/lib/notes.txt": "text",
    "/app/lib/deep/d.jar": "jar",
    "/app/other/x.txt": "file",
    "/app/log.conf": "text",
    "/shared/some.jar": "jar",
    "/opt/far.jar": "jar",
    "/opt/agent.jar": "jar",
    "/opt/libagent.so": "elf",
    "/app/options": 'text # an option\\n-cp "lib/a.jar"',
}
CLASSES = {
    f"/app/classes{name}" for name in ("", "/Main.class", "/deep", "/deep/Lazy.class", "/deep/words.properties")
}
PAIR = {"/app/lib/a.jar", "/app/lib/b.jar"}
ALL = PAIR | {f"/app/lib{name}" for name in ("", "/c.JAR", "/notes.txt", "/deep", "/deep/d.jar")}
FAR = PAIR | {"/app/app.jar", "/shared/some.jar", "/opt/far.jar"}


def run(*words: str, uses: tuple[FileUse, ...] = (), workdir: str = "/app", **env: str) -> Capture:
    config = {"WorkingDir": workdir, "Env": [f"{name}={value}" for name, value in env.items()]}
    start = Exec("/usr/bin/java", "", JAVA, 1, 0, argv=("java", *words))
    return capture(TREE, uses, [start], config)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Main", set()),
        ("-cp classes Main", CLASSES),
        ("-classpath /app/classes/ Main", CLASSES),
        ("--class-path classes Main", CLASSES),
        ("--class-path=classes Main", CLASSES),
        ("-cp none:classes:: Main", CLASSES),
        ("-cp lib/a.jar Main", PAIR),
        ("-cp lib/* Main", PAIR | {"/app/lib/c.JAR"}),
        ("-cp ../app/lib/* Main", PAIR | {"/app/lib/c.JAR"}),
        ("-jar app.jar", FAR),
        ("-Xmx1g -jar app.jar -cp classes", FAR),  # what comes after it is the program's own
        ("Main -cp classes", set()),
        ("-m x/Main -cp classes", set()),
        ("--add-modules x -cp classes Main", CLASSES),
        ("-p lib -m x/Main", ALL),
        ("--module-path=lib/c.JAR -m x", {"/app/lib/c.JAR"}),
        ("-javaagent:/opt/agent.jar=a=b,c Main", {"/opt/agent.jar"}),
        ("-agentpath:/opt/libagent.so=x Main", {"/opt/libagent.so"}),
        ("-Xbootclasspath/a:lib/c.JAR Main", {"/app/lib/c.JAR"}),
        ("-Dlog=/app/log.conf -Dx=y -Dz=/none Main", {"/app/log.conf"}),
        ("-Dlog=file:/app/log.conf Main", {"/app/log.conf"}),
        ("-Dloader.path=other -jar lib/c.JAR", {"/app/other", "/app/other/x.txt", "/app/lib/c.JAR"}),
        ("@options Main", PAIR | {"/app/options"}),
        ("-cp", set()),
    ],
)  # fmt: skip
def test_the_class_path(words: str, expected: set[str]) -> None:
    assert more(run(*words.split())) == expected


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"CLASSPATH": "classes"}, CLASSES),
        ({"JDK_JAVA_OPTIONS": "-Xmx1g '-javaagent:/opt/agent.jar'"}, {"/opt/agent.jar"}),
        ({"JAVA_TOOL_OPTIONS": "-javaagent:/opt/agent.jar"}, {"/opt/agent.jar"}),
        ({"JAVA_TOOL_OPTIONS": "an 'open quote -javaagent:/opt/agent.jar"}, set()),
    ],
)
def test_options_of_the_environment(env: dict[str, str], expected: set[str]) -> None:
    assert more(run("Main", **env)) == expected


def test_the_reason_is_the_manifest() -> None:
    chosen = selected(run("-jar", "app.jar", uses=(read("/app/app.jar"),)))
    assert Reason(Why.IMPORTED, "its manifest") in chosen.kept["/app/lib/a.jar"]
    assert chosen.doubts == ()


def test_a_class_path_is_relative_to_the_working_directories_of_the_process() -> None:
    hotspotrc = FileUse(Use.STAT, ".hotspotrc", "/app", pid=1, error=2)
    assert more(run("-cp", "classes", "Main", workdir="/")) == set()
    assert more(run("-cp", "classes", "Main", uses=(hotspotrc,), workdir="/")) == CLASSES


@pytest.mark.parametrize("element", ["/", "/usr/lib", "../usr", "/opt/.."])
def test_a_class_path_over_the_system_is_a_doubt(element: str) -> None:
    seen = run("-cp", element, "Main")
    assert more(seen) == set()
    assert [doubt.code for doubt in selected(seen).doubts] == ["class-path"]


def test_truncated_arguments_are_a_doubt() -> None:
    seen = run("-cp", "classes:" + "x" * 4080, "Main")
    assert more(seen) == CLASSES
    assert [doubt.code for doubt in selected(seen).doubts] == ["class-path"]


def test_a_java_that_was_executed_from_outside_counts_for_nothing() -> None:
    start = Exec("/usr/bin/java", "", JAVA, 2, 0, Origin.EXEC, argv=("java", "-cp", "classes", "Main"))
    config = {"WorkingDir": "/app", "Entrypoint": ["java"], "Env": ["PATH=/usr/bin"]}
    assert more(capture(TREE, (), [start], config, own_execs=(2,))) == set()


# -- the JDK

LATE = {f"{HOME}/lib/{name}" for name in ("libnet.so", "libzip.so", "jspawnhelper", "tzdb.dat", "jvm.cfg")}
LATE |= {f"{HOME}/conf/security/java.security", f"{HOME}/conf/logging.properties"}
LATE |= {f"{HOME}/conf/security/policy/unlimited/default.policy"}
JDK = {
    f"{HOME}/lib/server/libjvm.so": "elf soname=libjvm.so",
    f"{HOME}/lib/jspawnhelper": "elf 0755 interp=/none",
    **{path: "elf" if path.endswith(".so") else "file" for path in LATE if not path.endswith("helper")},
    f"{HOME}/lib/security/cacerts": "link /etc/ssl/certs/java/cacerts",
    "/etc/ssl/certs/java/cacerts": "file",
    f"{HOME}/lib/libawt.so": "elf",
    f"{HOME}/lib/libfontmanager.so": "elf needs=libfreetype.so.6",
    f"{HOME}/lib/libjdwp.so": "elf",
    f"{HOME}/lib/ct.sym": "file",
    f"{HOME}/bin/javac": "elf",
    f"{HOME}/jmods/java.base.jmod": "file",
    "/usr/lib/libfreetype.so.6": "elf",
}


def test_the_jdks_own_files_go_with_its_jvm() -> None:
    expected = LATE | {f"{HOME}/lib/security/cacerts", "/etc/ssl/certs/java/cacerts"}
    expected |= {f"{HOME}/conf/security/policy/unlimited"}
    assert more(capture(JDK, [read(f"{HOME}/lib/server/libjvm.so")])) == expected
    assert more(capture(JDK, [read(f"{HOME}/lib/libnet.so")])) == set()


def test_pictures_and_fonts_only_where_they_were_drawn() -> None:
    expected = {f"{HOME}/lib/libfontmanager.so", "/usr/lib/libfreetype.so.6"}
    assert more(capture(JDK, [read(f"{HOME}/lib/libawt.so")])) == expected


def test_the_layout_of_jdk_8() -> None:
    home = "/opt/jdk8/jre"
    late = {
        f"{home}/lib/amd64/libnet.so",
        f"{home}/lib/jce.jar",
        f"{home}/lib/ext/sunec.jar",
        f"{home}/lib/ext",
    }
    spec = {path: "elf" if path.endswith(".so") else "jar" for path in late if "." in path[-5:]}
    spec[f"{home}/lib/amd64/server/libjvm.so"] = "elf"
    spec[f"{home}/lib/amd64/libawt.so"] = "elf"
    assert more(capture(spec, [read(f"{home}/lib/amd64/server/libjvm.so")])) == late
