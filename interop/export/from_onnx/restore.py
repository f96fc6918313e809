"""An ONNX graph of a known architecture -> its state dict as safetensors, proved against the graph.

The way back: what is written loads strictly into the architecture, and that answers as the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from interop.errors import InteropError, ModelError
from interop.export import documents, weights
from interop.export.from_onnx import match
from interop.export.from_onnx.match import BUILT, Found, Recovered, WantedTensor
from interop.export.introspect import tied_names
from interop.facts import Answer, Identity, InputRole, Json, Port, Proof, ProofName, Report, Skipped
from interop.facts.sections.export import ExportSection
from interop.files import Staging
from interop.identity import identify
from interop.identity.assumed import assumption
from interop.identity.describe import describe
from interop.identity.index import lookup as indexes
from interop.identity.index.match import is_name
from interop.models import build, catalog, load
from interop.models.build_module import call_by_path
from interop.models.infer_signature import signature
from interop.models.libraries.transformers import build as transformers
from interop.models.libraries.transformers.build import described
from interop.models.load_weights import same_bits
from interop.models.signature import Forward, seeded
from interop.models.weights import state_dict
from interop.proof import Feed, canary, parity, reference
from interop.reading import read
from interop.runtimes import OnnxRuntime

__all__ = ["Restored", "restore", "restore_file"]

PROOFS = (ProofName.LOADED_FRACTION, ProofName.SAME_WEIGHTS, ProofName.PARITY, ProofName.CANARY)
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Restored:
    """A state dict that was recovered, and what it was recovered as."""

    state: dict[str, torch.Tensor]
    found: dict[str, Found]
    unclaimed: list[str]
    arch: str
    evidence: str

    @property
    def steps(self) -> dict[str, int]:
        """How many tensors each step found."""
        return Recovered(self.state, self.found).steps


def restore(identity: Identity, *, arch: str | None = None, factory: str | None = None) -> Restored:
    """The state dict that an ONNX graph was exported from; not yet proved.

    The architecture is, in this order, `arch`, `factory` (the person's own code, which is run),
    what the tensors tell, what the graph's metadata say, what config.json beside it says. Raises
    ModelError where it is none of these, is unknown here, or is not what the graph holds.
    """
    if identity.manifest.container != "onnx":
        what = f"is {identity.manifest.container}, no ONNX graph: its weights need no recovering"
        fix = "use interop port to rename them, or give the .onnx file"
        raise ModelError(what, where=identity.manifest.path, fix=fix)
    identity = _with_config(identity)
    name, evidence = _architecture(identity, arch, factory)
    if factory:
        wanted = _of_factory(factory)
    elif name.startswith("transformers/") and described(identity):
        wanted = _of_config(identity, name)
    else:
        wanted = _of_library(name)
    recovered = match.recover(identity, wanted)
    made = [n for n in wanted.shapes if match.is_made_by_code(n)]
    lacking = [n for n in made if n not in recovered.state]
    _build_the_rest(recovered, lacking, name, factory)
    state = {n: recovered.state[n] for n in wanted.shapes if n in recovered.state}
    return Restored(state, recovered.found, recovered.unclaimed, name, evidence)


def restore_file(
    identity: Identity,
    out: str | Path,
    *,
    arch: str | None = None,
    factory: str | None = None,
    device: str = "cpu",
    force: bool = False,
) -> Report:
    """Writes the state dict of an ONNX graph to `out` (.safetensors), and proves it.

    The report's outcome is YES with the file written, or NO with nothing written: "loaded fraction"
    (what was written loads strictly), "same weights" (each is the graph's, bit for bit after the
    stated step), "parity" (the module answers as the graph at batch 1, 2 and 3) and "canary".
    `details` holds `arch`, `steps` (how many tensors each step found), `constants` (initialisers of
    the graph that are no weight of the architecture) and `files`. The file has the same bytes on
    every run. Raises InteropError where `out` is taken, and what `restore` raises.
    """
    target = Path(out).resolve()
    _check_target(target, Path(identity.manifest.file), force)
    start = perf_counter()
    restored = restore(identity, arch=arch, factory=factory)
    recovered = perf_counter() - start
    with Staging(target, "choose another -o") as staging:
        weights.write(staging.path, restored.state, _metadata(identity, restored, factory))
        proofs = _proofs(identity, staging.path, restored, factory, device)
        holds = all(p.holds for p in proofs)
        if holds:
            staging.commit()
    spent = recovered, perf_counter() - start - recovered
    return _report(identity, restored, proofs, target if holds else None, device, spent)


# ---------------------------------------------------------------- which architecture


def _architecture(identity: Identity, arch: str | None, factory: str | None) -> tuple[str, str]:
    """(its name, how that is known)."""
    if arch:
        return _full(arch, "--arch"), "--arch"
    if factory:
        return factory, "--model"
    if (config_json := described(identity)) and config_json.get("architectures"):
        return f"transformers/{config_json['architectures'][0]}", "config.json"
    if identity.architecture:
        return identity.architecture, identity.architectures[0].evidence
    stated = identity.manifest.metadata.get("arch")
    if isinstance(stated, str):
        return _full(stated, identity.manifest.path), "the graph's metadata"
    config = _config(Path(identity.manifest.file).parent / "config.json")
    if config:
        return _full(config, "config.json"), "config.json"
    if (made := assumption(identity)) is not None:
        return made.value, "its weights, as the plain one of several; parity shows whether it is"
    several = ", ".join(a.name for a in identity.architectures)
    raise ModelError(
        f"several architectures have these weights ({several})" if several
        else "no file says of which architecture the graph is",
        where=identity.manifest.path,
        fix="name it with --arch library/name, or give --model package.module:factory",
    )  # fmt: skip


def _config(path: Path) -> str:
    """What a config.json calls the architecture: ours, or timm's; "" where it says nothing."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(document, dict):
        return ""
    if isinstance(document.get("arch"), str):
        return str(document["arch"])
    own = document.get("architecture")
    return f"timm/{own}" if isinstance(own, str) else ""


def _full(claim: str, where: str) -> str:
    """The library's full name of what was said; the first library that has it."""
    known = indexes.load().by_name
    if claim in known:
        return claim
    order = list(catalog.LIBRARIES)
    names = sorted((n for n in known if is_name(claim, n)),
                   key=lambda n: (order.index(n.partition("/")[0]), len(n), n))  # fmt: skip
    if not names:
        what = f"{claim!r} names no architecture that is known here"
        fix = "name another with --arch library/name, or give --model package.module:factory"
        raise ModelError(what, where=where, fix=fix)
    return names[0]


def _of_library(name: str) -> WantedTensor:
    entry = catalog.entry(name)
    shapes = {n: tuple(s) for n, s in dict(entry.shapes).items()}
    return WantedTensor(name, shapes, tuple(path for path, _ in entry.heads), entry.optional)


def _with_config(identity: Identity) -> Identity:
    """The identity with the config.json that lies beside the graph, if one does."""
    path = Path(identity.manifest.file).parent / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return identity
    manifest = identity.manifest
    metadata = {**manifest.metadata, "config.json": config}
    return replace(identity, manifest=replace(manifest, metadata=metadata))


def _of_config(identity: Identity, name: str) -> WantedTensor:
    """A class of transformers in the sizes that its config.json has; tied weights once."""
    module, _ = transformers.build(identity, name.partition("/")[2])
    state, _ = weights.untied(module.state_dict(), tied_names(module))
    return WantedTensor(name, {n: tuple(t.shape) for n, t in state.items()})


def _of_factory(factory: str) -> WantedTensor:
    module = call_by_path(factory)
    if not isinstance(module, nn.Module):
        raise ModelError(f"gave {type(module).__name__}, no torch.nn.Module", where=factory)
    return WantedTensor(factory, {n: tuple(t.shape) for n, t in module.state_dict().items()})


def _build_the_rest(
    recovered: Recovered, lacking: list[str], name: str, factory: str | None
) -> None:
    """Adds what follows from the architecture alone: counters as zeros, indices as it has them."""
    for key in [n for n in lacking if n.endswith("num_batches_tracked")]:
        recovered.state[key] = torch.zeros((), dtype=torch.int64)
        recovered.found[key] = Found("", False, BUILT)
    rest = [n for n in lacking if n not in recovered.state]
    if rest:
        module = call_by_path(factory) if factory else catalog.module(name)
        own = module.state_dict()
        recovered.state.update((n, own[n].detach().clone()) for n in rest)
        recovered.found.update((n, Found("", False, BUILT)) for n in rest)


# ---------------------------------------------------------------- the proofs


def _proofs(
    identity: Identity, file: Path, restored: Restored, factory: str | None, device: str
) -> list[Proof]:
    """Those that could be made: the first that does not hold ends them."""
    arch = None if factory else restored.arch
    written = identify(
        read(str(file)), arch=arch, labels=identity.labels, preprocessing=identity.preprocessing
    )
    if (config := _with_config(identity).manifest.metadata.get("config.json")) is not None:
        about = {**written.manifest.metadata, "config.json": config}
        written = replace(written, manifest=replace(written.manifest, metadata=about))
    module = _built(written, identity, factory)
    proofs = [load(module, written), _same(identity, written, restored)]
    if not all(p.holds for p in proofs):
        return proofs
    model = Path(identity.manifest.file)
    with OnnxRuntime(model, device, spin=False) as runtime:
        forward, feed = _fed(identity, module)
        expected = reference(forward, feed, shapes=runtime.input_shapes, device=device)
        proofs.append(parity(expected, runtime))
    if proofs[-1].holds:
        head = written.head.tensors if written.head else ()
        named = {restored.found[n].weight for n in head if n in restored.found}
        proofs.append(canary(model, expected, head=named, device=device))
    return proofs


def _built(written: Identity, graph: Identity, factory: str | None) -> nn.Module:
    """The module; an error is of the graph, as nobody knows of the file that is not there yet."""
    try:
        return build(written, factory=factory)
    except ModelError as error:
        where = graph.manifest.path if error.where == written.manifest.path else error.where
        raise ModelError(error.what, where=where, fix=error.fix, rule=error.rule) from None


def _same(identity: Identity, written: Identity, restored: Restored) -> Proof:
    """Each written tensor against the graph's, both read a second time."""
    start = perf_counter()
    given = match.initialisers(identity)
    again = state_dict(written.tensors, str(written.manifest.file))
    wrong = [
        n for n, f in restored.found.items()
        if f.weight and not same_bits(again[n], match.undone(given[f.weight], f))
    ]  # fmt: skip
    steps = restored.steps
    turned = sum(f.turned for f in restored.found.values())
    facts: dict[str, Json] = {
        "steps": steps,
        "transposed": turned,
        "constants": len(restored.unclaimed),
        "faults": dict.fromkeys(wrong, "differs"),
    }
    if wrong:
        what = f"{len(wrong)} tensors are not the graph's: {', '.join(wrong[:_SHOWN])}"
    else:
        listed = "; ".join(f"{step}: {count}" for step, count in steps.items())
        what = f"all {len(restored.found)} tensors are the graph's or follow from it ({listed})"
        what += f"; {turned} turned round" if turned else ""
    return Proof(ProofName.SAME_WEIGHTS, not wrong, what, facts, perf_counter() - start)


def _fed(identity: Identity, module: nn.Module) -> tuple[nn.Module, Feed]:
    """The module as a function of tensors, and seeded inputs of the graph's own shape.

    Where that has open axes, their sizes are as the module's own kind has them.
    """
    graph = identity.manifest.graph
    ports: tuple[Port, ...] = graph.inputs if graph else ()
    shape = ports[0].shape[1:] if len(ports) == 1 else ()
    fixed = [d for d in shape if isinstance(d, int)]
    if len(fixed) == len(shape) and shape and ports[0].dtype.startswith("float"):
        feed = Feed.of(seeded(fixed))
    else:
        feed = Feed(signature(identity, module))
    return Forward(module, feed.signature), feed


# ---------------------------------------------------------------- what is written and said


def _metadata(identity: Identity, restored: Restored, factory: str | None) -> dict[str, str]:
    about = documents.metadata(identity)
    about.pop("arch", None)
    named: Mapping[str, str] = {} if factory else {"arch": restored.arch}
    return {"format": "pt", **about, **named}


def _check_target(target: Path, source: Path, force: bool) -> None:
    if target.is_dir():
        raise InteropError("is a folder", where=str(target), fix="name a file with -o")
    beside = {p.resolve() for p in source.resolve().parent.iterdir() if p.suffix == ".safetensors"}
    if target in beside and (source.parent / "interop.json").exists():
        what = "belongs to the bundle that the graph is of"
        raise InteropError(what, where=str(target), fix="choose another -o")
    if target.exists() and not force:
        fix = "replace it with --force, or give another name with -o"
        raise InteropError("exists", where=str(target), fix=fix)


def _report(
    identity: Identity,
    restored: Restored,
    proofs: list[Proof],
    target: Path | None,
    device: str,
    seconds: tuple[float, float],
) -> Report:
    bad = next((p for p in proofs if not p.holds), None)
    there = {p.name for p in proofs}
    shown = str(target) if target else None
    given = describe(InputRole.GRAPH, identity)
    facts = {**given.facts, "content_sha256": identity.manifest.content_sha256}
    given = replace(given, facts=facts)
    section = ExportSection(
        bundle=shown,
        arch=restored.arch,
        arch_evidence=restored.evidence,
        steps=restored.steps,
        constants=tuple(restored.unclaimed),
        files={target.name: target.stat().st_size} if target else {},
        notes=(_counted(restored),),
        conversion_seconds=seconds[0],
        proof_seconds=seconds[1],
    )
    return Report(
        command="export",
        outcome=Answer.NO if bad else Answer.YES,
        summary=f"nothing written: {bad.name} does not hold" if bad
        else f"{shown}: {len(proofs)} of {len(PROOFS)} proofs hold",
        inputs=(given,),
        proofs=tuple(proofs),
        skipped=tuple(
            Skipped(name, f"{bad.name} does not hold") for name in PROOFS if name not in there
        ) if bad else (),
        environment=documents.environment() | {"device": device},
        details=section,
    )  # fmt: skip


def _counted(restored: Restored) -> str:
    counters = sum(f.step == BUILT for f in restored.found.values())
    sentence = f"the state dict is {restored.arch}'s ({restored.evidence})"
    if counters:
        sentence += f"; {counters} tensors that no graph holds (counters, indices) are made anew"
    return sentence
