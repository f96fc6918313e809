"""What an artefact is of -> its module (or its graph) as one function, its weights, its guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.errors import ModelError
from interop.export import introspect, routes
from interop.export.pipeline import GUARDS, ExportRun, Progress
from interop.export.size_agnostic import agnostic, limits
from interop.facts import Identity, Port, Proof, ProofName
from interop.models.infer_signature import signature
from interop.models.signature import Argument, Arrays, Forward, Signature, narrowed, settled
from interop.models.signature.lengths import said
from interop.models.signature.types import DETECTIONS
from interop.proof import Feed
from interop.proof.accounted import Norm, SourceWeights
from interop.proof.canary import perturbed
from interop.proof.computed import constants_of, forget
from interop.proof.guards import Guard, TooManyGuards
from interop.runtimes.pytorch import host, tensors
from interop.verify.graph_source import GraphModule, graph_signature, graph_weights, halved
from interop.verify.interface import source_signature
from interop.verify.options import VerifyOptions

_TRIAL = 0.5  # of its norm, by which a tensor is changed to see whether it acts


@dataclass(slots=True)
class Source:
    """The source, ready to be called. `forward` is in the source's own names."""

    run: ExportRun
    forward: Forward

    @property
    def identity(self) -> Identity:
        return self.run.identity

    @property
    def loaded(self) -> Proof:
        """The proof that it is the checkpoint's module."""
        return self.run.proofs[0]

    @property
    def is_graph(self) -> bool:
        return isinstance(self.forward.model, GraphModule)

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of its outputs where they are a set of detections."""
        return self.forward.outputs if self.forward.signature.kind == DETECTIONS else ()

    @property
    def width(self) -> int | None:
        """How many numbers a row of its first output has, where something reliable tells."""
        return None if self.is_graph else introspect.width(self.identity, self.forward)

    def example(self) -> tuple[torch.Tensor, ...]:
        """Its first input, as tensors of its own type."""
        assert self.run.answered is not None
        given: Arrays = self.run.answered[0]
        return tuple(t.clone() for t in tensors(given, introspect.dtype(self.forward)))

    def weights(self) -> SourceWeights:
        """Its tensors by name, each once, and what is computed of them."""
        if isinstance(model := self.forward.model, GraphModule):
            return graph_weights(model)
        named = _tensors(model)
        return SourceWeights(
            {n: _array(t) for n, t in named.items()}, _norms(model, named),
            lambda: constants_of(self.forward, self.example()),
        )  # fmt: skip

    def acting(self, names: Sequence[str]) -> list[str]:
        """Those of some weights on which its outputs depend: each is changed and put back."""
        model = self.forward.model
        if isinstance(model, GraphModule):
            return model.acting(names, self.example())
        there, before = _tensors(model), self.answer()

        def matter(group: Sequence[str]) -> bool:
            kept = [there[n].detach().clone() for n in group]
            with torch.no_grad():
                for name, tensor in zip(group, kept, strict=True):
                    there[name].copy_(torch.from_numpy(perturbed(_array(tensor), _TRIAL)))
                after = self.answer()
                for name, tensor in zip(group, kept, strict=True):
                    there[name].copy_(tensor)
            return any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))

        return halved(names, matter)

    def answer(self) -> list[np.ndarray[Any, Any]]:
        """What it gives for its first input."""
        forget(self.forward)
        with torch.inference_mode():
            return [host(t).copy() for t in self.forward(*self.example())]

    def guards(self, forward: Forward, feed: Feed) -> tuple[Guard, ...] | None:
        """The conditions on sizes of its trace; None where they are not known."""
        if self.is_graph or isinstance(self.forward.model, torch.jit.ScriptModule):
            return None
        if agnostic(self.forward.model, forward.signature):
            return limits(self.forward.model, forward.signature)
        try:
            return routes.guards_of(forward, feed, forward.signature, budget=GUARDS)
        except TooManyGuards:
            return None


def opened(
    identity: Identity, options: VerifyOptions, ports: Sequence[Port], say: Progress
) -> Source:
    """The source, built and called once.

    `ports` are the artefact's inputs, which say what a module takes where nothing else does. Raises
    ModelError where the source cannot be built or run.
    """
    run = ExportRun(identity, options, say)
    if identity.manifest.container == "onnx":
        say("opening the source's graph")
        graph = GraphModule(identity)
        module: nn.Module = graph
        what = "the source is a graph, which holds its own weights"
        run.proofs.append(Proof(ProofName.LOADED_FRACTION, True, what))
        takes = graph_signature(graph, run.inputs, ports)
    else:
        module = run.module()
        if not run.proofs[0].holds:
            return Source(run, Forward(module, Signature(())))
        takes = _signature(run, module, ports)
    forward = Forward(module, takes)
    forward.signature = settled(forward, introspect.dtype(module))
    run.notes += said(forward.signature)
    run.run_once(forward)
    if options.factory or options.head:
        assert run.answered is not None
        run.proofs[0] = introspect.rebuilt(run.proofs[0], forward, run.answered, run.again)
    run.forward = forward
    return Source(run, forward)


def _signature(run: ExportRun, module: nn.Module, ports: Sequence[Port]) -> Signature:
    """What the module takes: as it is known to, in the sizes that the artefact states."""
    try:
        takes = signature(run.identity, module, run.inputs)
    except ModelError:
        if run.inputs or not ports or any(not p.shape for p in ports):
            raise
        named = [_described(p) for p in ports]
        takes = signature(run.identity, module, named)
    takes = source_signature(takes, ports, module)
    if len(ports) == len(takes.arguments):
        takes = _sized(takes, ports)
    stated = all(isinstance(a, int) for p in ports for a in p.shape[1:])
    if takes.assumed and not stated:
        run.notes.append(
            f"no file says of what size its inputs are: {takes} was taken; --input states it"
        )
    return takes


def _described(port: Port) -> tuple[Argument, dict[str, int]]:
    from interop.models.signature import parse_argument

    axes = ",".join("batch" if not i else str(a) for i, a in enumerate(port.shape))
    dtype = port.dtype if port.dtype in ("int64", "int32", "bool", "uint8") else "float32"
    return parse_argument(f"{port.name.replace('.', '_')}={dtype}({axes})")


def _sized(takes: Signature, ports: Sequence[Port]) -> Signature:
    """The same with the artefact's number for each axis that has one on both sides."""
    names = {p.name: p for p in ports}
    arguments = []
    for argument, port in zip(takes.arguments, ports, strict=True):
        shape = names.get(argument.name, port).shape
        if len(shape) == len(argument.axes):
            axes = tuple(
                there if isinstance(axis, int) and isinstance(there, int) else axis
                for axis, there in zip(argument.axes, shape, strict=True)
            )
            argument = replace(argument, axes=axes)
        arguments.append(argument)
    return replace(takes, arguments=tuple(arguments))


def held(forward: Forward) -> Signature:
    """The signature with those axes held that the module takes in one size alone."""
    return narrowed(forward, introspect.dtype(forward))


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, buffers and plain tensors of floating point, each once."""
    there: dict[str, torch.Tensor] = {}
    seen: set[tuple[int, ...]] = set()
    plain = {
        f"{path}.{n}".lstrip("."): t
        for path, part in module.named_modules()
        for n, t in vars(part).items()
        if isinstance(t, torch.Tensor)
    }
    state: Mapping[str, torch.Tensor] = module.state_dict()
    for name, tensor in {**state, **dict(module.named_buffers()), **plain}.items():
        key = (tensor.data_ptr(), tensor.numel(), *tensor.stride())
        if tensor.is_floating_point() and (key not in seen or not tensor.numel()):
            seen.add(key)
            there[name] = tensor.detach()
    return there


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: np.ndarray[Any, Any] = wide.cpu().numpy()
    return array


def _norms(module: nn.Module, there: Mapping[str, torch.Tensor]) -> list[Norm]:
    """Whatever keeps a running mean and variance, of whatever class."""
    norms = []
    for path, part in module.named_modules():
        names = {
            leaf: f"{path}.{leaf}".lstrip(".")
            for leaf in ("weight", "bias", "running_mean", "running_var")
        }
        own = {leaf: name if name in there else "" for leaf, name in names.items()}
        if own["running_mean"] and own["running_var"]:
            eps = float(getattr(part, "eps", 1e-5))
            norms.append(Norm(own["weight"], own["bias"], own["running_mean"],
                              own["running_var"], eps))  # fmt: skip
    return norms
