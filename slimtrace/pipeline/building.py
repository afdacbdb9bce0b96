"""The recipe of build: what was seen becomes a slim image, which is proven and handed over."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from slimtrace import signals, store
from slimtrace.assemble import archive, artifacts
from slimtrace.assemble.cut_files import replaced
from slimtrace.assemble.layer import Layer, Source, file_bytes, write_layer
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import FileTree
from slimtrace.pipeline.deciding import Proposal, profiles, propose
from slimtrace.pipeline.observing import Seen, see, start_loading
from slimtrace.pipeline.proving import Proof, Prover
from slimtrace.pipeline.reporting import places, report_of
from slimtrace.pipeline.request import Bench, Request, check, default_folder
from slimtrace.present.live import Screen
from slimtrace.reason.explain.report import Report, kept_files, to_text
from slimtrace.reason.image import dockerfile
from slimtrace.reason.image.image_config import image_config, slim_reference, tagged
from slimtrace.reason.keep import path_permissions, rules_file


@dataclass(frozen=True, slots=True)
class Made:
    """A slim image that was assembled: its layer, its image under a candidate's name, and the tree with the
    files as they are in it."""

    layer: Layer
    image: Image
    tree: FileTree


def build(request: Request, screen: Screen) -> Report:
    """Trace the image (or take captures of it), slim it, try the slim image, give it its name, write the
    artifacts."""
    with signals.deferred(), ExitStack() as stack:
        with signals.admitted():
            check(request)
            seen = see(request, ("decide", "assemble"), ("describe",), stack, screen)
            signals.admit()
            maker = Maker(request, seen.bench, stack, screen)
            proof = decide(request, seen, maker, stack, screen)
            made, tag = maker.made, slim_tag(request, seen.bench.image)
            assert made is not None
            with screen.phase("describe"):
                files = describe(request, proof.proposal, tag)
            signals.admit()
            stack.enter_context(seen.bench.engine.keeping(tag))
            seen.bench.engine.tag(made.image.id, tag)
        report = write(request, seen, proof, made, files, screen)
        signals.forget()  # it is done: what arrived meanwhile came too late
        return report


def decide(request: Request, seen: Seen, maker: "Maker", stack: ExitStack, screen: Screen) -> Proof:
    """What is proposed, made, and, where that is asked for, proven."""
    ready = start_loading(stack) if request.verify else None
    with screen.phase("decide"):
        capture = seen.capture()
        proposal = propose(capture, request)
    signals.admit()
    if not request.verify:
        return Proof(proposal, maker.make(proposal), None)
    return Prover(request, seen.bench, capture, maker.make, screen, ready).prove(proposal)


class Maker:
    """Assembles the images of proposals, under candidates' names that go at the end. `made` is the last."""

    def __init__(self, request: Request, bench: Bench, stack: ExitStack, screen: Screen) -> None:
        self._request = request
        self._bench = bench
        self._screen = screen
        self._name = stack.enter_context(bench.engine.candidates())
        self.made: Made | None = None

    def make(self, proposal: Proposal) -> Image:
        """The image of `proposal`, loaded."""
        bench = self._bench
        with self._screen.phase("assemble"):
            source, tree = replaced(bench.rootfs, bench.tree, proposal.cuts)
            layer, image = assemble(
                self._request, replace(bench, tree=tree), source, proposal.selection, self._name()
            )
            self._screen.kept(layer.file_bytes, layer.entries)
        # it is spoken of by the name that it is going to have
        self.made = Made(layer, replace(image, reference=slim_tag(self._request, bench.image)), tree)
        return self.made.image


def assemble(
    request: Request, bench: Bench, source: Source, selection: Selection, tag: str
) -> tuple[Layer, Image]:
    """Write the layer, load it with the image's configuration under the name `tag`."""
    image = bench.image
    tree = path_permissions.apply(bench.tree, request.rules.path_perms)
    size, largest = file_bytes(tree, selection.kept)
    name = f"the largest file is {printable(largest.path)}: --exclude-pattern leaves it out" if largest else ""
    bench.place.need(size + (64 << 20), bench.engine.info().root_dir, name)
    file = bench.place.path / "layer.tar"
    file.unlink(missing_ok=True)
    layer = write_layer(source, tree, selection.kept, file)
    config = image_config(image, (layer.diff_id,), request.edits)
    bench.engine.load(archive.archive(file, layer, config, [tag]))
    return layer, bench.engine.image(tag)


def describe(request: Request, proposal: Proposal, tag: str) -> dict[str, bytes | str]:
    """The artifacts beside the report, by file name."""
    with signals.deferred():  # a signal in the middle of an import gets lost
        from slimtrace.reason.explain.sbom import (
            sbom,  # its library takes 0.1 s to load, which no other verb needs
        )

    capture = proposal.capture
    return {
        **profiles(proposal, tag, folder_of(request, capture.image)),
        "rules.toml": rules_file.to_text(request.rules),
        "Dockerfile.fat": dockerfile.reverse(capture.image),
        "sbom.cdx.json": sbom(capture, tag, proposal.owners.owning(proposal.selection.kept)),
        **{f"capture/{name}": content for name, content in store.pack(capture).items()},
    }


def write(
    request: Request,
    seen: Seen,
    proof: Proof,
    made: Made,
    files: Mapping[str, bytes | str],
    screen: Screen,
) -> Report:
    """The report, and with it the folder of artifacts."""
    proposal = proof.proposal
    folder = folder_of(request, proposal.capture.image)
    kept = kept_files(proposal.selection, made.tree)
    where = places(folder, files) if request.keep_artifacts else {}
    report = report_of("build", seen, proof, made.image, kept, made.layer.doubts, where, screen)
    if request.keep_artifacts:
        artifacts.write(folder, {"creport.json": to_text(report), **files})
    return report


def folder_of(request: Request, image: Image) -> Path:
    """Where the artifacts go."""
    return request.artifacts or default_folder(image.reference)


def slim_tag(request: Request, image: Image) -> str:
    """The name of the slim image."""
    return tagged(request.tag) if request.tag else slim_reference(image.reference, image.tags)
