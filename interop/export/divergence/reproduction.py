"""A graph that failed its proof -> a folder that shows the failure with ONNX Runtime and numpy.

For a bug report, or for another version of ONNX Runtime: no torch, and nothing of interop.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from interop.errors import InteropError
from interop.proof import failure_folder
from interop.proof import graph as graphs
from interop.proof.divergence import Departure
from interop.runtimes.base import Array

GRAPH, OBSERVED = "model.onnx", "observed.onnx"

_REPRODUCE = (
    '''"""Runs the graph and says how far it is from what PyTorch gave."""

from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent


'''
    + failure_folder.DIFFERENCE
    + """

def main():
    inputs = dict(np.load(HERE / "inputs.npz"))
    expected = dict(np.load(HERE / "expected.npz"))
    levels = onnxruntime.GraphOptimizationLevel
    for words, level in (("off", levels.ORT_DISABLE_ALL), ("on", levels.ORT_ENABLE_ALL)):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        for file in ("model.onnx", "observed.onnx"):
            if not (HERE / file).exists():
                continue
            session = onnxruntime.InferenceSession(
                str(HERE / file), options, providers=["CPUExecutionProvider"]
            )
            names = [o.name for o in session.get_outputs()]
            if file == "observed.onnx":
                names = names[-1:]
            try:
                found = session.run(names, inputs)
            except Exception as error:
                print(f"{file}, optimisation {words}: fails: {error}")
                continue
            for name, value in zip(names, found):
                if name in expected:
                    far = difference(value, expected[name])
                    print(f"{file}, optimisation {words}: {name} is {far:.3e} off")


if __name__ == "__main__":
    print("onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
    main()
"""
)


def keep(
    folder: Path,
    model: Path,
    batch: Mapping[str, Array],
    native: Sequence[Array],
    found: Departure,
    *,
    truth: Array | None = None,
) -> dict[str, int]:
    """Writes the reproduction `folder`, and gives its files with their sizes.

    `model` is the graph; the files that its weights lie in are copied with it. `batch` is the input
    on which it failed, `native` the module's outputs, in the graph's order, and `truth` what the
    departing value should be. The folder appears whole or not at all; an older reproduction of the
    same name is replaced, and anything else is not: InteropError.
    """
    with failure_folder.written(folder, found, _REPRODUCE, _readme(found)) as (place, files):
        graph = _copy(model, place)
        outputs = [o.name for o in graph.graph.output]
        expected = dict(zip(outputs, native, strict=False))
        if truth is not None and found.value and found.value not in outputs:
            _observe(graph, found.value, place)
            expected[found.value] = truth
        failure_folder.save(place / "inputs.npz", batch)
        failure_folder.save(place / "expected.npz", expected)
    return files


def _copy(model: Path, folder: Path) -> onnx.ModelProto:
    """The graph and the files of its weights, side by side as they were."""
    graph = graphs.read(model)
    shutil.copyfile(model, folder / GRAPH)
    places = {p.location for t in graph.graph.initializer if (p := graphs.external(t))}
    for location in sorted(places):
        target = (folder / location).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise InteropError(f"its weights lie outside of its folder ({location})",
                               where=str(model), rule="external-data-escapes-folder")  # fmt: skip
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / location, target)
    return graph


def _observe(graph: onnx.ModelProto, value: str, folder: Path) -> None:
    """The graph once more, with the departing value as its last output."""
    graph.graph.output.append(onnx.ValueInfoProto(name=value))
    (folder / OBSERVED).write_bytes(graph.SerializeToString(deterministic=True))


def _readme(departure: Departure) -> str:
    return (
        f"{departure.what}.\n"
        "model.onnx is the graph as it was exported; observed.onnx, where it is there, gives the "
        "departing value too.\n"
        "inputs.npz holds the input on which it failed, expected.npz what PyTorch gave "
        "(the departing value: in float64).\n"
        "departure.json says where the graph departs, and under which versions.\n"
        "Run: pip install onnxruntime numpy && python reproduce.py\n"
    )
