"""What the tests of this room share: tensors of every kind, and their bytes by torch's account."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interop.facts import Manifest, TensorSpec

if TYPE_CHECKING:
    import torch


def dense_bytes(tensor: torch.Tensor) -> bytes:
    """The tensor's values, row-major and little-endian, as torch has them."""
    import torch

    if tensor.numel() == 0:
        return b""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes()


def dense_sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(dense_bytes(tensor)).hexdigest()


def stored_bytes(spec: TensorSpec) -> bytes:
    """The bytes that lie where the storage is said to lie."""
    assert spec.storage is not None and spec.storage.offset >= 0
    with Path(spec.storage.file).open("rb") as file:
        file.seek(spec.storage.offset)
        return file.read(spec.storage.nbytes)


def tensors(manifest: Manifest, place: str = "") -> dict[str, TensorSpec]:
    found = [s for s in manifest.state_dicts if s.place == place]
    assert len(found) == 1, [s.place for s in manifest.state_dicts]
    return {t.name: t for t in found[0].tensors}


def dangers(manifest: Manifest) -> dict[str, str]:
    return {str(i): i.danger for i in manifest.imports}


@pytest.fixture
def kinds() -> dict[str, torch.Tensor]:
    """Tensors of every dtype, layout and size that the readers know."""
    import torch

    g = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, 4, generator=g)
    pairs = torch.randn(5, 3, dtype=torch.complex64, generator=g)
    narrow = {
        str(dtype)[6:]: torch.arange(256, dtype=torch.uint8).view(dtype)
        for dtype in (
            torch.float8_e4m3fn,
            torch.float8_e5m2,
            torch.float8_e4m3fnuz,
            torch.float8_e5m2fnuz,
            torch.float8_e8m0fnu,
        )
    }
    return {
        "plain": torch.randn(3, 2, 3, 3, generator=g),
        "whole": base,
        "permuted": base.permute(2, 0, 1),
        "strided": base[1:4, ::2],
        "tied": base,
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3.0),
        "expanded": torch.ones(1, 3).expand(4, 3),
        "bfloat16": torch.randn(7, 3, generator=g).bfloat16(),
        "float16": torch.randn(3, generator=g).half(),
        "float64": torch.randn(3, generator=g).double(),
        "complex": pairs,
        "conjugate": pairs.conj(),
        "complex128": pairs.to(torch.complex128),
        "negative": torch.randn(4, dtype=torch.complex64, generator=g).conj().imag,
        "bool": torch.tensor([True, False, True]),
        "int64": torch.arange(-5, 5),
        "int32": torch.arange(4, dtype=torch.int32),
        "int16": torch.arange(4, dtype=torch.int16),
        "int8": torch.arange(-4, 4, dtype=torch.int8),
        "uint8": torch.arange(4, dtype=torch.uint8),
        "uint16": torch.arange(5).to(torch.uint16),
        "not_finite": torch.tensor([float("nan"), float("inf"), -2.0, 5.0]),
        "all_nan": torch.full((3,), float("nan")),
        **narrow,
    }


@pytest.fixture
def write_zip(tmp_path: Path) -> Callable[..., Path]:
    """Write a zip archive of the given entries, stored or deflated."""

    def write(entries: dict[str, bytes], *, deflated: bool = False, name: str = "a.pth") -> Path:
        method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        return tmp_path / name

    return write
