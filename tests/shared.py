"""Images that the workers of one test session share: built by the worker that asks first, removed after all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = "slimtrace-e2e"


def image_name(folder: Path, name: str) -> str:
    """A name for an image of this session; `folder` is the folder that its workers share."""
    tag = f"{REPOSITORY}/{name}:shared-{os.getpid()}"
    with (folder / "images").open("a") as listed:
        listed.write(f"{tag}\n")
    return tag


def remove_images(folder: Path) -> None:
    """Remove the images that got a name from `image_name`."""
    listed = folder / "images"
    if listed.exists():
        command = ["docker", "rmi", "--force", *listed.read_text().split()]
        subprocess.run(command, capture_output=True, check=False)
