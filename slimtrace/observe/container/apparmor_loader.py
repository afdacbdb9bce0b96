"""AppArmor profiles of a trial: loaded into the kernel for the trial, removed after it.

The profiles have names of their own, so that a profile which the user has loaded for the image stays as it is.
They are loaded into the kernel of this machine: an engine on another machine does not see them.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slimtrace import owner
from slimtrace.errors import Exit, SlimtraceError

ENABLED = Path("/sys/module/apparmor/parameters/enabled")  # Y or N; not there without AppArmor in the kernel
PROFILES = Path("/sys/kernel/security/apparmor/profiles")  # "NAME (MODE)" a line
PARSER = "apparmor_parser"
SECONDS = 120.0  # for compiling a large profile on a busy machine
_NAME = re.compile(r"slimtrace-trial-(\d+)-(\d+)")


def trial_name() -> str:
    """The name that a profile must have for a trial of this process."""
    return f"slimtrace-trial-{owner.current().replace(':', '-')}"


def unavailable() -> str:
    """The reason why no profile can be loaded on this machine; "" where one can."""
    try:
        if ENABLED.read_text().strip() != "Y":
            return "AppArmor is off in this kernel"
    except OSError:
        return "this kernel has no AppArmor"
    if not PROFILES.exists():
        return "/sys/kernel/security/apparmor is not there"
    return "" if shutil.which(PARSER) else f"{PARSER} is not installed"


@contextmanager
def loaded(name: str, text: str) -> Iterator[bool]:
    """Load the profile `text`, whose name is `name`, and remove it at the end of the block. Yields whether the
    profile is loaded, which it is not where `unavailable` gives a reason. Raises SlimtraceError where the
    parser or the kernel refuses the profile."""
    if unavailable():
        yield False
        return
    try:
        _parse("--replace", text)
        yield name in names()
    finally:
        remove(name)


def names() -> frozenset[str]:
    """The names of the profiles that the kernel has loaded."""
    try:
        lines = PROFILES.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.rpartition(" (")[0] for line in lines)


def remove(name: str) -> None:
    """Remove a profile from the kernel, if it is loaded; a process that it still confines goes on
    unconfined."""
    if name in names():
        _parse("--remove", f'profile "{name}" {{}}\n')


def sweep() -> int:
    """Remove the trial profiles of processes that are gone; the number of profiles removed."""
    removed = 0
    for name in names():
        match = _NAME.fullmatch(name)
        if match and not owner.alive(f"{match[1]}:{match[2]}"):
            with suppress(SlimtraceError):  # a profile that stays does no harm
                remove(name)
                removed += 1
    return removed


def _parse(option: str, text: str) -> None:
    try:
        done = subprocess.run(
            [PARSER, option, "--skip-cache"],
            input=text.encode(),
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlimtraceError(f"cannot run {PARSER}: {error}", "install the package apparmor") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        doing = "load" if option == "--replace" else "remove"
        raise SlimtraceError(
            f"cannot {doing} an AppArmor profile: {said}", "run slimtrace as root", Exit.INTERNAL
        )
