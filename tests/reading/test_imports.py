"""Our account of the names in a file against what torch.load(weights_only=True) does with it."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import pathlib
import pickle
import re
import types
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._weights_only_unpickler import _get_allowed_globals
from torchvision.transforms import InterpolationMode

from interop.reading import read
from interop.reading.pickle.imports import REFUSED, SAFE, Ledger
from tests.reading.conftest import dangers

LOADS: dict[str, Any] = {
    "OrderedDict": collections.OrderedDict(a=1),
    "Counter": collections.Counter(a=1),
    "set": {1},
    "complex": 1 + 2j,
    "bytes": b"a",
    "bytearray": bytearray(b"a"),
    "tensor": torch.ones(2),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "buffer": torch.nn.Buffer(torch.ones(2)),
    "meta": torch.ones(2, device="meta"),
    "sparse": torch.eye(2).to_sparse(),
    "uint16": torch.ones(2, dtype=torch.uint16),
    "Size": torch.Size([2]),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "layout": torch.strided,
    "qscheme": torch.per_tensor_affine,
}
REFUSES: dict[str, Any] = {
    "defaultdict": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1]),
    "frozenset": frozenset({1}),
    "no bytes": b"",
    "Namespace": argparse.Namespace(lr=0.1),
    "PosixPath": pathlib.PurePosixPath("a/b"),
    "np.float64": np.float64(1.5),
    "np.array": np.ones(2),
    "np.dtype": np.dtype("f4"),
    "datetime": datetime.datetime(2026, 1, 2),
    "timedelta": datetime.timedelta(1),
    "a type": int,
    "Decimal": decimal.Decimal("1.5"),
    "Fraction": fractions.Fraction(1, 2),
    "SimpleNamespace": types.SimpleNamespace(rate=0.1),
    "UUID": uuid.UUID(int=3),
    "pattern": re.compile("a+"),
    "range": range(3),
    "an enumeration's member": InterpolationMode.BILINEAR,
    "RandomState": np.random.RandomState(0),
    "numpy's Generator": np.random.default_rng(0),
    "masked": np.ma.masked_array([1.0, 2.0], [0, 1]),
    "torch's Generator": torch.Generator(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [*LOADS, *REFUSES])
def test_refused_is_what_torch_refuses(kind: str, zipped: bool, tmp_path: Path) -> None:
    if kind == "uint16" and not zipped:
        pytest.skip("torch itself cannot load the legacy file that it writes of it")
    path = tmp_path / "m.pth"
    state = {"w": torch.ones(3), "beside": {**LOADS, **REFUSES}[kind]}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = dangers(read(path))
    if kind in LOADS:
        torch.load(path, weights_only=True)
        assert set(found.values()) == {"safe"}, found
    else:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
        assert set(found.values()) == {"safe", "refused"}, found


def test_the_allow_list_is_torchs() -> None:
    theirs = _get_allowed_globals()
    safe = [f"{module}.{name}" for module, name in SAFE]
    # A dtype that the torch at hand does not have cannot be judged by it.
    absent = {f"torch.{n}" for m, n in SAFE if m == "torch" and not hasattr(torch, n)}
    assert {name for name in safe if name not in theirs} <= absent
    both = {f"{module}.{name}" for module, name in REFUSED} & theirs.keys()
    # Refused is what any supported torch refuses: 2.14 still allows what 2.15 no longer does.
    assert both <= {"torch._utils._rebuild_nested_tensor"}
    assert not SAFE & REFUSED


def test_what_torch_allows_once_it_is_asked_to_is_refused_and_not_unsafe() -> None:
    """The parts of a DTensor and of a nested one are on torch's list only after their import."""
    for module in ("torch.distributed.tensor", "torch.nested", "torch._dynamo"):
        pytest.importorskip(module)
    allowed = torch.serialization.get_safe_globals()
    plain = [one for one in allowed if not isinstance(one, tuple)]
    names = {(o.__module__, o.__qualname__) for o in plain if o.__module__.startswith("torch.")}
    assert ("torch.distributed.tensor", "DTensor") in names
    for module, name in names:
        ledger = Ledger()
        ledger.call(module, name)
        assert not ledger.unsafe, (module, name)
