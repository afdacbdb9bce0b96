"""The recipe of build: from an observation a slim image is made and proven; then it gets its name."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from slimtrace import signals, store
from slimtrace.assemble import archive, artifacts
from slimtrace.assemble.cut_files import apply_cuts
from slimtrace.assemble.layer import Layer, Source, file_bytes, write_layer
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import FileTree
from slimtrace.pipeline.observation import Observation, observe_or_load, start_loading
from slimtrace.pipeline.proof import Proof, Prover
from slimtrace.pipeline.proposal import Proposal, profile_files, propose
from slimtrace.pipeline.reporting import artifact_paths, make_report
from slimtrace.pipeline.request import OpenedImage, Request, check, default_folder
from slimtrace.present.screen import Screen
from slimtrace.reason.explain.report import Report, kept_files, to_text
from slimtrace.reason.image import dockerfile
from slimtrace.reason.image.image_config import image_config, slim_reference, with_tag
from slimtrace.reason.keep import path_permissions, rules_file


@dataclass(frozen=True, slots=True)
class AssembledImage:
    """A slim image that was assembled: its layer, the image as the engine has it (called by the name that it is
    going to have), and the tree with the files as they are in the layer."""

    layer: Layer
    image: Image
    tree: FileTree


def build(request: Request, screen: Screen) -> Report:
    """Trace the image (or load captures of it), slim it, try the slim image, give it its name, write the
    artifacts."""
    with signals.deferred(), ExitStack() as stack:
        with signals.delivered():
            check(request)
            observation = observe_or_load(request, ("decide", "assemble"), ("describe",), stack, screen)
            signals.deliver_pending()
            assembler = Assembler(request, observation.opened, stack, screen)
            proof = propose_and_prove(request, observation, assembler, stack, screen)
            slim, tag = assembler.latest, slim_tag(request, observation.opened.image)
            assert slim is not None
            with screen.phase("describe"):
                files = artifact_files(request, proof.proposal, tag)
            signals.deliver_pending()
            stack.enter_context(observation.opened.engine.restoring_tag(tag))
            observation.opened.engine.tag(slim.image.id, tag)
        report = write_artifacts(request, observation, proof, slim, files, screen)
        signals.discard_pending()  # the image is made: a signal that arrived meanwhile came too late
        return report


def propose_and_prove(
    request: Request, observation: Observation, assembler: "Assembler", stack: ExitStack, screen: Screen
) -> Proof:
    """Propose a slim image, assemble it and, unless the request is not to verify, prove it."""
    first_recorder = start_loading(stack) if request.verify else None
    with screen.phase("decide"):
        capture = observation.capture()
        proposal = propose(capture, request)
    signals.deliver_pending()
    if not request.verify:
        return Proof(proposal, assembler.assemble(proposal), None)
    prover = Prover(request, observation.opened, capture, assembler.assemble, screen, first_recorder)
    return prover.prove(proposal)


class Assembler:
    """Assembles the images of proposals, under temporary names that are removed at the end. `latest` is the
    image assembled last."""

    def __init__(self, request: Request, opened: OpenedImage, stack: ExitStack, screen: Screen) -> None:
        self._request = request
        self._opened = opened
        self._screen = screen
        self._new_name = stack.enter_context(opened.engine.candidates())
        self.latest: AssembledImage | None = None

    def assemble(self, proposal: Proposal) -> Image:
        """Assemble the image of `proposal` and load it into the engine."""
        opened = self._opened
        with self._screen.phase("assemble"):
            source, tree = apply_cuts(opened.rootfs, opened.tree, proposal.cuts)
            layer, image = assemble(
                self._request, replace(opened, tree=tree), source, proposal.selection, self._new_name()
            )
            self._screen.show_kept(layer.file_bytes, layer.entries)
        # messages call the image by the name that it is going to have
        self.latest = AssembledImage(
            layer, replace(image, reference=slim_tag(self._request, opened.image)), tree
        )
        return self.latest.image


def assemble(
    request: Request, opened: OpenedImage, source: Source, selection: Selection, tag: str
) -> tuple[Layer, Image]:
    """Write the layer, and load it with the image's configuration under the name `tag`."""
    image = opened.image
    tree = path_permissions.apply(opened.tree, request.rules.path_perms)
    size, largest = file_bytes(tree, selection.kept)
    name = f"the largest file is {printable(largest.path)}: --exclude-pattern leaves it out" if largest else ""
    opened.place.require_space(size + (64 << 20), opened.engine.info().root_dir, name)
    file = opened.place.path / "layer.tar"
    file.unlink(missing_ok=True)
    layer = write_layer(source, tree, selection.kept, file)
    config = image_config(image, (layer.diff_id,), request.edits)
    return layer, opened.engine.load_as(tag, lambda: archive.stream(file, layer, config, [tag]))


def artifact_files(request: Request, proposal: Proposal, tag: str) -> dict[str, bytes | str]:
    """The artifacts other than the report: their contents by file name."""
    with signals.deferred():  # an Interrupted raised in the middle of an import gets lost
        from slimtrace.reason.explain.sbom import (
            cyclonedx_json,  # imports its library in 0.1 s, which no other verb needs
        )

    capture = proposal.capture
    return {
        **profile_files(proposal, tag, artifacts_folder(request, capture.image)),
        "rules.toml": rules_file.to_text(request.rules),
        "Dockerfile.fat": dockerfile.reconstruct(capture.image),
        "sbom.cdx.json": cyclonedx_json(capture, tag, proposal.owners.owning(proposal.selection.kept)),
        **{f"capture/{name}": content for name, content in store.pack(capture).items()},
    }


def write_artifacts(
    request: Request,
    observation: Observation,
    proof: Proof,
    slim: AssembledImage,
    files: Mapping[str, bytes | str],
    screen: Screen,
) -> Report:
    """Make the report and, where artifacts are wanted, write it with `files` into their folder."""
    proposal = proof.proposal
    folder = artifacts_folder(request, proposal.capture.image)
    kept = kept_files(proposal.selection, slim.tree)
    where = artifact_paths(folder, files) if request.keep_artifacts else {}
    report = make_report("build", observation, proof, slim.image, kept, slim.layer.doubts, where, screen)
    if request.keep_artifacts:
        artifacts.write(folder, {"creport.json": to_text(report), **files})
    return report


def artifacts_folder(request: Request, image: Image) -> Path:
    """The folder for the artifacts of the image's build."""
    return request.artifacts or default_folder(image.reference)


def slim_tag(request: Request, image: Image) -> str:
    """The name of the slim image."""
    return with_tag(request.tag) if request.tag else slim_reference(image.reference, image.tags)
