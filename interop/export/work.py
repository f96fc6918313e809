"""One export under way: module -> routes -> proofs -> documents, and the report of it."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from interop.check.inputs import describe
from interop.errors import ModelError
from interop.export import bundle, documents, graph, routes, weights
from interop.export.decisions import decisions
from interop.facts import Answer, Identity, Json, Proof, Report, Skipped
from interop.models import build, load
from interop.proof import Derived, canary, parity, reference, same_weights, structure
from interop.reading import read

WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
PROOFS = ("loaded fraction", "same weights", "parity", "canary", "structure")
Progress = Callable[[str], None]
# What ONNX Runtime has few operators for, and what to do instead.
LACKING = {
    torch.bfloat16: "it has few operators for bfloat16: save the checkpoint in float32 or float16",
    torch.float64: "it has few operators for float64: save the checkpoint in float32",
}


@dataclass(frozen=True, slots=True)
class Made:
    """What the route that held gave."""

    route: routes.Route
    opset: int
    derived: dict[str, Json]
    input_shape: tuple[int | str, ...]


@dataclass(slots=True)
class Work:
    """The proofs, attempts and times that a report is made of."""

    identity: Identity
    device: str
    factory: str | None
    head: str | None
    progress: Progress
    proofs: list[Proof] = field(default_factory=list)
    attempts: list[dict[str, str]] = field(default_factory=list)
    details: dict[str, Json] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decided: tuple[str, ...] | None = None
    source_sha256: str = ""
    proving: list[float] = field(default_factory=lambda: [0.0, 0.0])
    start: tuple[float, float] = field(default_factory=lambda: (perf_counter(), process_time()))

    def module(self) -> nn.Module:
        """The module with the checkpoint's weights, and the first proof."""
        self.progress("building the module")
        module = build(self.identity, factory=self.factory, head=self.head)
        if getattr(module, "transform_input", None) is False:
            self.notes.append(
                "transform_input is off, as in the bare constructor; a model that was fine-tuned "
                "from torchvision's own weights has it on, and no state dict tells"
            )
        self.progress("loading the weights")
        self.proofs = [self.proved(load, module, self.identity)]
        return module

    def proved(self, proof: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Runs a proof on the proofs' clock."""
        began = perf_counter(), process_time()
        try:
            return proof(*args, **options)
        finally:
            self.proving[0] += perf_counter() - began[0]
            self.proving[1] += process_time() - began[1]

    def convert(
        self, module: nn.Module, pictures: NDArray[np.float32], kind: str, folder: Path
    ) -> Made | None:
        """Takes one route after the other until all proofs hold; None where none does."""
        source = self.identity.manifest
        if source.content_sha256 is None:
            source = read(source.path, content_hash=True)
        self.source_sha256 = source.content_sha256 or ""
        state = module.state_dict()
        about = documents.metadata(self.identity)
        places = weights.write(folder / WEIGHTS, state, {"format": "pt", **about})
        example = torch.from_numpy(pictures[np.arange(2) % len(pictures)]).to(_dtype(module))
        failed: list[Proof] = []
        for route in routes.ROUTES:
            self.progress(f"converting ({route.name})")
            if not route.dynamo and (found_at := self.decides(module, example)):
                why = (
                    f"the module decides in Python on its input's values ({', '.join(found_at)}), "
                    "which a trace would fix for good: write it with torch.where"
                )
                self.attempts.append({"route": route.name, "why": why})
                continue
            with _uncollected():
                try:
                    model, decided = routes.convert(module, example, route)
                except Exception as error:  # an exporter may raise anything
                    self.attempts.append({"route": route.name, "why": routes.why(error)})
                    continue
                shape = _dims(model)
                opset = model.opset_imports.get("", 0)
                derived = graph.write(
                    model, folder / GRAPH, state, places, WEIGHTS, about, folds=route.folds
                )
                del model
            found, hopeless = self.prove(module, pictures, kind, folder, derived)
            if all(p.holds for p in found):
                self.proofs += found
                if decided:
                    self.notes.append(
                        "tracing fixed what the module decides in Python on its input's shape, as "
                        f"in the tried ones: {', '.join(decided)}"
                    )
                accounts = {n: {"how": d.how, "sha256": d.sha256} for n, d in derived.items()}
                return Made(route, opset, accounts, shape)
            why = next(p.what for p in found if not p.holds)
            self.attempts.append({"route": route.name, "why": why})
            failed = failed or found
            if hopeless:
                break
        if not failed:
            self.runs_natively(module, example)
            tried = "; ".join(f"{a['route']}: {a['why']}" for a in self.attempts)
            failed = [Proof("structure", False, f"no exporter route takes the module: {tried}")]
        self.proofs += failed
        return None

    def prove(
        self,
        module: nn.Module,
        pictures: NDArray[np.float32],
        kind: str,
        folder: Path,
        derived: Mapping[str, Derived],
    ) -> tuple[list[Proof], bool]:
        """The four proofs of a graph, and whether no other route could do better."""
        model = folder / GRAPH
        self.progress("proving the weights and the structure")
        same = self.proved(
            same_weights, model, folder / WEIGHTS, derived, state=module.state_dict()
        )
        sound, runtime = self.proved(
            structure, model, pictures, width=documents.width(self.identity), device=self.device
        )
        if runtime is None:
            lacking = _dtype(module) in LACKING
            if lacking:
                sound = replace(sound, what=f"{sound.what}; {LACKING[_dtype(module)]}")
            return [same, sound], lacking
        with runtime:
            self.progress("proving parity")
            held = self.proved(
                reference, module, pictures, input_shape=runtime.input_shape,
                device=self.device, samples=kind,
            )  # fmt: skip
            alike = self.proved(parity, held, runtime)
        found = [same, alike, sound]
        finite = all(np.isfinite(o).all() for outputs in held.native for o in outputs)
        hopeless = held.unsteady or not finite
        if all(p.holds for p in found):
            self.progress("trying the comparison itself")
            names = self.identity.head.tensors if self.identity.head else ()
            sharp = self.proved(canary, model, held, head=names, device=self.device)
            found.insert(2, sharp)
            return found, not sharp.holds
        return found, hopeless

    def decides(self, module: nn.Module, example: torch.Tensor) -> tuple[str, ...]:
        """Where the module decides on its input's values; looked for once."""
        if self.decided is None:
            try:
                self.decided = decisions(module, example)
            except Exception:  # the module fails, as the exporter will say
                self.decided = ()
        return self.decided

    def runs_natively(self, module: nn.Module, example: torch.Tensor) -> None:
        """ModelError where the module itself fails on the input: no exporter is to blame."""
        try:
            with torch.inference_mode(), contextlib.redirect_stdout(sys.stderr):
                module(example)
        except Exception as error:  # a person's own code may raise anything
            raise ModelError(
                f"the module fails on an input of shape {tuple(example.shape)}: "
                f"{routes.why(error)}",
                where=self.identity.manifest.path,
                fix=_remedy(module),
            ) from error

    def write_documents(
        self,
        folder: Path,
        name: str,
        module: nn.Module,
        pictures: NDArray[np.float32],
        made: Made,
    ) -> None:
        """config.json, the card and, over all of them, the receipt."""
        dtype = str(_dtype(module)).removeprefix("torch.")
        described = documents.config(
            self.identity,
            factory=self.factory,
            head=self.head,
            dtype=dtype,
            inputs=made.input_shape,
        )
        documents.write_json(folder / "config.json", described)
        self.details |= {
            "route": made.route.name,
            "opset": made.opset,
            "input": list(made.input_shape),
            "derived": made.derived,
        }
        text = documents.card(
            self.identity,
            name,
            self.proofs,
            {
                "dtype": dtype,
                "opset": made.opset,
                "route": made.route.name,
                "input": made.input_shape,
                "notes": self.notes,
            },
        )
        (folder / "README.md").write_text(text, "utf-8")
        conversion = {**self.details, "attempts": self.attempts, "notes": self.notes}
        document = documents.receipt(
            self.identity, folder, self.source_sha256, self.proofs, conversion
        )
        documents.write_json(folder / bundle.RECEIPT, document)

    def report(self, target: Path | None, files: dict[str, int] | None = None) -> Report:
        """The report as things stand; `target` is the bundle, or None where there is none."""
        wall, cpu = perf_counter() - self.start[0], process_time() - self.start[1]
        made = {p.name for p in self.proofs}
        bad = [p for p in self.proofs if not p.holds]
        if target is not None:
            summary = f"{target}: {len(self.proofs)} of {len(PROOFS)} proofs hold"
        else:
            summary = f"no bundle: {bad[0].name} does not hold"
        manifest = self.identity.manifest
        given = describe("checkpoint", self.identity)
        # By this hash the gate knows whose export it is.
        digest = manifest.content_sha256 or self.source_sha256 or None
        given = replace(given, facts={**given.facts, "content_sha256": digest})
        return Report(
            command="export",
            outcome=Answer.YES if target is not None else Answer.NO,
            summary=summary,
            inputs=(given,),
            proofs=tuple(sorted(self.proofs, key=lambda p: PROOFS.index(p.name))),
            skipped=tuple(
                Skipped(name, f"{bad[0].name} does not hold")
                for name in PROOFS
                if name not in made and bad
            ),
            environment=documents.environment() | {"device": self.device},
            details={
                "bundle": str(target) if target is not None else None,
                **self.details,
                "files": files or {},
                "attempts": self.attempts,
                "notes": self.notes,
                "conversion_seconds": wall - self.proving[0],
                "conversion_cpu_seconds": cpu - self.proving[1],
                "proof_seconds": self.proving[0],
                "proof_cpu_seconds": self.proving[1],
            },
        )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Python's cycle collector stands still: it would walk the exporter's many small objects again
    and again, a tenth of the whole time, and find next to nothing to free."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _remedy(module: nn.Module) -> str:
    """What to do about a module that fails on its input."""
    whole = [
        n for n, p in module.named_parameters() if not (p.is_floating_point() or p.is_complex())
    ]
    if whole:
        dtype = str(module.get_parameter(whole[0]).dtype).removeprefix("torch.")
        return (
            f"save the float weights: {whole[0]} is {dtype}, cast without the scales that a "
            "quantised model needs"
        )
    return "give the preprocessing with --preprocess, or samples with --data"


def _dtype(module: nn.Module) -> torch.dtype:
    floats = (t.dtype for t in module.state_dict().values() if t.is_floating_point())
    return next(floats, torch.float32)


def _dims(model: ir.Model) -> tuple[int | str, ...]:
    shape = model.graph.inputs[0].shape
    assert shape is not None
    first = shape[0] if isinstance(shape[0], int) else graph.DYNAMIC
    return (first, *(d if isinstance(d, int) else str(d) for d in shape[1:]))
