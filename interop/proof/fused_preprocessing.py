"""A graph and the one with its preprocessing inside -> do both give the same for real pictures?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from interop.data import prepare
from interop.facts import Json, Preprocessing, Proof, ProofName
from interop.proof import graph as graphs
from interop.runtimes import OnnxRuntime

NAME = ProofName.PREPROCESSING
TENSOR = "prepare/tensor"  # what the prepared graph hands to the model's own nodes, in float32
LEVELS = 2  # one a pass
SHARE = 0.5  # of the pixels, that may differ at all
RARE = 1e-3  # of the pixels, that may differ by two levels
_WHOLE = 0.01
_MODEL = 1e-4
_SHOWN = 4


def prepared(model: Path, out: Path, pictures: Sequence[Image.Image], how: Preprocessing) -> Proof:
    """Proves "preprocessing in the graph": `out` on a picture answers as `model` on what Python
    prepares of it.

    Pixels after resizing and cropping may differ by 1 of 255 levels in at most half of them, and by
    2 in one of a thousand. Pillow resizes in two passes, each rounded to 8 bits, and sums in fixed
    point of 22 bits where the graph sums in float32: a sum half-way between two levels goes either
    way. Weights sum to 1 (their magnitudes to 1.3 at most), so a level in the first pass and a
    rounding in the second make 2, and more is another filter. Mean and std are the same operations
    in both: apart from whole levels, the tensors may differ by 0.01 of a level. The model's nodes
    may answer 1e-4 of the largest output apart on the same tensor (another batch size and fusion),
    and no picture may get another class.
    """
    start = perf_counter()
    facts: dict[str, Json] = {"pictures": len(pictures), "allowed_levels": LEVELS}
    if not pictures:
        return Proof(NAME, False, "no picture was given", facts, perf_counter() - start)
    try:
        session = _session(out)
        with OnnxRuntime(model, spin=False) as runtime:
            comparisons = [_one(session, runtime, picture, how) for picture in pictures]
    except _Fault as fault:
        return Proof(NAME, False, str(fault), facts, perf_counter() - start)
    facts |= {
        "levels": max(f["levels"] for f in comparisons),
        "share_of_pixels": float(np.mean([f["moved"] for f in comparisons])),
        "share_beyond_one": float(np.mean([f["twice"] for f in comparisons])),
        "beside_levels": max(f["beside"] for f in comparisons),
        "output_difference": max(f["output"] for f in comparisons),
        "same_tensor_difference": max(f["same"] for f in comparisons),
        "flips": sum(f["flip"] for f in comparisons),
        "sizes": sorted({f"{p.width}x{p.height}" for p in pictures})[:_SHOWN],
    }
    faults = _faults(facts)
    alike = (
        f"{len(pictures)} pictures: pixels at most {facts['levels']} of 255 levels apart "
        f"({100 * facts['share_of_pixels']:.2g} % of them at all), outputs "
        f"{facts['output_difference']:.2g} of the largest, {facts['flips']} flips"
    )
    what = f"{'; '.join(faults)} ({alike})" if faults else alike
    return Proof(NAME, not faults, what, facts, perf_counter() - start)


class _Fault(Exception):
    """Why the two cannot be compared at all."""


def _one(
    session: Any, runtime: OnnxRuntime, picture: Image.Image, how: Preprocessing
) -> dict[str, Any]:
    """How far apart the two ways are for one picture."""
    ours = prepare(picture, how)
    given = {session.get_inputs()[0].name: np.asarray(picture.convert("RGB"))}
    try:
        *outputs, tensor = session.run(None, given)
    except Exception as error:  # ONNX Runtime's own
        size = f"{picture.width}x{picture.height}"
        raise _Fault(f"cannot run a picture of {size}: {graphs.line(error)}") from None
    if tensor.shape != (1, *ours.shape):
        raise _Fault(f"prepares a tensor {tensor.shape[1:]}, Python prepares {ours.shape}")
    apart = (tensor[0].astype(np.float64) - ours) * np.reshape(how.std, (-1, 1, 1)) / how.scale
    levels = np.rint(apart)
    native = runtime.outputs(ours[None])
    same = runtime.outputs(np.ascontiguousarray(tensor))
    theirs = outputs[: len(native)]
    return {
        "levels": int(np.abs(levels).max()),
        "moved": float((levels != 0).mean()),
        "twice": float((np.abs(levels) > 1).mean()),
        "beside": float(np.abs(apart - levels).max()),
        "output": _apart(native, theirs),
        "same": _apart(same, theirs),
        "flip": _class(native[0]) != _class(theirs[0]),
    }


def _faults(facts: dict[str, Json]) -> list[str]:
    faults = []
    if facts["levels"] > LEVELS:
        faults.append(f"pixels {facts['levels']} levels apart, {LEVELS} is allowed")
    if facts["share_of_pixels"] > SHARE:
        faults.append(f"{100 * facts['share_of_pixels']:.0f} % of the pixels differ")
    if facts["levels"] > 1 and facts["share_beyond_one"] > RARE:
        faults.append(f"{100 * facts['share_beyond_one']:.2g} % of the pixels 2 levels apart")
    if facts["beside_levels"] > _WHOLE:
        faults.append(
            f"tensors {facts['beside_levels']:.2g} of a level apart beside whole levels: another "
            "mean or std"
        )
    if not facts["same_tensor_difference"] <= _MODEL:
        faults.append(
            f"the model's own nodes answer {facts['same_tensor_difference']:.2g} apart on one "
            "tensor"
        )
    if facts["flips"]:
        faults.append(f"{facts['flips']} pictures get another class")
    return faults


def _apart(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]]) -> float:
    """The largest difference of any output, relative to its largest absolute value."""
    if any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return float("inf")
    pairs = zip(a, b, strict=True)
    return max(float(np.abs(x - y).max()) / (float(np.abs(x).max()) or 1.0) for x, y in pairs)


def _class(scores: NDArray[Any]) -> int | None:
    """The class of one row of scores; None where the output is something else."""
    return int(scores.argmax()) if scores.ndim == 2 and scores.shape[1] > 1 else None


def _session(out: Path) -> Any:
    """The prepared graph in ONNX Runtime, with the tensor between its two parts as last output.

    Not an OnnxRuntime: those take what models take, and this takes a picture's bytes.
    """
    graph = graphs.read(out)
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(TENSOR))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    place = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(place, str(out.parent.resolve()))
    try:
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own
        raise _Fault(f"ONNX Runtime refuses the prepared graph: {graphs.line(error)}") from None
