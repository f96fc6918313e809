"""First layers whose BatchNorm has the statistics of inputs prepared in a known way, without torch.

A smooth random picture a patch, random filters, and the mean and variance of what comes out.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STANDARD = "less a mean and over a std (ImageNet's, or the data's own)"
Tensors = dict[str, tuple[tuple[int, ...], list[float]]]
Prepare = Callable[[float, int], float]

PREPARATIONS: Mapping[str, Prepare] = {
    "0 to 255": lambda x, c: 255 * x,
    "0 to 255 less a mean": lambda x, c: 255 * (x - MEAN[c]),
    "0 to 1": lambda x, c: x,
    STANDARD: lambda x, c: (x - MEAN[c]) / STD[c],
    "-1 to 1": lambda x, c: 2 * x - 1,
}
_FORMATS = {"F64": "d", "F32": "f", "F16": "e", "BF16": "H", "I64": "q"}


def patches(count: int, colours: int, side: int, seed: int = 0) -> list[list[list[float]]]:
    """Patches of smooth pictures of 0 to 1: a list of values for each colour of each."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        waves = [(rng.gauss(0, 0.16), rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5),
                  rng.uniform(0, 6.28)) for _ in range(5)]  # fmt: skip
        tint = [rng.gauss(0, 0.05) for _ in range(colours)]
        made.append([
            [
                min(1.0, max(0.0, (MEAN[c] if colours > 1 else 0.449) + tint[c]
                             + sum(a * math.cos(fy * y + fx * x + p) for a, fy, fx, p in waves)))
                for y in range(side) for x in range(side)
            ]
            for c in range(colours)
        ])  # fmt: skip
    return made


def stem(
    prepare: Prepare,
    *,
    filters: int = 16,
    colours: int = 3,
    side: int = 3,
    activation: Callable[[float], float] = float,
    bias: bool = False,
    batches: int | None = 5000,
    conv: str = "conv1",
    norm: str = "bn1",
    seed: int = 1,
) -> Tensors:
    """The tensors of a model: the convolution, the BatchNorm behind it, and a head of 3 outputs."""
    rng = random.Random(seed)
    weight = []
    for _ in range(filters):
        size, level = math.exp(rng.gauss(0, 0.7)), rng.gauss(0, 0.5)
        weight.append([size * (level + rng.gauss(0, 1)) for _ in range(colours * side * side)])
    offsets = [rng.gauss(0, 1) if bias else 0.0 for _ in range(filters)]
    inputs = [
        [prepare(x, c) for c, plane in enumerate(patch) for x in plane]
        for patch in patches(400, colours, side)
    ]
    means, variances = [], []
    for w, b in zip(weight, offsets, strict=True):
        out = [activation(b + sum(x * y for x, y in zip(w, one, strict=True))) for one in inputs]
        means.append(sum(out) / len(out))
        variances.append(sum((v - means[-1]) ** 2 for v in out) / len(out))
    width = (filters,)
    tensors: Tensors = {
        f"{conv}.weight": ((filters, colours, side, side), [v for w in weight for v in w])
    }
    if bias:
        tensors[f"{conv}.bias"] = (width, offsets)
    tensors |= {
        f"{norm}.weight": (width, [1.0] * filters),
        f"{norm}.bias": (width, [0.0] * filters),
        f"{norm}.running_mean": (width, means),
        f"{norm}.running_var": (width, variances),
    }
    if batches is not None:
        tensors[f"{norm}.num_batches_tracked"] = ((), [batches])
    head = [rng.gauss(0, 1) for _ in range(3 * filters)]
    return tensors | {"fc.weight": ((3, filters), head), "fc.bias": ((3,), [0.0, 0.1, 0.2])}


def write(
    path: Path, tensors: Tensors, dtype: str = "F32", metadata: Mapping[str, str] | None = None
) -> Path:
    """A safetensors file of the tensors, in the order of their names as the format has it."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    body = b""
    for name in sorted(tensors):
        shape, values = tensors[name]
        kind = "I64" if name.endswith("num_batches_tracked") else dtype
        raw = packed(values, kind)
        header[name] = {
            "dtype": kind, "shape": list(shape), "data_offsets": [len(body), len(body) + len(raw)]
        }  # fmt: skip
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def packed(values: Sequence[float], kind: str) -> bytes:
    if kind == "BF16":
        bits = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(values)}H", *((b + 0x8000) >> 16 for b in bits))
    whole = [int(v) for v in values] if kind == "I64" else values
    return struct.pack(f"<{len(values)}{_FORMATS[kind]}", *whole)


def numbered(tensors: Tensors) -> Tensors:
    """The same under names that sort as they are defined."""
    places = {"conv1": "features.0", "bn1": "features.1", "fc": "classifier"}
    return {f"{places[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in tensors.items()}
