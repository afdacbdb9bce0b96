"""The recipe of profile: the security profiles alone, proven on the image itself."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from slimtrace import signals, store
from slimtrace.assemble import artifacts
from slimtrace.pipeline.observation import observe_or_load, start_loading
from slimtrace.pipeline.proof import Proof, Prover
from slimtrace.pipeline.proposal import profile_files, propose
from slimtrace.pipeline.reporting import artifact_paths, make_report
from slimtrace.pipeline.request import Request, check, default_folder
from slimtrace.present.screen import Screen
from slimtrace.reason.explain.report import Report, to_text


def profile(request: Request, screen: Screen) -> Report:
    """Trace the image (or load captures of it), derive its profiles, run it under them, write the artifacts."""
    with signals.deferred(), ExitStack() as stack:
        with signals.delivered():
            if request.reference and request.artifacts is None:
                request = replace(request, artifacts=profiles_folder(request.reference))
            check(request)
            observation = observe_or_load(request, ("decide",), (), stack, screen)
            first_recorder = start_loading(stack) if request.verify else None
            image = observation.opened.image
            with screen.phase("decide"):
                capture = observation.capture()
                proof = Proof(propose(capture, request), image, None)
            signals.deliver_pending()
            if request.verify:
                prover = Prover(request, observation.opened, capture, lambda _: image, screen, first_recorder)
                proof = prover.prove(proof.proposal)
        folder = request.artifacts or profiles_folder(image.reference)
        files: dict[str, bytes | str] = {
            **profile_files(proof.proposal, image.reference, folder),
            **{f"capture/{name}": content for name, content in store.pack(capture).items()},
        }
        report = make_report(
            "profile", observation, proof, image, (), (), artifact_paths(folder, files), screen
        )
        artifacts.write(folder, {"creport.json": to_text(report), **files})
        signals.discard_pending()  # the artifacts are written: a signal that arrived meanwhile came too late
        return report


def profiles_folder(reference: str) -> Path:
    """The folder for the profiles of an image: beside the folder of its build's artifacts."""
    folder = default_folder(reference)
    return folder.with_name(f"{folder.name}.profiles")
