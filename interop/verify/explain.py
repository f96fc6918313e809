"""An artefact that departs from its source -> the first node that does, and what shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from interop.errors import InteropError, first_line
from interop.facts.sections.export import GraphDeparture
from interop.proof.alignment import first_departure
from interop.proof.source_values import GraphValues, ModuleValues, SourceValues
from interop.proof.subgraph import write_subgraph
from interop.runtimes import TorchRuntime
from interop.runtimes.base import Array
from interop.verify.artefacts import Artefact
from interop.verify.graph_source import GraphModule
from interop.verify.interface import Matched


def departure(
    artefact: Artefact, forward: Matched, batch: Mapping[str, Array], label: str, out: str | None
) -> tuple[GraphDeparture | None, str]:
    """Where an ONNX artefact departs from its source on one input, and why that cannot be said.

    `out` is the folder that the smallest failing part is written to. A program of torch and an IR
    are not looked into.
    """
    if artefact.kind != "graph":
        return None, f"of {artefact.kind} no node is looked for"
    source: SourceValues
    fed: Mapping[str, Array] | None = None
    if isinstance(module := forward.model, GraphModule):
        source = GraphValues(module.artefact.path)
        fed = _fed(forward, batch)
    else:
        source = ModuleValues(forward)
    with TorchRuntime(forward) as native:
        right = native.outputs(batch)
    try:
        found = first_departure(source, artefact.path, batch, right, fed=fed)
    except Exception as error:  # a value on the way of a type that ONNX Runtime does not hand out
        return None, f"the node that departs could not be looked for: {first_line(error, 160)}"
    if not found.found:
        return None, found.what
    files: Mapping[str, int] = {}
    if out is not None:
        try:
            files = write_subgraph(Path(out), source, artefact.path, batch, right, found, fed=fed)
        except InteropError as error:
            return GraphDeparture(**found.json(), batch=label, route="", folder="", files={}), str(
                error
            )
    return GraphDeparture(**found.json(), batch=label, route="", folder=out or "", files=files), ""


def _fed(forward: Matched, batch: Mapping[str, Array]) -> dict[str, Array]:
    """The source's inputs, made of the artefact's."""
    given = [torch.from_numpy(batch[n]) for n in forward.signature.names]
    fed = forward.feeds(given)
    return {n: t.numpy() for n, t in zip(forward.source.signature.names, fed, strict=True)}
