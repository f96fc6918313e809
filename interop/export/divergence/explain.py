"""A graph that answers otherwise than its module -> the first node that departs, and a folder that
shows it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from interop.export import graph, routes
from interop.export.divergence import reproduction
from interop.export.weights import WrittenWeights
from interop.facts.sections.export import GraphDeparture
from interop.models.signature import Forward
from interop.models.signature.forward import FRONT
from interop.proof import Feed
from interop.proof.divergence import Departure, first_departure, truth_at
from interop.runtimes import OnnxRuntime, TorchRuntime


def explain(
    forward: Forward,
    feed: Feed,
    route: routes.Route,
    label: str,
    kept: Path,
    write_weights: Callable[[nn.Module, Path], WrittenWeights],
) -> GraphDeparture:
    """Converts by `route` once more and looks where it parts on the batch called `label`.

    The folder `kept` gets the graph, the input, what was expected and a script that shows the
    difference. Returns the departure as a report has it.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = folder / "model.onnx"
        converted = routes.convert(forward, feed, route)
        weights = write_weights(forward.model, folder)
        # The names that the exporter gave its values lead back to the module.
        graph.write(
            converted.model, model, weights.state, weights.places, weights.metadata,
            folds=route.folds, axes=converted.axes, aliases=weights.aliases, strip=False,
        )  # fmt: skip
        with OnnxRuntime(model, spin=False) as runtime:
            batches = dict(feed.batches(runtime.input_shapes))
        batch = batches.get(label) or next(iter(batches.values()))
        departure = _own_paths(first_departure(converted.program, forward, batch, folder))
        native = TorchRuntime(forward).outputs(batch)
        right = truth_at(converted.program, forward, batch, folder, departure)
        files = reproduction.keep(kept, model, batch, native, departure, truth=right)
    return GraphDeparture(
        **departure.json(), batch=label, route=route.name, folder=str(kept), files=files
    )


def _own_paths(departure: Departure) -> Departure:
    """The same with the module's own paths, without the wrapper that exporters are given."""
    inner = departure.module.removeprefix(FRONT) if departure.module != FRONT[:-1] else ""
    if departure.module:
        text = departure.what.replace(departure.module, inner or departure.kind)
    else:
        text = departure.what
    return replace(departure, module=inner, what=text)
