"""Identity and runner specs -> its module and its graph in each runtime that was asked for.

A runner is one runtime in one precision: "pytorch", "pytorch:compile", "onnxruntime:int8". The
module is built once, and all runners of PyTorch run it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from interop.bench.bare_graph import BareGraph, bare_graph, graph_file
from interop.bench.options import RUNTIMES
from interop.errors import (
    ConfigError,
    DataError,
    DeviceMissing,
    InteropError,
    ModelError,
    ReadError,
    first_line,
)
from interop.export import ExportOptions
from interop.export.bundle import RECEIPT
from interop.export.pipeline import GRAPH, ExportRun, Samples, exported
from interop.export.precision import FILES, lower
from interop.facts import Answer, AxisDomain, Identity, Preprocessing, Report, Skipped, outside
from interop.gate.bundle import domain_of
from interop.models.signature import Forward, Signature, drawn
from interop.runtimes import OnnxRuntime, OpenVinoRuntime, Runtime, TorchRuntime
from interop.runtimes.base import Array, Batch
from interop.runtimes.pytorch import require_torch_device

# What a part of a spec may be, beside the name of an execution provider.
WAYS: Mapping[str, Mapping[str, str]] = {
    "pytorch": {"eager": "eager", "compile": "compile", "torchscript": "script"},
    "onnxruntime": {"plain": "plain", "io-binding": "io-binding", "cuda-graph": "cuda-graph"},
    "openvino": {},
}
PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "pytorch": ("float32", "float16", "bfloat16"),
    "onnxruntime": ("float32", "float16", "int8", "int8-static"),
    "openvino": ("float32",),
}
# Called with a model's role and what it takes, only where a runner needs it.
Calibrate = Callable[[str, Signature], Sequence[Mapping[str, Array]]]


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """One runner that is asked for.

    `runtime` is "pytorch", "onnxruntime" or "openvino"; `precision` one of PRECISIONS, "float32"
    being the graph as it was exported and the module in the graph's type; `how` one of the
    runtime's WAYS ("" is its plain one); `provider` an execution provider of ONNX Runtime.
    """

    runtime: str
    precision: str = "float32"
    how: str = ""
    provider: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "onnxruntime:io-binding:float16" -> the spec. ConfigError names what there is."""
        # An execution provider by its name alone is ONNX Runtime's.
        alone = text.endswith("ExecutionProvider") and ":" not in text
        runtime, *parts = (f"onnxruntime:{text}" if alone else text).split(":")
        if runtime not in WAYS:
            what = f"{runtime!r} is no runtime"
            raise ConfigError(what, where=text, fix=f"give one of {', '.join(WAYS)}")
        fields = {"runtime": runtime}
        for part in parts:
            kind = _kind(runtime, part, text)
            if kind in fields:
                raise ConfigError(f"says its {kind} twice", where=text, fix=f"leave {part} away")
            fields[kind] = part
        if "how" in fields and fields["how"] == next(iter(WAYS[runtime])):
            del fields["how"]  # the plain way
        return cls(**fields)

    def __str__(self) -> str:
        precision = self.precision if self.precision != "float32" else ""
        return ":".join(filter(None, (self.runtime, self.provider, self.how, precision)))

    @property
    def is_device(self) -> bool:
        """Whether the runner is had wherever the device itself is."""
        return not self.provider and self.how != "cuda-graph" and self.runtime != "openvino"


def parse(texts: Iterable[str | RunnerSpec]) -> tuple[RunnerSpec, ...]:
    """Each spec once, in order. Raises ConfigError."""
    specs = (t if isinstance(t, RunnerSpec) else RunnerSpec.parse(t) for t in texts)
    return tuple(dict.fromkeys(specs))


@dataclass(frozen=True, slots=True)
class Runner:
    """One runtime of one model, ready; `graph` is the ONNX file that it runs, None for PyTorch."""

    spec: RunnerSpec
    runtime: Runtime
    graph: Path | None


@dataclass(frozen=True, slots=True)
class Contender:
    """One model, ready to run in each of its runners.

    `role` is "A" or "B". `forward` is its module with what it takes and the names of its outputs,
    which those of the graph are in the same order; a bare ONNX file has no module. `skipped` are
    the runners that could not be had, and why; `notes` what was taken for granted when the module
    was made. `domain` are the sizes of inputs for which the graph was proved.
    """

    role: str
    identity: Identity
    options: ExportOptions
    forward: Forward | BareGraph
    runners: tuple[Runner, ...]
    threads: int
    tf32: bool = False
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    domain: tuple[AxisDomain, ...] = ()

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        return tuple(runner.runtime for runner in self.runners)

    @property
    def signature(self) -> Signature:
        return self.forward.signature

    @property
    def labels(self) -> tuple[str, ...]:
        return self.identity.labels.names or ()

    @property
    def preprocessing(self) -> Preprocessing | None:
        return self.identity.image_preprocessing

    def _check_sizes(self, batch: Batch) -> None:
        """DataError where the graph was not proved for inputs of this size."""
        arrays = batch if isinstance(batch, Mapping) else {self.signature.names[0]: batch}
        if why := outside(self.domain, {name: array.shape for name, array in arrays.items()}):
            fix = "prepare inputs of a proved size, or measure --runtime pytorch alone"
            raise DataError(why, where=self.identity.manifest.path, fix=fix, rule="axis-restricted")

    def named(self, runtime: Runtime, batch: Batch) -> dict[str, Array]:
        """A runtime's outputs by their names.

        DataError where it runs a graph that was not proved for inputs of this size, ModelError
        where it gives another number of them.
        """
        if any(runner.runtime is runtime and runner.graph for runner in self.runners):
            self._check_sizes(batch)
        arrays = runtime.outputs(batch)
        if len(arrays) != len(self.forward.outputs):
            what = (
                f"{runtime.name} gives {len(arrays)} outputs, where the module gives "
                f"{len(self.forward.outputs)} ({', '.join(self.forward.outputs)})"
            )
            raise ModelError(what, where=self.identity.manifest.path, fix="export it again")
        return dict(zip(self.forward.outputs, arrays, strict=True))

    def close(self) -> None:
        for runtime in self.runtimes:
            runtime.close()


def prepare_contenders(
    models: Sequence[Identity],
    scratch: Path,
    *,
    specs: Sequence[str | RunnerSpec] = RUNTIMES,
    device: str = "cpu",
    threads: int | None = None,
    tf32: bool = False,
    options: ExportOptions | None = None,
    samples: Sequence[Samples | None] = (),
    exports: Sequence[ExportRun | None] = (),
    calibrate: Calibrate | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Contender] | Report:
    """All runners of each model; the export's Report where one fails its proofs.

    A bundle and a bare ONNX file bring their graph along; a checkpoint is exported into `scratch`,
    where graphs of lower precision go as well. `options` say how each model's module is built and
    exported; by its place in `models` `samples` holds what the export's proofs are fed, and
    `exports` the export that was made of it before. Every runner runs an example once: one that
    cannot be had is among `skipped`. Raises ConfigError for an unknown spec, DeviceMissing
    where the device itself is not had, ModelError where no module can be made of a model or none of
    its runners runs.
    """
    asked = parse(specs)
    require_torch_device(device)
    # All runtimes are given the same number: torch's own choice, where nobody names one.
    count = threads if threads is not None else torch.get_num_threads()
    contenders: list[Contender] = []
    with ExitStack() as undo:
        for n, identity in enumerate(models):
            how = options or ExportOptions()
            role = "AB"[n]
            run = exports[n] if n < len(exports) else None
            alone = graph_file(identity) if run is None else None
            onnx = alone or (_graph_of(identity) if run is None else None)
            forward: Forward | BareGraph
            notes: tuple[str, ...]
            if onnx is None and run is None:
                say(f"{role}: exporting {identity.manifest.path}")
                real = samples[n] if n < len(samples) else None
                report, run = exported(identity, scratch / role, how, samples=real, progress=say)
                if report.outcome is not Answer.YES:
                    return report
            if run is not None:
                assert run.folder is not None and run.forward is not None
                onnx, forward, notes = run.folder / GRAPH, run.forward, run.assumed
                identity = replace(identity, assumptions=run.identity.assumptions)
            elif alone is not None:
                onnx, forward, notes = alone, bare_graph(identity, how.inputs), ()
            else:
                assert onnx is not None
                forward, notes = _forward(identity, how, onnx.parent, say)
            domain = _domain(onnx.parent) if alone is None else ()
            notes += _gaps(domain)
            contender = Contender(role, identity, how, forward, (), count, tf32, (), notes, domain)
            room = scratch / f"{role} lower"
            room.mkdir(parents=True, exist_ok=True)
            contender = _with_runners(contender, asked, device, onnx, room, calibrate, say)
            undo.callback(contender.close)
            contenders.append(contender)
        undo.pop_all()
    return contenders


def _with_runners(
    contender: Contender,
    specs: Sequence[RunnerSpec],
    device: str,
    onnx: Path,
    room: Path,
    calibrate: Calibrate | None,
    say: Callable[[str], None],
) -> Contender:
    runners: list[Runner] = []
    skipped: list[Skipped] = []
    first: InteropError | None = None
    with ExitStack() as undo:
        for spec in specs:
            say(f"{contender.role}: {spec}")
            try:
                runner = _lane(contender, spec, device, onnx, room, calibrate)
            except InteropError as error:
                if isinstance(error, DeviceMissing) and spec.is_device:
                    raise
                first = first or error
                if error.where == str(spec):  # it stands in front already
                    error.where = ""
                skipped.append(Skipped(f"{contender.role} {spec}", str(error)))
                continue
            undo.callback(runner.runtime.close)
            runners.append(runner)
        if first is not None and not runners:
            raise first
        undo.pop_all()
    return replace(contender, runners=tuple(runners), skipped=tuple(skipped))


def _lane(
    contender: Contender,
    spec: RunnerSpec,
    device: str,
    onnx: Path,
    room: Path,
    calibrate: Calibrate | None,
) -> Runner:
    """A runner that has run an example. Raises InteropError, whatever it was that failed."""
    graph = _lowered(contender, spec, onnx, room, calibrate) if spec.runtime != "pytorch" else None
    tf32, module = contender.tf32, contender.forward
    if graph is None and isinstance(module, BareGraph):
        what = "an ONNX file by itself has no PyTorch module"
        raise ModelError(what, fix="give the checkpoint or the bundle to compare with PyTorch")
    native = module if isinstance(module, Forward) else None
    runtime = open_runtime(spec, native, graph, device, contender.threads, tf32=tf32)
    try:
        runtime.outputs(drawn(contender.signature, 1))
    except InteropError:
        runtime.close()
        raise
    except Exception as error:  # a runtime's own, of a type or operator that it lacks
        runtime.close()
        why = first_line(error, 240)
        raise ModelError(f"fails on an example: {why}", fix=f"leave {spec} away") from None
    return Runner(spec, runtime, graph)


def open_runtime(
    spec: RunnerSpec,
    forward: torch.nn.Module | None,
    graph: str | Path | None,
    device: str,
    threads: int | None,
    *,
    tf32: bool = False,
) -> Runtime:
    """A spec's runtime, of the module or of the graph in the spec's precision."""
    if spec.runtime == "pytorch":
        assert forward is not None
        how = WAYS["pytorch"][spec.how or "eager"]
        # In "float32" a module stays as it was exported.
        precision = spec.precision if spec.precision != "float32" else None
        return TorchRuntime(forward, device, threads, tf32=tf32, how=how, precision=precision)
    assert graph is not None
    if spec.runtime == "openvino":
        return OpenVinoRuntime(graph, device, threads)
    assert spec.runtime == "onnxruntime", f"{spec.runtime} is not opened here"
    return OnnxRuntime(
        graph,
        device,
        threads,
        tf32=tf32,
        spin=False,  # spinning threads of one runtime would take the cores from the other's turn
        how=spec.how or "plain",
        provider=spec.provider or None,
        precision=spec.precision if spec.precision != "float32" else "",
        clocked=True,
    )


def _forward(
    identity: Identity, options: ExportOptions, folder: Path, say: Callable[[str], None]
) -> tuple[Forward, tuple[str, ...]]:
    """The module that the graph beside the receipt was exported from, as the receipt says."""
    work = ExportRun(identity, options, say)
    module = work.module()
    proof = work.proofs[-1]
    if not proof.holds:
        fix = "give the module that it was trained with, with --model"
        raise ModelError(
            proof.what, where=identity.manifest.path, fix=fix, rule="loaded-fraction-low"
        )
    takes = _signature(folder)
    if takes is None:
        forward, _ = work.prepare(module)
    else:
        forward = Forward(module, takes)
        work.run_once(forward)
    return forward, tuple(work.notes)


def _signature(folder: Path) -> Signature | None:
    """What the receipt says that the model takes; None where there is no receipt."""
    path = folder / RECEIPT
    if not path.is_file():
        return None
    try:
        return Signature.from_json(json.loads(path.read_text("utf-8"))["signature"])
    except (KeyError, TypeError, ValueError):
        what = "does not say what the model takes"
        raise ReadError(what, where=str(path), fix="export it again with this version") from None


def _domain(folder: Path) -> tuple[AxisDomain, ...]:
    """The sizes for which a receipt says that the graph was proved; () where it says nothing."""
    path = folder / RECEIPT
    if not path.is_file():
        return ()
    try:
        receipt = json.loads(path.read_text("utf-8"))
    except ValueError:
        receipt = None
    if not isinstance(receipt, dict):
        raise ReadError("is no receipt", where=str(path), fix="export it again")
    return domain_of(str(folder), receipt)


def _gaps(domain: tuple[AxisDomain, ...]) -> tuple[str, ...]:
    """What is to be said of sizes of which the export proved nothing."""
    assumed = list(dict.fromkeys(d.name for d in domain if d.gaps))
    if not assumed:
        return ()
    return (
        f"{' and '.join(assumed)}: the export is proved at the sizes that it tried; sizes between "
        "them are assumed. This run compares the sizes of the data",
    )


def _graph_of(identity: Identity) -> Path | None:
    """The graph that a bundle folder holds beside its weights."""
    folder = Path(identity.manifest.path)
    onnx = folder / GRAPH
    return onnx if folder.is_dir() and onnx.is_file() else None


def _lowered(
    contender: Contender, spec: RunnerSpec, onnx: Path, room: Path, calibrate: Calibrate | None
) -> Path:
    """The graph in the spec's precision, made once."""
    if spec.precision == "float32":
        return onnx
    out = room / FILES[spec.precision]
    if not out.exists():
        batches: Sequence[Mapping[str, Any]] | None = None
        if spec.precision == "int8-static" and calibrate is not None:
            taken = _inputs_of(onnx)
            batches = [
                {name: array for name, array in batch.items() if name in taken}
                for batch in calibrate(contender.role, contender.signature)
            ]
        lower(onnx, out, spec.precision, batches)
    return out


def _inputs_of(onnx: Path) -> set[str]:
    from interop.proof import graph

    return {port.name for port in graph.read(onnx).graph.input}


def _kind(runtime: str, part: str, text: str) -> str:
    """What a part of a spec says: "how", "precision" or "provider"."""
    if part in WAYS[runtime]:
        return "how"
    if part in PRECISIONS[runtime]:
        return "precision"
    if runtime == "onnxruntime" and part.endswith("ExecutionProvider"):
        return "provider"
    there = [*WAYS[runtime], *PRECISIONS[runtime]]
    if runtime == "onnxruntime":
        import onnxruntime

        there += onnxruntime.get_available_providers()
    what = f"{part!r} is no way of {runtime}"
    raise ConfigError(what, where=text, fix=f"there is {', '.join(there)}")
