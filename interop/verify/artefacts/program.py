"""A .pt2 or TorchScript file -> its own program, to be held against its source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.facts import Identity, Port, Proof, ProofName
from interop.models import programs
from interop.models.signature import Signature
from interop.proof import Feed
from interop.proof.accounted import ArtefactWeights
from interop.runtimes import TorchRuntime
from interop.runtimes.base import Array, Runtime
from interop.runtimes.pytorch import tensors_of
from interop.verify.artefacts.base import Artefact


class ProgramArtefact(Artefact):
    """A program of torch's own; opening TorchScript runs it, so a person has to trust it.

    Raises ModelError where nobody does, or torch cannot open it.
    """

    def __init__(self, identity: Identity, device: str, *, trust: bool) -> None:
        self.kind = programs.PROGRAMS[identity.manifest.container]
        super().__init__(identity, device)
        self.module = programs.opened(identity, trust=trust)
        widths = {t.dtype for t in self.module.state_dict().values() if t.is_floating_point()}
        lowered = [d for d in (torch.float16, torch.bfloat16) if d in widths]
        self.precision = str(lowered[0]).removeprefix("torch.") if lowered else ""

    @property
    def ports(self) -> tuple[Port, ...]:
        graph = self.identity.manifest.graph
        return graph.inputs if graph is not None else ()

    def open(self, takes: Signature) -> Runtime:
        return TorchRuntime(_Program(self.module, takes))

    def answers(self, runtime: Runtime, batch: Mapping[str, Array]) -> dict[str, Array]:
        outputs = runtime.outputs(batch)
        graph = self.identity.manifest.graph
        names = [p.name for p in graph.outputs] if graph is not None else []
        if len(names) != len(outputs):
            names = [f"output_{i}" for i in range(len(outputs))]
        return dict(zip(names, outputs, strict=True))

    def shapes(self, runtime: Runtime) -> dict[str, tuple[int | str | None, ...]]:
        return {p.name: p.shape for p in self.ports}

    def weights(self) -> ArtefactWeights:
        return ArtefactWeights(_Read(self.module), container="program")

    def structure(self, feed: Feed, width: int | None, runtime: Runtime) -> Proof:
        start = perf_counter()
        faults = [
            f"weights that are not finite: {n}" for n, t in self.module.state_dict().items()
            if t.is_floating_point() and torch.isnan(t).any()
        ]  # fmt: skip
        outputs = runtime.outputs(feed.one(self.shapes(runtime) or None))
        if not all(np.isfinite(o).all() for o in outputs):
            faults.append("outputs that are not finite")
        if width is not None and width not in outputs[0].shape[1:]:
            faults.append(f"output shape {outputs[0].shape}, the head has {width} rows")
        what = "; ".join(faults) or "torch opens and runs it, weights and outputs are finite"
        return Proof(ProofName.STRUCTURE, not faults, what, {}, perf_counter() - start)

    def subject(self, takes: Signature) -> _Subject:
        return _Subject(self.module, takes)


class _Program(nn.Module):
    """The program with inputs in the order of a signature, that are known by their names."""

    def __init__(self, program: nn.Module, takes: Signature) -> None:
        super().__init__()
        self.program, self.names = program, takes.names
        # A program that was exported with keywords has to be called with them.
        example = getattr(program, "meta", {}).get(programs.EXAMPLE)
        self.keywords = bool(example and example[1])

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.keywords:
            return tuple(tensors_of(self.program(**dict(zip(self.names, given, strict=True)))))
        return tuple(tensors_of(self.program(*given)))


class _Read:
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, tensor in self.module.state_dict().items():
            if tensor.is_floating_point():
                wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
                yield name, wide.numpy()


class _Subject:
    """The program's weights, changed in place while a changed copy is in use."""

    def __init__(self, module: nn.Module, takes: Signature) -> None:
        self.module, self.takes = module, takes
        state = module.state_dict()
        self.state = {n: t for n, t in state.items() if t.is_floating_point() and t.ndim > 1}

    def names(self) -> list[str]:
        return list(self.state)

    def array(self, name: str) -> NDArray[Any]:
        tensor = self.state[name]
        wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        array: NDArray[Any] = wide.numpy().copy()
        return array

    def stored(self, name: str) -> bool:
        return True

    def changed(self, name: str, array: NDArray[Any]) -> Runtime:
        return _Changed(_Program(self.module, self.takes), self.state[name], array)


class _Changed(TorchRuntime):
    def __init__(self, module: nn.Module, tensor: torch.Tensor, array: NDArray[Any]) -> None:
        super().__init__(module)
        self.tensor, self.before = tensor, tensor.detach().clone()
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(array))

    def close(self) -> None:
        with contextlib.suppress(RuntimeError), torch.no_grad():
            self.tensor.copy_(self.before)
        super().close()
