"""The options that verbs share, by subject: how a container is run, which files are selected, how the result is
tried, where it goes. Each is described here and nowhere else; slimtrace.toml has a table for each subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from slimtrace.settings.option import Described, Option, described

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the container is run and driven while it is traced."""

    continue_after: Annotated[
        str,
        Option(
            "When the container has shown enough: probe (every port was visited and nothing new happens, "
            "or it ended), exit, enter, or a number of seconds.",
            metavar="WHEN",
            moment=True,
        ),
    ] = "probe"
    http_probe: Annotated[bool, Option("Ask GET / of every TCP port as soon as it listens.")] = True
    host_exec: Annotated[
        Texts,
        Option(
            "Shell command to run on this host against the container, which is described in "
            "SLIMTRACE_ADDRESS, SLIMTRACE_PORT, SLIMTRACE_PORTS, SLIMTRACE_PID and SLIMTRACE_CONTAINER. "
            "May be repeated.",
            metavar="CMD",
        ),
    ] = ()
    exec_: Annotated[
        Texts,
        Option(
            "Command to run inside the container; what it needs itself stays out of the slim image. "
            "May be repeated.",
            metavar="CMD",
        ),
    ] = ()
    ready_timeout: Annotated[
        float, Option("How long to wait for a port or an end.", metavar="SECONDS", least=1)
    ] = 60
    stop_timeout: Annotated[
        int, Option("How long the container may take to stop.", metavar="SECONDS", least=1)
    ] = 10
    entrypoint: Annotated[
        str | None, Option("Run it with another entrypoint while tracing.", metavar="CMD")
    ] = None
    cmd: Annotated[str | None, Option("Run it with other arguments while tracing.", metavar="ARGS")] = None
    env: Annotated[
        Texts, Option("Set a variable while tracing. May be repeated.", metavar="NAME=VALUE", short="-e")
    ] = ()
    user: Annotated[str, Option("Run it as another user.", metavar="USER", short="-u")] = ""
    workdir: Annotated[str, Option("Run it in another directory.", metavar="DIR", short="-w")] = ""
    volume: Annotated[Texts, Option("Mount a volume. May be repeated.", metavar="SOURCE:PATH", short="-v")] = ()
    network: Annotated[str, Option("Connect it to this network.", metavar="NAME")] = ""


@dataclass(frozen=True, slots=True)
class RecordOptions(RunOptions):
    """How a container is run and driven that is only recorded. Without `continue_after` the recording of an
    image ends as with "probe", that of a container which runs already as with "exit"."""

    continue_after: Annotated[
        str,
        Option("As for build. [default: probe for an image, else until Ctrl-C or its end]", metavar="WHEN"),
    ] = ""


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """Which files stay in the slim image."""

    keep: Annotated[
        str,
        Option(
            "How far to go beyond what was seen: exact (what the linker and #! lines need), closure (also "
            "what the code in use names, and what the system loads on demand), package (also the whole "
            "packages of what was used).",
            metavar="HOW",
        ),
    ] = "closure"
    include_path: Annotated[
        Texts, Option("Keep this file or directory with all below. May be repeated.", metavar="PATH")
    ] = ()
    include_path_file: Annotated[
        tuple[Path, ...],
        Option(
            "Keep the paths in this file, one a line, as PATH or PATH:MODE#UID#GID. May be repeated.",
            metavar="FILE",
        ),
    ] = ()
    include_bin: Annotated[
        Texts,
        Option(
            "Keep the program or shared library at this path with all it needs. May be repeated.",
            metavar="PATH",
        ),
    ] = ()
    include_exe: Annotated[
        Texts,
        Option(
            "Keep the program that the image's PATH finds by this name with all it needs. May be repeated.",
            metavar="NAME",
        ),
    ] = ()
    include_shell: Annotated[bool, Option("Keep the image's shell.")] = False
    include_workdir: Annotated[bool, Option("Keep the image's WORKDIR with all below.")] = False
    exclude_pattern: Annotated[
        Texts, Option("Drop what matches, ** crossing directories. May be repeated.", metavar="GLOB")
    ] = ()
    preserve_path: Annotated[
        Texts,
        Option("Keep this with all below, whatever --exclude-pattern says. May be repeated.", metavar="PATH"),
    ] = ()
    path_perms: Annotated[
        Texts,
        Option(
            "Give a kept path other permissions; each of the three may be left out. May be repeated.",
            metavar="PATH:MODE#UID#GID",
        ),
    ] = ()
    package_db: Annotated[
        str,
        Option(
            "The package databases (dpkg, apk, rpm, languages') in the slim image: trimmed to the packages of "
            "which something is kept, full, or none.",
            metavar="WHAT",
        ),
    ] = "trimmed"


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """How two runs are compared, and under which measures the second one is."""

    tolerance: Annotated[
        float,
        Option("The share of an answer that may differ, 0 to 1.", metavar="SHARE", least=0, most=1),
    ] = 0.0
    without: Annotated[
        Texts,
        Option(
            "Do not confine it by this: seccomp, capabilities, no-new-privileges, read-only or apparmor. May "
            "be repeated.",
            metavar="MEASURE",
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How the result is tried before it is handed over."""

    verify: Annotated[
        bool, Option("Run the slim image under its profiles, compare it with the fat one, and repair it.")
    ] = True
    rounds: Annotated[
        int, Option("How many times it may be repaired and tried again.", metavar="N", least=0, most=20)
    ] = 3
    comparison: ComparisonOptions = ComparisonOptions()
    seccomp_action: Annotated[
        str,
        Option(
            "What the seccomp profile does with a call that it does not allow: errno (it fails), kill (the "
            "process ends) or log (it is allowed, and logged).",
            metavar="ACTION",
        ),
    ] = "errno"


@dataclass(frozen=True, slots=True)
class ProfileTrialOptions(TrialOptions):
    """How profiles are tried on the image that they are made for."""

    verify: Annotated[bool, Option("Run the image under its profiles, and repair them.")] = True


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Where the image comes from."""

    pull: Annotated[bool, Option("Pull the image first.")] = False


@dataclass(frozen=True, slots=True)
class NamingOptions:
    """What the slim image is called."""

    tag: Annotated[str, Option("Name of the slim image. [default: IMAGE.slim]", metavar="NAME")] = ""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a build leaves behind, and when it counts as failed."""

    artifacts: Annotated[
        Path | None,
        Option("Folder for the artifacts. [default: slimtrace-artifacts/IMAGE]", metavar="DIR"),
    ] = None
    remove_file_artifacts: Annotated[bool, Option("Write no artifacts, only the image.")] = False
    pulling: PullOptions = PullOptions()
    strict: Annotated[bool, Option("Exit with code 13 when the result has doubts.")] = False


def _table(*groups: type) -> Mapping[str, Described]:
    return {option.key: option for group in groups for option in described(group)}


TABLES: Mapping[str, Mapping[str, Described]] = {
    "build": _table(NamingOptions, OutputOptions),
    "proof": _table(TrialOptions),
    "rules": _table(SelectionOptions),
    "exercise": _table(RunOptions),
}
"""The tables of slimtrace.toml: the options of ``slimtrace build`` by table and key. A key is in one table."""
