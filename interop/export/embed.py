"""A graph whose weights lie in model.safetensors -> one file that holds them itself."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import (
    convert_model_to_external_data,
    load_external_data_for_model,
    write_external_data_tensors,
)

from interop.errors import InteropError
from interop.proof import graph as graphs

# Protobuf counts a message's bytes in a signed 32-bit number.
LIMIT = (1 << 31) - 1
# Above this a graph's tensors go beside it; what remains is for nodes and names.
ROOM = 1_800_000_000
_SMALL = 1024


def embed(model: Path, out: Path) -> None:
    """Writes `model` with its weights inside to `out`, which may be `model` itself.

    The same input gives the same bytes. Raises InteropError where the whole is over 2 GB, or where
    the weights cannot be read.
    """
    size = nbytes(model)
    if size > LIMIT:
        raise InteropError(
            f"the graph and its weights are {size / 1e9:.1f} GB, and one ONNX file holds at most "
            "2 GB (the limit of its format, protobuf)",
            where=str(out),
            fix="leave --embed away: model.onnx then points into model.safetensors",
        )
    # In memory before the file is opened: it may be the one that is read.
    out.write_bytes(whole(model).SerializeToString(deterministic=True))


def nbytes(model: Path) -> int:
    """The bytes of a graph's file and of its tensors outside of it."""
    outside = (graphs.external(t) for t in graphs.read(model).graph.initializer)
    return model.stat().st_size + sum(max(place.length, 0) for place in outside if place)


def whole(model: Path) -> onnx.ModelProto:
    """The graph in memory, with the bytes of all its tensors."""
    return filled(graphs.read(model), model)


def filled(graph: onnx.ModelProto, model: Path) -> onnx.ModelProto:
    """The same graph with the bytes of the tensors that lie beside the file `model`."""
    try:
        load_external_data_for_model(graph, str(model.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        what = f"its weights cannot be read ({str(error).strip().splitlines()[0][:200]})"
        fix = "keep the graph beside the file that its weights lie in"
        raise InteropError(what, where=str(model), fix=fix) from None
    return graph


def save(graph: onnx.ModelProto, out: Path) -> int:
    """Writes a graph that holds its tensors, and gives the bytes that it takes.

    Where the tensors take more than ROOM they lie beside it in `<name>.onnx_data`. Changes
    `graph` there.
    """
    data = out.with_name(f"{out.name}_data")
    data.unlink(missing_ok=True)
    if sum(len(t.raw_data) for t in graph.graph.initializer) > ROOM:
        convert_model_to_external_data(graph, location=data.name, size_threshold=_SMALL)
        write_external_data_tensors(graph, str(out.parent))
    out.write_bytes(graph.SerializeToString(deterministic=True))
    return out.stat().st_size + (data.stat().st_size if data.exists() else 0)
