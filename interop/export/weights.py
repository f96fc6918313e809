"""A state dict -> a safetensors file of the same bytes on every run, and where each tensor lies.

Written here because the library's own writer orders the metadata anew in each process.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
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
class Place:
    """Where a tensor's bytes lie in the file."""

    offset: int
    length: int


def write(
    path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> dict[str, Place]:
    """Writes every tensor under its name, largest elements first, then by name.

    Tensors that share memory are each written out in full, so that a strict load needs no more
    than the file. Raises ModelError for a dtype that the format lacks.
    """
    order = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in order:
        tensor = state[name]
        if tensor.dtype not in DTYPES:
            raise ModelError(f"{name} is {tensor.dtype}, which safetensors cannot hold")
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
        name: Place(start + header[name]["data_offsets"][0], state[name].nbytes) for name in order
    }
