"""safetensors files written by the library, and headers that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from interop.errors import ReadError
from interop.reading import read
from interop.reading.values.comparison import digest
from tests.reading.conftest import dense_bytes, dense_sha256, stored_bytes, tensors


def test_every_dtype_lies_where_it_is_said_to(
    tmp_path: Path, kinds: dict[str, torch.Tensor]
) -> None:
    left_out = ("complex128", "conjugate", "negative")
    state = {n: t.clone().contiguous() for n, t in kinds.items() if n not in left_out}
    save_file(state, tmp_path / "m.safetensors", {"format": "pt", "classes": "[]"})
    manifest = read(tmp_path / "m.safetensors")
    assert manifest.container == "safetensors"
    assert manifest.metadata == {"format": "pt", "classes": "[]"}
    assert not manifest.state_dicts[0].ordered
    found = tensors(manifest)
    assert set(found) == set(state)
    for name, spec in found.items():
        assert spec.shape == tuple(state[name].shape)
        assert f"torch.{spec.dtype}" == str(state[name].dtype)
        assert stored_bytes(spec) == dense_bytes(state[name])
    for spec in found.values():
        assert digest(spec) == dense_sha256(state[spec.name])


def _write(path: Path, header: Any, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def _entry(start: int, stop: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


LIES: dict[str, tuple[Any, bytes]] = {
    "overlap": ({"a": _entry(0, 8, [2]), "b": _entry(4, 12, [2])}, b"x" * 12),
    "gap": ({"a": _entry(0, 4, [1]), "b": _entry(8, 12, [1])}, b"x" * 12),
    "hole at the start": ({"a": _entry(4, 8, [1])}, b"x" * 8),
    "bytes left over": ({"a": _entry(0, 4, [1])}, b"x" * 8),
    "wrong size": ({"a": _entry(0, 4, [2])}, b"x" * 4),
    "not a number": ({"a": {**_entry(0, 4, [1]), "more": float("nan")}}, b"x" * 4),
    "backwards": ({"a": _entry(4, 0, [1])}, b"x" * 4),
    "negative": ({"a": _entry(0, 4, [-1])}, b"x" * 4),
    "huge": ({"a": _entry(0, 4, [2**62, 2**62])}, b"x" * 4),
    "bool as size": ({"a": _entry(0, 4, [True])}, b"x" * 4),
    "unknown dtype": ({"a": _entry(0, 4, [1], "F33")}, b"x" * 4),
    "no object": ({"a": 3}, b""),
    "no json": (b"{not json", b""),
    "no utf-8": (b'{"\xff": 1}', b""),
    "deep": (b'{"a":' + b"[" * 100_000, b""),
    "a name twice": (b'{"a":{},"a":{}}', b""),
    "metadata no strings": ({"__metadata__": {"a": 1}}, b""),
    "metadata a list": ({"__metadata__": []}, b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    path = _write(tmp_path / "m.safetensors", *LIES[lie])
    with pytest.raises(ReadError) as error:
        read(path)
    assert error.value.rule == "safetensors-header-invalid"


def test_cut_off_anywhere_is_truncated(tmp_path: Path) -> None:
    save_file({"a": torch.ones(5), "b": torch.ones(2, 2)}, tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    for length in range(10, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ReadError) as error:
            read(tmp_path / "cut")
        assert error.value.rule == "file-truncated", length


def test_four_bit_floats_are_counted_as_torch_does(tmp_path: Path) -> None:
    path = _write(tmp_path / "m", {"a": _entry(0, 4, [2, 4], "F4")}, b"x" * 4)
    spec = tensors(read(path))["a"]
    assert (spec.dtype, spec.shape, spec.nbytes) == ("float4_e2m1fn_x2", (2, 2), 4)
