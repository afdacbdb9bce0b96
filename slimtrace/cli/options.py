"""Arguments and options of single verbs; those that several verbs share are in slimtrace/settings/groups.py."""

from pathlib import Path
from typing import Annotated

import typer

ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="Name or id of an image of the local engine.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")
]
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="CAPTURE",
        help="Take this capture of the image instead of running it. May be repeated: they are merged.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Options from this file; what the command line says is added to its lists and wins otherwise. "
        "[default: ./slimtrace.toml, if there]",
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
