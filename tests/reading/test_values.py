"""Statistics and arrays of tensors' values, against torch's own."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import pytest
import torch

from interop.errors import ReadError
from interop.facts import Difference, Stats, Storage, TensorSpec
from interop.reading import read
from interop.reading.values import comparison as module
from interop.reading.values.comparison import array, compared, digest, values
from tests.reading.conftest import dense_sha256, tensors

Tensors = dict[str, torch.Tensor]


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
    monkeypatch.setattr(module, "_TASK", 2500)
    state = {
        "flat": torch.randn(3000),
        "turned": torch.randn(100, 90).t(),
        "long_rows": torch.randn(2000, 3).t(),
        "bf16": torch.randn(3000).bfloat16(),
    }
    state["flat"][2999] = math.inf
    torch.save(state, tmp_path / "m.pth")
    stats = _stats(tmp_path / "m.pth")
    specs = tensors(read(tmp_path / "m.pth"))
    assert {n: digest(s) for n, s in specs.items()} == {
        n: dense_sha256(t) for n, t in state.items()
    }
    assert stats["flat"].inf == 1 and stats["flat"].maximum == state["flat"][:2999].max().item()


def test_an_axis_broadcast_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(4))
    storage = Storage(str(tmp_path / "f"), "0", 0, 4)
    spec = TensorSpec("w", "float32", (1 << 40,), storage, 0, (0,))
    with pytest.raises(ReadError, match="same bytes"):
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


# ---------------------------------------------------------------- two files


def _compared(tmp_path: Path, a: Tensors, b: Tensors) -> dict[str, Difference]:
    torch.save(a, tmp_path / "a.pth")
    torch.save(b, tmp_path / "b.pth")
    left, right = tensors(read(tmp_path / "a.pth")), tensors(read(tmp_path / "b.pth"))
    rows = list(compared([(spec, right[name]) for name, spec in left.items()]))
    assert [row[0][0].name for row in rows] == list(a)
    return {row[0][0].name: row[3] for row in rows if row[3] is not None}


def test_tensors_of_every_kind_equal_themselves(
    tmp_path: Path, kinds: dict[str, torch.Tensor]
) -> None:
    found = _compared(tmp_path, kinds, {n: t.clone() for n, t in kinds.items()})
    assert found.keys() == kinds.keys()
    assert all(d.equal and not d.unequal and d.largest == 0 for d in found.values())


def _moved(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with one bit of its last element flipped."""
    moved = tensor.resolve_conj().resolve_neg().contiguous().clone()
    codes = moved.view(-1).view(torch.uint8)
    codes[-1] ^= 1
    return moved


def test_one_flipped_bit_shows_in_every_dtype(
    tmp_path: Path, kinds: dict[str, torch.Tensor]
) -> None:
    full = {n: t for n, t in kinds.items() if t.numel()}
    found = _compared(tmp_path, full, {n: _moved(t) for n, t in full.items()})
    assert {n for n, d in found.items() if d.unequal != 1 or d.equal} == set()


def test_differences_are_torchs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    a = {
        "f32": torch.randn(700, 300),
        "turned": torch.randn(300, 700).t(),
        "bf16": torch.randn(5000).bfloat16(),
        "f16": torch.randn(5000).half(),
        "fp8": torch.randn(5000).to(torch.float8_e4m3fn),
        "c64": torch.randn(5000, dtype=torch.complex64),
        "ints": torch.randint(-(10**6), 10**6, (5000,)),
        "bytes": torch.randint(0, 255, (5000,), dtype=torch.uint8),
    }
    b = {}
    for name, tensor in a.items():
        moved = tensor.contiguous().clone()
        other = moved.view(-1).roll(1)
        moved.view(-1)[: other.numel() // 2] = other[: other.numel() // 2]
        b[name] = moved
    for name, d in _compared(tmp_path, a, b).items():
        wide = torch.complex128 if a[name].is_complex() else torch.float64
        x, y = a[name].to(wide).reshape(-1), b[name].to(wide).reshape(-1)
        apart = (x - y).abs()
        assert d.unequal == int((x != y).sum()) and not d.equal, name
        assert d.largest == pytest.approx(apart.max().item(), rel=1e-6), name
        assert d.mean == pytest.approx(apart.mean().item(), rel=1e-5), name
        cosine = (torch.vdot(x, y).real / (x.norm() * y.norm())).item()
        assert d.cosine == pytest.approx(cosine, abs=1e-6), name


@pytest.mark.filterwarnings("ignore")
def test_sparse_and_quantized_tensors_differ_by_their_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense = torch.randn(4, 6)
    moved = dense.clone()
    moved[1, 2] += 1
    scales, zeros = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 2, 3])

    def made(values: torch.Tensor, stretch: float) -> Tensors:
        return {
            "coo": values.to_sparse(),
            "bsr": values.to_sparse_bsr((2, 3)),
            "one": torch.quantize_per_tensor(values, 0.1 * stretch, 3, torch.qint8),
            "row": torch.quantize_per_channel(values, scales * stretch, zeros, 0, torch.qint8),
        }

    same = _compared(tmp_path, made(dense, 1), made(dense, 1))
    assert len(same) == 4 and all(d.equal for d in same.values())
    a, b = made(dense, 1), made(moved, 1)
    for name, d in _compared(tmp_path, a, b).items():
        x, y = (t.dequantize() if t.is_quantized else t.to_dense() for t in (a[name], b[name]))
        assert d.unequal == 1 and not d.equal, name
        assert d.largest == pytest.approx((x - y).abs().max().item(), rel=1e-5), name
        if name in ("one", "row"):
            assert d.mean == pytest.approx((x - y).abs().mean().item(), rel=1e-5), name
    # The same codes under another scale are other numbers.
    a, b = made(dense, 1), made(dense * 2, 2)
    found = _compared(tmp_path, a, b)
    for name in ("one", "row"):
        assert torch.equal(a[name].int_repr(), b[name].int_repr())
        apart = (a[name].dequantize() - b[name].dequantize()).abs()
        assert not found[name].equal and found[name].unequal == int((apart > 0).sum())
        assert found[name].largest == pytest.approx(apart.max().item(), rel=1e-5)


def test_what_is_not_finite_is_left_out_of_the_differences(tmp_path: Path) -> None:
    a = torch.tensor([1.0, 2.0, math.nan, math.inf, -math.inf])
    b = torch.tensor([1.5, 2.0, math.nan, -math.inf, -math.inf])
    d = _compared(tmp_path, {"w": a}, {"w": b})["w"]
    assert (d.unequal, d.largest, d.mean) == (2, 0.5, 0.25)


def test_numbers_too_large_for_the_squares_of_a_float32(tmp_path: Path) -> None:
    a = torch.tensor([3e30, 4e30])
    d = _compared(tmp_path, {"w": a}, {"w": a.flip(0)})["w"]
    assert d.cosine == pytest.approx(24 / 25) and d.largest == pytest.approx(1e30)


@pytest.mark.parametrize("to", [torch.float16, torch.bfloat16, torch.float64])
def test_a_cast_is_known_as_one(tmp_path: Path, to: torch.dtype) -> None:
    torch.manual_seed(0)
    a = {"w": torch.cat([torch.randn(4000), torch.tensor([1e-8, 65519.0, 65520.0, 0.0])])}
    cast = _compared(tmp_path, a, {"w": a["w"].to(to)})["w"]
    assert cast.cast is True and cast.equal is False
    moved = _compared(tmp_path, a, {"w": (a["w"] * 1.1).to(to)})["w"]
    assert moved.cast is False


def test_a_constant_tensor_is_told_from_one_with_one_other_value(tmp_path: Path) -> None:
    state = {"same": torch.full((70_000,), 0.5), "one": torch.tensor([2.0])}
    state["other"] = state["same"].clone()
    state["other"][-1] = 0.25
    torch.save(state, tmp_path / "m.pth")
    found = _stats(tmp_path / "m.pth")
    assert {n: s.constant for n, s in found.items()} == {"same": True, "one": False, "other": False}


@pytest.mark.parametrize("to", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("since", [torch.float32, torch.bfloat16, torch.float16])
def test_a_cast_to_8_bits_is_known_as_one(
    tmp_path: Path, since: torch.dtype, to: torch.dtype
) -> None:
    torch.manual_seed(0)
    ends = [447.0, 448.0, 463.9, 464.0, 464.1, 480.0, 57344.0, 61440.0, 1e-7, 0.0, -0.0, math.inf]
    a = torch.cat(
        [torch.randn(4000), torch.tensor(ends), -torch.tensor(ends), torch.randn(99) / 99]
    )
    a = a.to(since)
    assert _compared(tmp_path, {"w": a}, {"w": a.to(to)})["w"].cast is True
    moved = a.to(to).view(torch.uint8)
    moved[5] ^= 1
    assert _compared(tmp_path, {"w": a}, {"w": moved.view(to)})["w"].cast is False


def test_inflated_storages_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.setattr(module, "INFLATED", 1 << 20)
    zeros = torch.zeros(1 << 19), torch.zeros(1 << 19)
    state = {f"w{i}": zeros[i % 2][i : i + 1] for i in range(200)}
    torch.save(state, tmp_path / "plain.pth")
    packed = zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pth") as old, packed:
        for name in old.namelist():
            packed.writestr(name, old.read(name))
    tracemalloc.start()
    assert len(_stats(tmp_path / "m.pth")) == 200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_views_of_the_same_bytes_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(1 << 24))
    storage = Storage(str(tmp_path / "f"), "0", 0, 1 << 24)
    specs = [TensorSpec(f"w{i}", "float32", (1 << 22,), storage) for i in range(200)]
    with pytest.raises(ReadError) as error:
        list(values(specs))
    assert error.value.rule == "pickle-over-limit"
    assert len(list(values(specs[:100]))) == 100
