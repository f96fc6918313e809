"""model.onnx and model.safetensors -> is every initialiser one of the checkpoint's tensors?

An exporter that folds batch normalisation writes other numbers under the old name; a graph that
shares by name alone then computes with neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import onnx
import torch

from interop.facts import Proof, ProofName, TensorSpec
from interop.models.load_weights import same_bits
from interop.models.weights import Fresh, state_dict
from interop.proof import graph as graphs
from interop.reading import read

NAME = ProofName.SAME_WEIGHTS
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Derived:
    """An initialiser that is no tensor of the checkpoint: how it came about, its bytes' hash."""

    how: str
    sha256: str


def same_weights(
    model: Path,
    weights: Path,
    derived: Mapping[str, Derived],
    state: Mapping[str, torch.Tensor] | None = None,
) -> Proof:
    """Proves "same weights" of an ONNX file against the safetensors file beside it, or the index
    of several.

    An initialiser that points into `weights` must cover one tensor exactly, of its dtype and shape,
    and where it bears a tensor's name, that very one. An embedded one must equal the tensor of its
    name bit for bit, or stand in `derived` with the hash of its bytes. With `state`, the file's
    tensors must also equal those, bit for bit.
    """
    start = perf_counter()
    specs = {t.name: t for t in read(str(weights)).state_dicts[0].tensors}
    by_place = {_place(t): t for t in specs.values()}
    files = {file for file, _, _ in by_place}
    initialisers = list(graphs.read(model).graph.initializer)
    faults: dict[str, str] = {}
    counts = {"shared": 0, "copied": 0, "derived": 0}
    bytes_of = dict.fromkeys(counts, 0)
    used: set[str] = set()
    for tensor in initialisers:
        kind, source, fault = _judge(tensor, model.parent, files, specs, by_place, derived)
        if fault:
            faults[tensor.name] = fault
            continue
        counts[kind] += 1
        bytes_of[kind] += specs[source].nbytes if source else len(graphs.raw(tensor, model.parent))
        used.add(source)
    if state is not None:
        faults |= _against(state, Fresh(tuple(specs.values())))
    facts = {
        "initialisers": len(initialisers),
        **counts,
        **{f"{kind}_bytes": size for kind, size in bytes_of.items()},
        "derivations": {n: d.how for n, d in derived.items()},
        "not_in_graph": [n for n, t in specs.items() if n not in used and not t.is_counter],
        "faults": faults,
    }
    seconds = perf_counter() - start
    return Proof(NAME, not faults, _sentence(counts, faults), facts, seconds)


def _place(spec: TensorSpec) -> tuple[str, int, int]:
    if spec.storage is None:
        return "", -1, spec.nbytes
    return Path(spec.storage.file).name, spec.storage.offset, spec.nbytes


def _judge(
    tensor: onnx.TensorProto,
    folder: Path,
    files: Collection[str],
    specs: Mapping[str, TensorSpec],
    by_place: Mapping[tuple[str, int, int], TensorSpec],
    derived: Mapping[str, Derived],
) -> tuple[str, str, str]:
    """(kind, the tensor that it is, "") or ("", "", what is wrong with it)."""
    where = graphs.external(tensor)
    if where is not None:
        if where.location not in files:
            among = " or ".join(sorted(files))
            return "", "", f"points into {where.location!r}, not into {among}"
        # A name's own place first: empty tensors share theirs.
        named = specs.get(tensor.name)
        place = where.location, where.offset, where.length
        spec = named if named is not None and _place(named) == place else by_place.get(place)
        if spec is None:
            return (
                "",
                "",
                f"bytes {where.offset} + {where.length} are no tensor of {where.location}",
            )
        if named is not None and spec is not named:
            return "", "", f"points at {spec.name}"
        if not _fits(tensor, spec):
            return "", "", f"is not of {spec.name}'s dtype and shape"
        return "shared", spec.name, ""
    data = graphs.raw(tensor, folder)
    named = specs.get(tensor.name)
    if named is not None and _fits(tensor, named) and data == _bytes(named):
        return "copied", named.name, ""
    account = derived.get(tensor.name)
    if account is None:
        what = "differs from the tensor of its name" if named else "is no tensor of the checkpoint"
        return "", "", f"{what}, and is not accounted for"
    if account.sha256 != sha256(data).hexdigest():
        return "", "", "is not what it was when it was derived"
    return "derived", "", ""


def _fits(tensor: onnx.TensorProto, spec: TensorSpec) -> bool:
    return graphs.DTYPES.get(tensor.data_type) == spec.dtype and tuple(tensor.dims) == spec.shape


def _bytes(spec: TensorSpec) -> bytes:
    (tensor,) = state_dict([spec]).values()
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _against(
    state: Mapping[str, torch.Tensor], written: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    faults = {n: "is missing in the safetensors file" for n in state if n not in written}
    faults |= {n: "is in the safetensors file alone" for n in written if n not in state}
    for name, tensor in state.items():
        if name in written and not same_bits(tensor, written[name]):
            faults[name] = "differs between the module and the safetensors file"
    return faults


def _sentence(counts: Mapping[str, int], faults: Mapping[str, str]) -> str:
    if faults:
        shown = ", ".join(f"{n} {why}" for n, why in list(faults.items())[:_SHOWN])
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        return f"{len(faults)} weights are not the checkpoint's: {shown}{more}"
    same = counts["shared"] + counts["copied"]
    rest = f", {counts['derived']} derived and accounted for" if counts["derived"] else ""
    return f"{same} initialisers are the checkpoint's tensors bit for bit{rest}"
