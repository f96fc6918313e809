"""A proved graph -> what was asked for beside it: a lower precision, a graph that prepares its
pictures, one file with the weights inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data import Folder
from interop.data.arrays import Inputs
from interop.data.pictures import decode
from interop.errors import ConfigError, DataError
from interop.export import embed, precision
from interop.export.prepared import FILE as PREPARED
from interop.export.prepared import prepare_graph
from interop.facts import Identity, Json, Measurement, Proof
from interop.proof import Feed
from interop.proof.lowered import compare
from interop.proof.prepared import prepared as prove_prepared
from interop.runtimes import OnnxRuntime
from interop.runtimes.base import Batch

Data = Folder | Inputs
CALIBRATION = 128  # samples from which the ranges of int8-static are taken
_BATCH = 32
_PICTURES = 24  # on which a graph with its preprocessing is proved


@dataclass(frozen=True, slots=True)
class Extra:
    """What a person asked for beside the bundle; see `interop.export.export`."""

    precisions: Sequence[str] = ()
    prepared: bool = False
    labelled: bool = False
    embed: bool = False
    data: Data | None = None


def check(extra: Extra, identity: Identity) -> None:
    """ConfigError or DataError for what cannot be had, before any work."""
    if "int8-static" in extra.precisions and extra.data is None:
        raise ConfigError(
            "int8-static takes its ranges from real samples, and there are none",
            where="--precision int8-static",
            fix="give --data, or --precision int8, which needs none",
        )
    if not extra.prepared:
        return
    if identity.preprocessing is None:
        raise ConfigError(
            "no file says how pictures are prepared",
            where="--with-preprocess",
            fix="give --preprocess",
        )
    if not isinstance(extra.data, Folder):
        raise ConfigError(
            "a graph that prepares its pictures is proved on real ones, and there are none",
            where="--with-preprocess",
            fix="give --data with a folder of pictures",
        )
    if extra.labelled and identity.labels.names is None:
        raise ConfigError("the labels are in no file", where="--with-labels", fix="give --labels")


def samples(data: Data | None, identity: Identity, count: int) -> Any:
    """Some of the data, taken evenly, as the model takes them; None where there are none."""
    if data is None:
        return None
    if isinstance(data, Inputs):
        return data.spread(count)
    return data.spread(_prepared_how(identity), count)


def lower(
    extra: Extra, name: str, graph: Path, identity: Identity, feed: Feed
) -> tuple[dict[str, Json], tuple[Measurement, ...]]:
    """Writes the graph in a lower precision, and measures what that costs on the data.

    Without data the seeded inputs of the proofs are what both are compared on, and the
    measurements' conditions say so.
    """
    out = graph.with_name(precision.FILES[name])
    calibration = None
    if name == "int8-static":
        calibration = _named(_calibration(extra, identity, feed), feed)
    facts = precision.lower(graph, out, name, calibration)
    with OnnxRuntime(graph, spin=False) as ours, OnnxRuntime(out, spin=False) as theirs:
        if extra.data is None:
            given: list[Batch] = [batch for _, batch in feed.batches(ours.input_shapes)]
            measured = compare(ours, theirs, given)
            kind = "seeded input"
        else:
            batches, labels = _all(extra.data, identity, ours)
            measured = compare(ours, theirs, _named(batches, feed), labels)
            kind = str(extra.data.path.name)
    about = {"precision": name, "on": kind}
    return {**facts, "on": kind}, tuple(
        replace(m, conditions={**m.conditions, **about, "group": f"precision {name}"})
        for m in measured
    )


def prepare(extra: Extra, graph: Path, identity: Identity) -> tuple[dict[str, Json], Proof]:
    """Writes the graph that takes a picture as it was decoded, and proves it on real ones."""
    how, out = _prepared_how(identity), graph.with_name(PREPARED)
    labels = identity.labels.names if extra.labelled else None
    facts = prepare_graph(graph, out, how, labels=labels, softmax=extra.labelled)
    assert isinstance(extra.data, Folder)
    found = extra.data.samples
    picks = np.unique(np.linspace(0, len(found) - 1, min(_PICTURES, len(found))).round())
    files = [found[int(i)].path for i in picks]
    pictures = [decode(f.read_bytes(), where=str(f)) for f in files]
    return facts, prove_prepared(graph, out, pictures, how)


def embedded(graph: Path) -> None:
    """The same file with its weights inside."""
    embed.embed(graph, graph)


def _calibration(extra: Extra, identity: Identity, feed: Feed) -> list[Any]:
    found = samples(extra.data, identity, CALIBRATION)
    if isinstance(found, dict):
        count = len(next(iter(found.values())))
        return [
            {name: array[i : i + _BATCH] for name, array in found.items()}
            for i in range(0, count, _BATCH)
        ]
    return [found[i : i + _BATCH] for i in range(0, len(found), _BATCH)]


def _all(
    data: Data, identity: Identity, runtime: OnnxRuntime
) -> tuple[list[Any], NDArray[np.int64] | None]:
    """All samples in batches that the graph takes, and their labels where they have any."""
    size = runtime.input_shape[0]
    size = size if isinstance(size, int) else _BATCH
    batches, labels = [], []
    for batch, own in _batches(data, identity, size):
        first = next(iter(batch.values())) if isinstance(batch, dict) else batch
        if isinstance(runtime.input_shape[0], int) and len(first) != size:
            continue  # what is left over is no whole batch for a graph of a fixed one
        batches.append(batch)
        if own is not None:
            labels.append(own)
    if not batches:
        raise DataError(
            f"holds fewer samples than the graph's batch of {size}",
            where=str(data.path),
            fix="give more",
        )
    return batches, np.concatenate(labels) if labels else None


def _batches(
    data: Data, identity: Identity, size: int
) -> Iterator[tuple[Any, NDArray[np.int64] | None]]:
    if isinstance(data, Inputs):
        yield from data.batches(size)
        return
    for batch in data.batches(_prepared_how(identity), size):
        yield batch.pictures, batch.labels if data.labels is not None else None


def _named(batches: Sequence[Any], feed: Feed) -> list[Any]:
    """Batches by the name of the input, as ONNX Runtime's tools want them."""
    name = feed.signature.names[0]
    return [b if isinstance(b, dict) else {name: b} for b in batches]


def _prepared_how(identity: Identity) -> Any:
    if identity.preprocessing is None:
        raise ConfigError("--data needs to know how inputs are prepared", fix="give --preprocess")
    return identity.preprocessing
