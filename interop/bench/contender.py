"""An Identity -> its module in PyTorch and its graph in ONNX Runtime, ready to be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from interop.errors import ModelError
from interop.export import export
from interop.facts import Answer, Identity, Preprocessing, Report
from interop.models import build, load
from interop.runtimes import OnnxRuntime, Runtime, TorchRuntime


@dataclass(frozen=True, slots=True)
class Contender:
    """One model, ready to run both ways. `role` is "A" or "B", `onnx` the graph that runs."""

    role: str
    identity: Identity
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    native: TorchRuntime
    exported: OnnxRuntime
    onnx: Path
    factory: str | None

    @property
    def runtimes(self) -> tuple[Runtime, Runtime]:
        return self.native, self.exported

    def close(self) -> None:
        for runtime in self.runtimes:
            runtime.close()


def prepare_contenders(
    models: Sequence[Identity],
    scratch: Path,
    *,
    device: str,
    threads: int | None,
    factories: Sequence[str | None],
    say: Callable[[str], None],
) -> list[Contender] | Report:
    """Both runtimes of each model; the export's Report where one fails its proofs.

    A bundle brings its graph along; a checkpoint is exported into `scratch`.
    """
    # Both runtimes are given the same number: torch's own choice, where nobody names one.
    count = threads if threads is not None else torch.get_num_threads()
    made: list[Contender] = []
    with ExitStack() as undo:
        for n, identity in enumerate(models):
            role = "AB"[n]
            factory = factories[n] if n < len(factories) else None
            onnx = _graph_of(identity)
            if onnx is None:
                say(f"{role}: exporting {identity.manifest.path}")
                report = export(identity, scratch / role, factory=factory)
                if report.outcome is not Answer.YES:
                    return report
                onnx = scratch / role / "model.onnx"
            module = build(identity, factory=factory)
            proof = load(module, identity)
            if not proof.holds:
                raise ModelError(
                    proof.what,
                    where=identity.manifest.path,
                    fix="give the module that it was trained with, with --model",
                    rule="loaded-fraction-low",
                )
            native = undo.enter_context(TorchRuntime(module, device, count))
            # Spinning threads of one runtime would take the cores from the other's next turn.
            exported = undo.enter_context(OnnxRuntime(onnx, device, count, spin=False))
            assert identity.labels.names is not None and identity.preprocessing is not None
            made.append(
                Contender(
                    role,
                    identity,
                    identity.labels.names,
                    identity.preprocessing,
                    native,
                    exported,
                    onnx,
                    factory,
                )
            )
        undo.pop_all()
    return made


def _graph_of(identity: Identity) -> Path | None:
    """The graph that a bundle folder holds beside its weights."""
    folder = Path(identity.manifest.path)
    onnx = folder / "model.onnx"
    return onnx if folder.is_dir() and onnx.is_file() else None
