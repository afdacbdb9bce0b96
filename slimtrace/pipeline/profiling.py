"""The recipe of profile: the profiles alone, proven on the image itself."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from slimtrace import signals, store
from slimtrace.assemble import artifacts
from slimtrace.pipeline.deciding import profiles, propose
from slimtrace.pipeline.observing import see, start_loading
from slimtrace.pipeline.proving import Proof, Prover
from slimtrace.pipeline.reporting import places, report_of
from slimtrace.pipeline.request import Request, check, default_folder
from slimtrace.present.live import Screen
from slimtrace.reason.explain.report import Report, to_text


def profile(request: Request, screen: Screen) -> Report:
    """Trace the image (or take captures of it), write its profiles, run it under them, write the artifacts."""
    with signals.deferred(), ExitStack() as stack:
        with signals.admitted():
            if request.reference and request.artifacts is None:
                request = replace(request, artifacts=profiles_folder(request.reference))
            check(request)
            seen = see(request, ("decide",), (), stack, screen)
            ready = start_loading(stack) if request.verify else None
            image = seen.bench.image
            with screen.phase("decide"):
                capture = seen.capture()
                proof = Proof(propose(capture, request), image, None)
            signals.admit()
            if request.verify:
                prover = Prover(request, seen.bench, capture, lambda _: image, screen, ready)
                proof = prover.prove(proof.proposal)
        folder = request.artifacts or profiles_folder(image.reference)
        files: dict[str, bytes | str] = {
            **profiles(proof.proposal, image.reference, folder),
            **{f"capture/{name}": content for name, content in store.pack(capture).items()},
        }
        report = report_of("profile", seen, proof, image, (), (), places(folder, files), screen)
        artifacts.write(folder, {"creport.json": to_text(report), **files})
        signals.forget()  # it is done: what arrived meanwhile came too late
        return report


def profiles_folder(reference: str) -> Path:
    """Where the profiles of an image go: beside the artifacts of its build."""
    folder = default_folder(reference)
    return folder.with_name(f"{folder.name}.profiles")
