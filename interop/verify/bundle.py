"""A bundle -> its proofs, made again here from its receipt.

The files are those of the receipt; the weights fill the module; the graph holds the same weights
and answers alike, in ONNX Runtime or another runtime. Where no module can be built, the answers
that the receipt recorded stand in for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import le
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from interop.errors import ModelError, ReadError
from interop.export import artifacts, bundle, documents, routes
from interop.export.options import ExportOptions
from interop.export.pipeline import GRAPH, WEIGHTS, ExportRun, Progress
from interop.export.weights import WrittenWeights
from interop.facts import (
    PROOFS,
    Answer,
    Case,
    Identity,
    Input,
    InputRole,
    Json,
    Proof,
    ProofName,
    Report,
    Skipped,
    outside,
)
from interop.facts.sections.export import VerifySection
from interop.gate.bundle import domain_of, sealed
from interop.identity import identify_file
from interop.identity.describe import describe
from interop.identity.user_facts import UserFacts
from interop.imprint import decided
from interop.models import programs
from interop.models.build_module import as_built
from interop.models.signature import BATCH, Forward, Signature, drawn
from interop.proof import Derived, Feed, same_weights, structure
from interop.proof.domain import beyond
from interop.rules import run as run_rules
from interop.runtimes import OnnxRuntime, OpenVinoRuntime
from interop.runtimes.base import Array, Runtime
from interop.runtimes.pytorch import require_torch_device

FILES, RECORDED = ProofName.FILES, ProofName.RECORDED_ANSWERS


def verify(
    folder: str | Path, options: ExportOptions | None = None, *, progress: Progress | None = None
) -> Report:
    """Makes the proofs of the bundle in `folder` again.

    `options` as for `export`: `factory` and `head` are the person's own code, which a receipt names
    and which is run only if it is given here again; `runtime` says where parity is proved. Raises
    ReadError where the folder holds no bundle or its receipt is no receipt.

    The outcome is YES where all proofs hold, NO where one does not, and UNKNOWN where a proof could
    not be made here (`skipped` says why).
    """
    options = options or ExportOptions()
    place = Path(folder)
    receipt = _receipt(place)
    require_torch_device(options.device)
    say = progress or (lambda step: None)
    say("comparing the files with the receipt")
    proofs = [sealed(str(place)) or Proof(FILES, False, "has no receipt")]
    if not proofs[0].holds:
        return _report(place, receipt, options, proofs)
    facts = UserFacts(arch=options.arch, preprocessing=options.measurable(options.data).stated)
    identity = identify_file(place, facts, content_hash=True, whole=True)
    program = _program(place, receipt, options)
    if options.factory is None and program is None:
        identity = as_built(identity, options.arch, strict=options.strict)
    if options.measures:
        identity = decided(
            identity, options.data, factory=options.factory, head=options.head, arch=options.arch,
            trust=options.trust, say=say,
        )  # fmt: skip
    own = identify_file(place / GRAPH).labels.names
    known = identity.labels.names
    if "disagree" in identity.labels.source or (own and known and tuple(own) != tuple(known)):
        where = identity.labels.source if "disagree" in identity.labels.source else GRAPH
        what = f"{where}: the bundle's files name other labels"
        proofs.append(Proof(ProofName.LABELS, False, what))
        return _report(place, receipt, options, proofs)
    work = ExportRun(identity, options, say, proofs=proofs, program=program)
    skipped: list[Skipped] = []
    try:
        _with_module(work, place, receipt)
    except ModelError as error:
        lacking = (ProofName.LOADED_FRACTION, ProofName.PARITY, ProofName.CANARY)
        why = str(error)
        if (receipt.get("source") or {}).get("container") in programs.PROGRAMS:
            why = "it was made of a program: pass --trust, with its file beside the bundle"
        skipped = [Skipped(n, why) for n in lacking]
        _without_module(work, place, receipt)
    if work.forward is not None:
        work.compare_inputs(artifacts.open_samples(options.data, work.identity), work.forward)
    return _report(place, receipt, options, work.proofs, skipped, work)


def is_bundle(path: str | Path) -> bool:
    """Whether a path is a folder with a receipt, or at least a folder without a graph of another
    name: what is wrong with it, `verify` then says."""
    folder = Path(path)
    return folder.is_dir() and (
        (folder / bundle.RECEIPT).exists() or not any(folder.glob("*.onnx"))
    )


# ---------------------------------------------------------------- the proofs


def _with_module(work: ExportRun, place: Path, receipt: Mapping[str, Json]) -> None:
    """All five proofs of the export, on the bundle's own files."""
    module = work.module()
    if not work.proofs[-1].holds:
        return
    forward = Forward(module, _signature(place, receipt))
    work.run_once(forward)
    work.forward = forward
    state, aliases = work.own_state(module)
    written_weights = WrittenWeights(_weights(place), state, aliases, {}, {})
    proofs, _, _ = work.prove(
        forward, Feed(forward.signature), written_weights, place, _derived(receipt),
        again=_sizes(work, forward, receipt),
    )  # fmt: skip
    work.proofs += sorted(proofs, key=lambda p: PROOFS.index(p.name))


def _program(place: Path, receipt: Mapping[str, Json], options: ExportOptions) -> Identity | None:
    """The file whose own program the bundle was made of: beside the bundle, or here.

    None if it was made of no program, or nobody trusts it, or the file is not there.
    """
    source = receipt.get("source") or {}
    if source.get("container") not in programs.PROGRAMS:
        return None
    name = Path(str(source.get("file"))).name
    for file in (place.resolve().parent / name, Path(name)):
        if file.is_file() and documents.file_sha256(file) == source.get("sha256"):
            identity = identify_file(file)
            # What opening it runs, a person has to trust; most .pt2 files run nothing.
            if options.trust or not programs.would_run(identity):
                return identity
    return None


def _without_module(work: ExportRun, place: Path, receipt: Mapping[str, Json]) -> None:
    """The weights of the graph, its structure, and the answers that were recorded."""
    model = place / GRAPH
    work.proofs.append(same_weights(model, _weights(place), _derived(receipt)))
    feed = Feed(_signature(place, receipt))
    # Nothing here says which tensors are parameters; that each is the checkpoint's is proved.
    sound, runtime, _ = structure(model, feed, device=work.options.device, weights=())
    work.proofs.append(sound)
    if runtime is None or not receipt.get("recorded"):
        return
    runtime.close()
    with open_runtime(work.options.runtime, model, work.options.device) as opened:
        work.proofs.append(_recorded(opened, feed, receipt))


def _weights(place: Path) -> Path:
    index = place / f"{WEIGHTS}.index.json"
    return index if index.exists() else place / WEIGHTS


def open_runtime(name: str, model: Path, device: str) -> Runtime:
    """The runtime in which parity is proved."""
    if name == "openvino":
        return OpenVinoRuntime(model, device)
    return OnnxRuntime(model, device, spin=False)


def _recorded(runtime: Runtime, feed: Feed, receipt: Mapping[str, Json]) -> Proof:
    """Proves "recorded answers": the graph gives what the module gave when it was exported."""
    start = perf_counter()
    named = {p["name"]: p["facts"] for p in receipt["proofs"]}
    parity = named.get(ProofName.PARITY, {"batches": {}})
    outputs = runtime.outputs(drawn(feed.signature, 1))
    wanted = receipt["recorded"]["outputs"]
    alike = max((b["allowed"] for b in parity["batches"].values()), default=0.0)
    bounds = parity.get("bounds") or [alike] * len(wanted)
    far = [_far(a, w) for a, w in zip(outputs, wanted, strict=False)]
    holds = len(outputs) == len(wanted) and all(map(le, far, bounds))
    # The output that is furthest beyond its bound, or nearest to it.
    pairs = zip(far, bounds, strict=False)
    worst, allowed = max(pairs, key=lambda p: p[0] - p[1], default=(float("inf"), alike))
    what = (
        f"outputs at most {worst:.1e} of the largest from those that were recorded "
        f"({allowed:.1e} allowed), in {runtime.name}"
    )
    return Proof(RECORDED, holds, what, {"allowed": allowed}, perf_counter() - start)


def _far(ours: Array, recorded: Mapping[str, Json]) -> float:
    if list(ours.shape) != recorded["shape"]:
        return float("inf")
    values = np.array(recorded["values"], dtype=np.float64)
    numbers = ours.reshape(-1)[: len(values)].astype(np.float64)
    difference = float(np.abs(numbers - values).max()) if len(values) else 0.0
    return difference / recorded["scale"] if recorded["scale"] else difference


# ---------------------------------------------------------------- the receipt


def _sizes(work: ExportRun, forward: Forward, receipt: Mapping[str, Json]) -> list[dict[str, int]]:
    """The sizes of named axes of which a receipt says that they hold, and for a person's own code,
    which may have changed, those at which it now goes another way."""
    takes = forward.signature
    if "domain" not in receipt:
        work.notes.append(
            "the receipt states no domain: beside the batches one other size of each open axis was "
            "tried; export again to have the sizes that the graph is proved for stated"
        )
        open_axes = {a for a in takes.varying if a in takes.others}
        sizes = {BATCH: 2, **takes.sizes, **{a: takes.others[a] for a in open_axes}}
        return [sizes] if open_axes else []
    (facts,) = (p["facts"] for p in receipt["proofs"] if p["name"] == ProofName.PARITY)
    domain = domain_of(work.identity.manifest.path, receipt)
    points = []
    for trial in facts.get("trials", ()):
        # What was within its bound at the export, and lies in the domain.
        kept = {axis: n for axis, n in trial["sizes"].items() if axis in (BATCH, *takes.varying)}
        shapes = {a.name: a.shape({**takes.sizes, **trial["sizes"]}) for a in takes.arguments}
        if trial["outcome"] == "same" and trial["allowed"] and not outside(domain, shapes):
            points.append({**takes.sizes, **kept})
    if work.options.factory:
        now = routes.guards_of(forward, Feed(takes), takes) or ()
        points += [sizes for sizes in beyond(takes, now, domain) if sizes not in points]
    return points


def _receipt(place: Path) -> dict[str, Any]:
    path = place / bundle.RECEIPT
    fix = "give a folder that interop export wrote"
    if not path.is_file():
        raise ReadError(f"has no {bundle.RECEIPT}: it is no bundle", where=str(place), fix=fix)
    try:
        receipt = json.loads(path.read_text("utf-8"))
        ours = receipt["schema"] == 1 and isinstance(receipt["files"], dict)
        ours = ours and isinstance(receipt["proofs"], list)
    except (ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ReadError("is no receipt of interop's", where=str(path), fix=fix)
    return dict(receipt)


def _signature(place: Path, receipt: Mapping[str, Json]) -> Signature:
    try:
        return Signature.from_json(receipt["signature"])
    except (KeyError, TypeError, ValueError):
        what = "does not say what the model takes"
        fix = "export it again with this version"
        raise ReadError(what, where=str(place / bundle.RECEIPT), fix=fix) from None


def _derived(receipt: Mapping[str, Json]) -> dict[str, Derived]:
    return {n: Derived(d["how"], d["sha256"]) for n, d in receipt.get("derived", {}).items()}


def _report(
    place: Path,
    receipt: Mapping[str, Json],
    options: ExportOptions,
    proofs: list[Proof],
    skipped: Sequence[Skipped] = (),
    work: ExportRun | None = None,
) -> Report:
    bad = [p for p in proofs if not p.holds]
    if bad:
        outcome, summary = Answer.NO, f"{place}: {bad[0].name} does not hold"
    elif skipped:
        outcome = Answer.UNKNOWN
        summary = f"{place}: {len(proofs)} proofs hold, and {len(skipped)} could not be made"
    else:
        outcome = Answer.YES
        summary = f"{place}: {len(proofs)} of {len(proofs)} proofs hold, in {options.runtime}"
    source = receipt.get("source") or {}
    assumed = work.identity.assumptions if work is not None else ()
    measured = work.measurements if work is not None else ()
    given = Input(InputRole.BUNDLE, str(place), f"made of {source.get('file')}", {"source": source})
    if work is not None:
        given = describe(InputRole.BUNDLE, work.identity)
    return Report(
        command="verify",
        outcome=outcome,
        summary=summary,
        inputs=(given,),
        findings=run_rules(Case(assumptions=assumed, measurements=measured))[0],
        measurements=measured,
        proofs=tuple(proofs),
        skipped=tuple(skipped),
        environment=documents.environment() | {"device": options.device},
        details=VerifySection(
            runtime=options.runtime,
            made_by=receipt.get("made_by"),
            source=source,
            domain=domain_of(str(place), receipt)
            if "domain" in receipt and proofs[0].holds
            else (),
            notes=tuple(work.notes) if work is not None else (),
        ),
    )
