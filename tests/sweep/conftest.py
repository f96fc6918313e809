"""Stores of a few hundred small models."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[[int], Path]


def safetensors(width: int = 4) -> bytes:
    """A file of one layer, of which the header is all that is read."""
    shape = {"fc.weight": [width, 8], "fc.bias": [width]}
    header, at = {}, 0
    for name, dims in shape.items():
        size = 4 * (dims[0] * dims[1] if len(dims) > 1 else dims[0])
        header[name] = {"dtype": "F32", "shape": dims, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a store of so many models, in folders of a hundred."""

    def store(count: int) -> Path:
        root = tmp_path / "store"
        for n in range(count):
            folder = root / f"{n // 100:02}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"m{n:04}.safetensors").write_bytes(safetensors(1 + n % 7))
        return root

    return store
