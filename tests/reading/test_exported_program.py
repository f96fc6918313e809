"""Exported programs: tied weights, the layout of older versions, and archives that lie."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.benign import OUT
from interop.errors import ReadError
from interop.reading import read
from interop.reading.values.comparison import array
from tests.reading.conftest import dangers, tensors


def _entries() -> dict[str, bytes]:
    with zipfile.ZipFile(OUT / "export.pt2") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


CONFIG = "export/data/weights/model_weights_config.json"


def _changed(change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    entries = _entries()
    config = json.loads(entries[CONFIG])
    change(config["config"])
    return {**entries, CONFIG: json.dumps(config).encode()}


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(4, 4)
        self.b = torch.nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.register_buffer("turned", torch.arange(12.0).view(3, 4).t())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)) + self.turned.sum()


def test_tied_and_turned_weights(tmp_path: Path) -> None:
    module = Tied().eval()
    torch.export.save(torch.export.export(module, (torch.ones(1, 4),)), tmp_path / "m.pt2")
    found = tensors(read(tmp_path / "m.pt2"))
    assert found["a.weight"].storage == found["b.weight"].storage
    for name, value in module.state_dict().items():
        assert np.array_equal(array(found[name]), value.numpy()), name


def test_a_compressed_archive_is_unpacked(tmp_path: Path, write_zip: Callable[..., Path]) -> None:
    entries = {n: d for n, d in _entries().items() if "sample_inputs" not in n}
    found = tensors(read(write_zip(entries, deflated=True, name="m.pt2")))
    plain = tensors(read(OUT / "export.pt2"))
    for name, spec in found.items():
        assert spec.storage is not None and spec.storage.offset == -1
        assert np.array_equal(array(spec), array(plain[name]))


def _too_large(config: dict[str, Any]) -> None:
    config["fc.weight"]["tensor_meta"]["sizes"][0]["as_int"] = 1000


def _gone(config: dict[str, Any]) -> None:
    config["fc.weight"]["path_name"] = "weight_99"


def _odd(config: dict[str, Any]) -> None:
    config["fc.weight"]["tensor_meta"]["dtype"] = 99


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_too_large, "file-truncated"),
        (_gone, "file-truncated"),
        (_odd, "file-unrecognised"),
        (lambda config: config.clear() or config.update(x=1), "file-unrecognised"),
    ],
)
def test_lists_that_lie_are_refused(
    write_zip: Callable[..., Path], change: Callable[[dict[str, Any]], None], rule: str
) -> None:
    with pytest.raises(ReadError) as error:
        read(write_zip(_changed(change), name="m.pt2"))
    assert error.value.rule == rule


def _saved(value: object) -> bytes:
    buffer = BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_the_layout_before_2_8(write_zip: Callable[..., Path]) -> None:
    state = {"fc.weight": torch.arange(6.0).view(2, 3)}
    program = json.loads(_entries()["export/models/model.json"])
    entries = {
        "version": b"2.5",
        "serialized_exported_program.json": json.dumps(program).encode(),
        "serialized_state_dict.pt": _saved(state),
        "serialized_constants.pt": _saved({}),
        "serialized_example_inputs.pt": _saved(_Runs()),
    }
    manifest = read(write_zip(entries, name="m.pt2"))
    assert manifest.container == "exported-program" and manifest.graph is not None
    weight = tensors(manifest)["fc.weight"]
    assert np.array_equal(array(weight), state["fc.weight"].numpy())
    assert dangers(manifest)["posix.system"] == "unsafe"


def test_compiled_code_is_told_of(write_zip: Callable[..., Path]) -> None:
    entries = {**_entries(), "export/data/aotinductor/model/model.so": b"\x7fELF"}
    told = dangers(read(write_zip(entries, name="m.pt2")))
    assert told["torch._inductor.export/data/aotinductor/model/model.so"] == "unsafe"
