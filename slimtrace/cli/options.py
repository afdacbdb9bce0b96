"""The options of the command line, each described once for every verb that has it."""

from pathlib import Path
from typing import Annotated

import typer

ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="Name or id of an image of the local engine.")]
Pull = Annotated[bool, typer.Option("--pull", help="Pull the image first.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")
]
Tag = Annotated[str, typer.Option(metavar="NAME", help="Name of the slim image. [default: IMAGE.slim]")]
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="CAPTURE",
        help="Take this capture of the image instead of running it. May be repeated: they are merged.",
    ),
]
ContinueAfter = Annotated[
    str,
    typer.Option(
        metavar="WHEN",
        help="When the container has shown enough: probe (every port was visited and nothing new happens, "
        "or it ended), exit, enter, or a number of seconds.",
    ),
]
HttpProbe = Annotated[bool, typer.Option(help="Ask GET / of every TCP port as soon as it listens.")]
HostExec = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CMD",
        help="Shell command to run on this host against the container, which is described in "
        "SLIMTRACE_ADDRESS, SLIMTRACE_PORT, SLIMTRACE_PORTS, SLIMTRACE_PID and SLIMTRACE_CONTAINER. "
        "May be repeated.",
    ),
]
Exec = Annotated[
    list[str] | None,
    typer.Option(
        "--exec",
        metavar="CMD",
        help="Command to run inside the container; what it needs itself stays out of the slim image. "
        "May be repeated.",
    ),
]
ReadyTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for a port or an end.")
]
StopTimeout = Annotated[
    int, typer.Option(metavar="SECONDS", min=1, help="How long the container may take to stop.")
]
Entrypoint = Annotated[
    str | None, typer.Option(metavar="CMD", help="Run it with another entrypoint while tracing.")
]
Cmd = Annotated[str | None, typer.Option(metavar="ARGS", help="Run it with other arguments while tracing.")]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set a variable while tracing. May be repeated."),
]
User = Annotated[str, typer.Option("--user", "-u", metavar="USER", help="Run it as another user.")]
Workdir = Annotated[str, typer.Option("--workdir", "-w", metavar="DIR", help="Run it in another directory.")]
Volume = Annotated[
    list[str] | None,
    typer.Option("--volume", "-v", metavar="SOURCE:PATH", help="Mount a volume. May be repeated."),
]
Network = Annotated[str, typer.Option(metavar="NAME", help="Connect it to this network.")]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Options from this file; what the command line says is added to its lists and wins otherwise. "
        "[default: ./slimtrace.toml, if there]",
    ),
]
Keep = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="How far to go beyond what was seen: exact (what the linker and #! lines need), closure (also "
        "what the code in use names, and what the system loads on demand), package (also the whole packages "
        "of what was used).",
    ),
]
IncludePath = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Keep this file or directory with all below. May be repeated."),
]
IncludePathFile = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Keep the paths in this file, one a line, as PATH or PATH:MODE#UID#GID. May be repeated.",
    ),
]
IncludeBin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="Keep the program or shared library at this path with all it needs. May be repeated.",
    ),
]
IncludeExe = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Keep the program that the image's PATH finds by this name with all it needs. May be repeated.",
    ),
]
IncludeShell = Annotated[bool, typer.Option("--include-shell", help="Keep the image's shell.")]
IncludeWorkdir = Annotated[
    bool, typer.Option("--include-workdir", help="Keep the image's WORKDIR with all below.")
]
ExcludePattern = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Drop what matches, ** crossing directories. May be repeated."),
]
PreservePath = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH", help="Keep this with all below, whatever --exclude-pattern says. May be repeated."
    ),
]
PathPerms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH:MODE#UID#GID",
        help="Give a kept path other permissions; each of the three may be left out. May be repeated.",
    ),
]
PackageDatabase = Annotated[
    str,
    typer.Option(
        "--package-db",
        metavar="WHAT",
        help="The package databases (dpkg, apk, rpm, languages') in the slim image: trimmed to the packages of "
        "which something is kept, full, or none.",
    ),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for the artifacts. [default: slimtrace-artifacts/IMAGE]"),
]
RemoveFileArtifacts = Annotated[
    bool, typer.Option("--remove-file-artifacts", help="Write no artifacts, only the image.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 13 when the result has doubts.")]
Verify = Annotated[
    bool,
    typer.Option(help="Run the slim image under its profiles, compare it with the fat one, and repair it."),
]
Rounds = Annotated[
    int, typer.Option(metavar="N", min=0, max=20, help="How many times it may be repaired and tried again.")
]
Tolerance = Annotated[
    float,
    typer.Option(metavar="SHARE", min=0, max=1, help="The share of an answer that may differ, 0 to 1."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MEASURE",
        help="Do not confine it by this: seccomp, capabilities, no-new-privileges, read-only or apparmor. May "
        "be repeated.",
    ),
]
SeccompAction = Annotated[
    str,
    typer.Option(
        metavar="ACTION",
        help="What the seccomp profile does with a call that it does not allow: errno (it fails), kill (the "
        "process ends) or log (it is allowed, and logged).",
    ),
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the capture.")]
BuiltImage = Annotated[str, typer.Argument(metavar="IMAGE", help="The image, as build was told it.")]
BuiltArtifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        help="Folder of the build's artifacts. [default: slimtrace-artifacts/IMAGE]",
    ),
]
Files = Annotated[bool, typer.Option("--files", help="List each path that went.")]
AnswerJson = Annotated[
    bool, typer.Option("--json", help="Print the answer as JSON on stdout, and nothing else there.")
]
AskedPath = Annotated[
    str, typer.Argument(metavar="PATH", help="A path in the image; one that is not absolute is below WORKDIR.")
]
AskedArtifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        help="Folder of the build's artifacts, or a capture. [default: slimtrace-artifacts/IMAGE]",
    ),
]
WithFiles = Annotated[
    bool,
    typer.Option("--files/--no-files", help="Read the layers: copies, hidden bytes, setuid files, packages."),
]
