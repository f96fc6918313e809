"""Statistics and arrays of tensors' values, against torch's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from interop.errors import ReadError
from interop.facts import Stats, Storage, TensorSpec
from interop.reading import read
from interop.reading import values as module
from interop.reading.values import array, values
from tests.reading.conftest import dense_sha256, tensors


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.resolve_conj().resolve_neg()
    narrow = tensor.is_floating_point() and tensor.element_size() < 4
    return tensor.float() if narrow and tensor.dtype != torch.float16 else tensor


def test_arrays_hold_torchs_values(tmp_path: Path, kinds: dict[str, torch.Tensor]) -> None:
    torch.save(kinds, tmp_path / "m.pth")
    for name, spec in tensors(read(tmp_path / "m.pth")).items():
        found = torch.from_numpy(array(spec).copy())
        torch.testing.assert_close(found, _wide(kinds[name]), rtol=0, atol=0, equal_nan=True)


def _stats(path: Path) -> dict[str, Stats]:
    return {spec.name: stats for spec, stats in values(read(path).state_dicts[0].tensors)}


def test_statistics_are_torchs(tmp_path: Path, kinds: dict[str, torch.Tensor]) -> None:
    torch.save(kinds, tmp_path / "m.pth")
    for name, stats in _stats(tmp_path / "m.pth").items():
        numbers = _wide(kinds[name])
        assert stats.nan == int(numbers.isnan().sum())
        assert stats.inf == int(numbers.isinf().sum())
        if numbers.is_complex() or numbers.numel() == 0:
            assert stats.minimum is None and stats.maximum is None
            continue
        finite = numbers.double()[numbers.double().isfinite()]
        if finite.numel() == 0:
            assert stats.minimum is None and stats.maximum is None
        else:
            assert (stats.minimum, stats.maximum) == (finite.min().item(), finite.max().item())


def test_large_tensors_are_gone_over_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 1000)
    state = {
        "flat": torch.randn(3000),
        "turned": torch.randn(100, 90).t(),
        "long_rows": torch.randn(2000, 3).t(),
        "bf16": torch.randn(3000).bfloat16(),
    }
    state["flat"][2999] = math.inf
    torch.save(state, tmp_path / "m.pth")
    stats = _stats(tmp_path / "m.pth")
    assert {n: s.sha256 for n, s in stats.items()} == {n: dense_sha256(t) for n, t in state.items()}
    assert stats["flat"].inf == 1 and stats["flat"].maximum == state["flat"][:2999].max().item()


def test_an_axis_broadcast_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(4))
    storage = Storage(str(tmp_path / "f"), "0", 0, 4)
    spec = TensorSpec("w", "float32", (1 << 40,), storage, 0, (0,))
    with pytest.raises(ReadError, match="unfolds"):
        list(values([spec]))


def test_a_file_that_shrank_since_is_told_of(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1000)}, tmp_path / "m.pth")
    specs = read(tmp_path / "m.pth").state_dicts[0].tensors
    (tmp_path / "m.pth").write_bytes(b"short")
    with pytest.raises(ReadError) as error:
        list(values(specs))
    assert error.value.rule == "file-truncated"


def test_meta_tensors_are_left_out() -> None:
    assert list(values([TensorSpec("w", "float32", (2,))])) == []
    with pytest.raises(ReadError):
        array(TensorSpec("w", "float32", (2,)))
