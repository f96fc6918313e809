"""A state dict -> a safetensors file of the same bytes on every run, and where each tensor lies.

Written here because the library's own writer orders the metadata anew in each process.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interop.errors import ModelError

DTYPES: Mapping[torch.dtype, str] = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.bool: "BOOL", torch.complex64: "C64",
}  # fmt: skip
# The data begin at a multiple of this, and each tensor at one of its own element's size.
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor's bytes lie: the file's name, and the bytes in it."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class WrittenWeights:
    """The written weights: the file (or the index of several), what is in it and where."""

    path: Path
    state: dict[str, torch.Tensor]
    aliases: dict[str, str]
    places: dict[str, TensorPlace]
    metadata: dict[str, str]


def untied(
    state: Mapping[str, torch.Tensor], second: Collection[str] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors without those that are another one under a second name, and {second: first}.

    Of two names the one in `second` goes, else the later. A file holds the numbers once; its
    header names the rest, in the form that safetensors' own `load_model` reads.
    """
    order = sorted(state, key=lambda name: name in second)
    first: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name in order:
        tensor = state[name]
        key = tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
        kept = first.setdefault(key, name) if tensor.numel() else name
        if kept != name:
            aliases[name] = kept
    return {name: tensor for name, tensor in state.items() if name not in aliases}, aliases


def write(
    path: Path,
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    shard: int | None = None,
) -> dict[str, TensorPlace]:
    """Writes every tensor under its name, largest elements first, then by name.

    With `shard`, as many files of at most so many bytes as it takes, each tensor whole, and the
    index beside them that transformers reads: where it takes but one, it is `path`. Raises
    ModelError for a dtype that the format lacks.
    """
    order = sorted(state, key=lambda name: (-state[name].element_size(), name))
    for name in order:
        if state[name].dtype not in DTYPES:
            raise ModelError(f"{name} is {state[name].dtype}, which safetensors cannot hold")
    groups = _groups(order, state, shard)
    if len(groups) == 1:
        return _write(path, groups[0], state, metadata)
    places: dict[str, TensorPlace] = {}
    for i, names in enumerate(groups):
        part = path.with_name(f"{path.stem}-{i + 1:05}-of-{len(groups):05}{path.suffix}")
        places |= _write(part, names, state, metadata)
    index = {
        "metadata": {"total_size": sum(t.nbytes for t in state.values())},
        "weight_map": {name: places[name].file for name in sorted(state)},
    }
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    path.with_name(f"{path.name}.index.json").write_text(text, "utf-8", newline="\n")
    return places


def _groups(
    order: Sequence[str], state: Mapping[str, torch.Tensor], shard: int | None
) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for name in order:
        if shard and groups[-1] and size + state[name].nbytes > shard:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += state[name].nbytes
    return groups


def _write(
    path: Path, order: Sequence[str], state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> dict[str, TensorPlace]:
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in order:
        tensor = state[name]
        end = at + tensor.nbytes
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            flat = state[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)
    start = 8 + len(text)
    return {
        name: TensorPlace(path.name, start + header[name]["data_offsets"][0], state[name].nbytes)
        for name in order
    }
