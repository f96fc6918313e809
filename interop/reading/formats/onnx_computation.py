"""What an ONNX graph computes with its weights -> a hash: equal ones compute the same.

It covers operators, attributes, small constants and how all are wired, on the way from the inputs
to the outputs. The values of weights and the names of values are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from interop.facts import FEW, WHOLE, TensorSpec
from interop.records import dataclass

# What takes trained numbers: an unnamed tensor there may be a weight, however small.
_LEARNED_WORDS = """
Conv ConvTranspose Gemm MatMul Add BatchNormalization LayerNormalization RMSNormalization
InstanceNormalization GroupNormalization PRelu LSTM GRU RNN SkipLayerNormalization FusedConv
FusedMatMul FusedGemm
"""
_LEARNED = frozenset(_LEARNED_WORDS.split())


@dataclass(frozen=True, slots=True)
class Step:
    """One node. `attributes` are hashes of them, by name; `captured` are names that graphs within
    them take, of this graph or their own."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, bytes]
    captured: tuple[str, ...] = ()


def computation(
    steps: Sequence[Step],
    inputs: Iterable[str],
    outputs: Iterable[str],
    tensors: Iterable[TensorSpec],
    numbers: Mapping[str, bytes],
    opset: int,
    functions: Sequence[bytes] = (),
) -> str:
    """The hash, in hex. `numbers` are the bytes of tensors that are small and lie in the file.

    `functions` are hashes of the model's own operators. `opset` is ONNX's own: from 13 on Softmax,
    LogSoftmax and Hardmax take one axis, before all axes from one on.
    """
    known: dict[str, bytes] = {"": b""}
    known |= {name: _hash("input", str(i)) for i, name in enumerate(inputs)}
    tensors = list(tensors)
    users: dict[str, set[str]] = {t.name: set() for t in tensors}
    for step in steps:
        for name in step.inputs:
            if name in users:
                users[name].add(step.operator.rpartition(".")[2])
    front = _front([t.name for t in tensors if "." in t.name])
    for t in tensors:
        own = t.name.removeprefix(front) if "." in t.name else ""
        # A single number without an axis is arithmetic, wherever it goes.
        learned = bool(t.shape) and bool(users[t.name] & _LEARNED)
        plain = t.dtype in WHOLE or (not own and t.numel <= FEW and not learned)
        value = numbers.get(t.name, b"") if plain else b""
        known[t.name] = _hash("tensor", own, t.dtype, str(t.shape), value)
    for step in steps:
        taken = [known.get(name, b"?") for name in step.inputs]
        taken += [known[name] for name in step.captured if name in known]
        if step.operator in ("Identity", "Dropout") and taken:
            known.update(dict.fromkeys(step.outputs[:1], taken[0]))
            continue
        if step.operator == "Constant" and step.outputs and step.outputs[0] in known:
            continue  # a weight
        parts = [x for pair in sorted(step.attributes.items()) for x in pair]
        digest = _hash(step.operator, *parts, *taken)
        known.update({n: _hash(digest, str(i)) for i, n in enumerate(step.outputs)})
    bodies = _hash(*sorted(functions))
    return _hash(str(opset < 13), bodies, *(known.get(name, b"?") for name in outputs)).hex()


def _front(names: Sequence[str]) -> str:
    """What stands before all names: a wrapper's, which is no matter."""
    if len(names) < 2:
        return ""
    first, last = (name.split(".")[:-1] for name in (min(names), max(names)))
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return "".join(f"{part}." for part in first[:shared])


def _hash(*parts: str | bytes) -> bytes:
    pieces: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        pieces += (len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(pieces), digest_size=16).digest()
