"""A proved graph -> what was asked for beside it: a lower precision, a graph that prepares its
pictures, one file with the weights inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data import Folder
from interop.data.arrays import Inputs
from interop.data.pictures import decode
from interop.errors import ConfigError, DataError
from interop.export import embed, precision
from interop.export.fused_preprocessing import FILE as PREPARED
from interop.export.fused_preprocessing import prepare_graph
from interop.export.options import ExportOptions
from interop.facts import Identity, Json, Measurement, Proof
from interop.proof import Feed
from interop.proof.fused_preprocessing import prepared as prove_prepared
from interop.proof.precision import compare
from interop.runtimes import OnnxRuntime
from interop.runtimes.base import Batch

Data = Folder | Inputs
CALIBRATION = 128  # samples from which the ranges of int8-static are taken
_PART = 4  # but no more than the fourth of them
_BATCH = 32
_PICTURES = 24  # on which a graph with its preprocessing is proved


def open_samples(data: str | None, identity: Identity) -> Inputs | Folder | None:
    """A folder of pictures, or an .npz file of inputs; None where none is given."""
    if data is None:
        return None
    if data.endswith(".npz"):
        return Inputs(data)
    head = identity.head
    named = head is None or head.role in ("", "classes")
    return Folder(data, identity.labels.names if named else None)


def check(options: ExportOptions, data: Data | None, identity: Identity) -> None:
    """ConfigError or DataError for what cannot be had, before any work."""
    if "int8-static" in options.precisions and data is None:
        what = "int8-static takes its ranges from real samples, and there are none"
        fix = "give --data, or --precision int8, which needs none"
        raise ConfigError(what, where="--precision int8-static", fix=fix)
    if not (options.with_preprocess or options.with_labels):
        return
    if identity.image_preprocessing is None:
        what = "no file says how pictures are prepared"
        raise ConfigError(what, where="--with-preprocess", fix="give --preprocess")
    if not isinstance(data, Folder):
        what = "a graph that prepares its pictures is proved on real ones, and there are none"
        fix = "give --data with a folder of pictures"
        raise ConfigError(what, where="--with-preprocess", fix=fix)
    if options.with_labels and identity.labels.names is None:
        raise ConfigError("the labels are in no file", where="--with-labels", fix="give --labels")


def samples(data: Data | None, identity: Identity, count: int) -> Any:
    """Some of the data, taken evenly, as the model takes them; None where there are none."""
    if data is None:
        return None
    if isinstance(data, Inputs):
        return data.spread(count)
    return data.spread(_prepared_how(identity), count)


def lower(
    data: Data | None, name: str, graph: Path, identity: Identity, feed: Feed
) -> tuple[dict[str, Json], tuple[Measurement, ...]]:
    """Writes the graph in a lower precision, and measures what that costs on the data.

    Without data the seeded inputs of the proofs are what both are compared on, and the
    measurements' conditions say so.
    """
    out = graph.with_name(precision.FILES[name])
    calibration, rows = None, np.arange(len(data) if data else 0, dtype=np.int64)
    if name == "int8-static" and data is not None:
        # Other samples than those it is then measured on.
        seen = rows[:: max(len(rows) // min(CALIBRATION, len(rows) // _PART or 1), 1)]
        rows = np.setdiff1d(rows, seen)
        given_out, _ = _batches(data, identity, seen, _BATCH)
        calibration = _named(given_out, feed)
    facts = precision.lower(graph, out, name, calibration)
    with OnnxRuntime(graph, spin=False) as ours, OnnxRuntime(out, spin=False) as theirs:
        if data is None:
            given: list[Batch] = [batch for _, batch in feed.batches(ours.input_shapes)]
            measured = compare(ours, theirs, given)
            kind = "seeded input"
        else:
            size = ours.input_shape[0]
            whole = isinstance(size, int)
            size = size if isinstance(size, int) else _BATCH
            rows = rows[: len(rows) // size * size] if whole else rows
            batches, labels = _batches(data, identity, rows, size)
            measured = compare(ours, theirs, _named(batches, feed), labels)
            kind = str(data.path.name)
    about = {"precision": name, "on": kind, "group": f"precision {name}"}
    return {**facts, "on": kind}, tuple(
        replace(m, conditions={**m.conditions, **about, "of": _short(m, name)}) for m in measured
    )


def _short(measured: Measurement, name: str) -> Json:
    of = measured.conditions.get("of")
    return of if of == "model.onnx" else name


def prepare(
    data: Data | None, graph: Path, identity: Identity, *, labelled: bool
) -> tuple[dict[str, Json], Proof]:
    """Writes the graph that takes a picture as it was decoded, and proves it on real ones."""
    how, out = _prepared_how(identity), graph.with_name(PREPARED)
    labels = identity.labels.names if labelled else None
    facts = prepare_graph(graph, out, how, labels=labels, softmax=labelled)
    assert isinstance(data, Folder)
    samples = data.samples
    picks = np.unique(np.linspace(0, len(samples) - 1, min(_PICTURES, len(samples))).round())
    files = [samples[int(i)].path for i in picks]
    pictures = [decode(f.read_bytes(), where=str(f)) for f in files]
    return facts, prove_prepared(graph, out, pictures, how)


def embedded(folder: Path) -> None:
    """The graphs of a bundle that point into its weights, with those inside."""
    for graph in (folder / "model.onnx", folder / PREPARED):
        if graph.exists():
            embed.embed(graph, graph)


def _batches(
    data: Data, identity: Identity, rows: NDArray[np.int64], size: int
) -> tuple[list[Any], NDArray[np.int64] | None]:
    """Some samples in batches of `size`, and their labels where they have any."""
    if not len(rows):
        what = f"its {len(data)} samples are too few"
        raise DataError(what, where=str(data.path), fix="give more")
    if isinstance(data, Inputs):
        cuts = [rows[i : i + size] for i in range(0, len(rows), size)]
        labels = None if data.labels is None else data.labels[rows].astype(np.int64)
        return [{name: a[cut] for name, a in data.arrays.items()} for cut in cuts], labels
    batches = list(data.batches(_prepared_how(identity), size, [data.samples[i] for i in rows]))
    labels = np.concatenate([b.labels for b in batches]) if data.labels is not None else None
    return [b.pictures for b in batches], labels


def _named(batches: Sequence[Any], feed: Feed) -> list[Any]:
    """Batches by the name of the input, as ONNX Runtime's tools want them."""
    name = feed.signature.names[0]
    return [b if isinstance(b, dict) else {name: b} for b in batches]


def _prepared_how(identity: Identity) -> Any:
    if identity.image_preprocessing is None:
        raise ConfigError("--data needs to know how inputs are prepared", fix="give --preprocess")
    return identity.image_preprocessing
