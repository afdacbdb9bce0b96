"""What is proposed for an image from a capture of it: the files that stay, and the container's confinement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimtrace import codec
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.selection import Selection
from slimtrace.pipeline.request import Request
from slimtrace.reason.confine import apparmor, compose, docker_run, kubernetes, seccomp, selinux
from slimtrace.reason.confine import confinement as confining
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.packages import Owners, installed, trimmed_database
from slimtrace.reason.keep.packages.trimmed_database import Cut
from slimtrace.reason.keep.select import select_paths


@dataclass(frozen=True, slots=True)
class Proposal:
    """The decisions about a capture with the `repairs` that trials of earlier proposals have asked for. `cuts`
    say what the package databases lose; `seccomp` is the profile in Docker's form."""

    capture: Capture
    repairs: Repairs
    selection: Selection
    owners: Owners
    cuts: tuple[Cut, ...]
    confinement: Confinement
    seccomp: Mapping[str, Any]


def propose(capture: Capture, request: Request, repairs: Repairs | None = None) -> Proposal:
    """Decide which files stay and how the container is confined, by the capture and by `repairs`."""
    repairs = repairs or Repairs()
    rules = request.rules
    selection = select_paths(graph_builder.build_graph(capture, rules, repairs.paths), capture, rules)
    owners = Owners(installed(capture, selection.kept))
    return Proposal(
        capture=capture,
        repairs=repairs,
        selection=selection,
        owners=owners,
        cuts=trimmed_database.cuts(capture, selection, owners, rules),
        confinement=confining.derive_confinement(capture, selection, repairs, request.without),
        seccomp=seccomp.profile(capture, repairs, request.seccomp_action),
    )


def profile_files(proposal: Proposal, image: str, folder: Path) -> dict[str, str]:
    """The profiles and the files that show how to use them on `image`: their texts by file name. `folder` is
    where they will be written."""
    capture, confinement, repairs = proposal.capture, proposal.confinement, proposal.repairs
    policy = selinux.policy_name(capture.image)
    where = str(folder / "seccomp.json")
    return {
        "seccomp.json": seccomp.to_text(proposal.seccomp),
        "seccomp-reasons.txt": seccomp.reasons_text(seccomp.allowed_calls(capture, repairs)),
        "apparmor.profile": apparmor_profile(proposal, apparmor.profile_name(capture.image)),
        # semodule(8) calls a module by its file's name
        f"{policy}.cil": selinux.cil_policy(policy, capture, proposal.selection, confinement),
        "confinement.json": to_text(confinement),
        "docker-run.txt": docker_run.command_line(image, confinement, where),
        "compose.yaml": compose.service_yaml(image, confinement, "seccomp.json"),
        "kubernetes.yaml": kubernetes.pod_manifest(
            image, confinement, "seccomp.json", copier=capture.image.reference
        ),
        "repairs.json": to_text(repairs),
    }


def apparmor_profile(proposal: Proposal, name: str) -> str:
    """The text of the AppArmor profile, called `name`."""
    return apparmor.profile(name, proposal.capture, proposal.selection, proposal.confinement, proposal.repairs)


def to_text(value: Confinement | Repairs) -> str:
    """The value as the text of a JSON file, which `slimtrace verify` and `why` read again."""
    return json.dumps(codec.encode(value), indent=1) + "\n"
