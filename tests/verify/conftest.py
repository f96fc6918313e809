"""One net of one's own, its checkpoint, and what other tools make of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from interop import api
from interop.facts import Report
from interop.models.user_code import module_by_path
from interop.verify import VerifyOptions
from tests.export.conftest import bundle, odd  # noqa: F401

NETS = '''
import torch
from torch import nn

class Net(nn.Module):
    """Convolutions with statistics, two slices in a row, a table that is looked up, a head."""
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.table = nn.Parameter(torch.randn(5, 24))
        self.register_buffer("picks", torch.tensor([4, 2, 0, 1, 3, 3]), persistent=False)
        self.mix = nn.Linear(24, 24)
        self.head = nn.Linear(24, 20)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = x + self.bn2(self.conv2(x)).relu()
        x = x[:, :, 2:10][:, :, 1:7].mean(3).flatten(1)[:, :24]
        x = x + self.table[self.picks].mean(0)
        return self.head(torch.nn.functional.gelu(self.mix(x)))

class Wide(nn.Module):
    """Answers otherwise to a wide picture."""
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 20)

    def forward(self, x):
        y = self.head(self.conv(x).relu().mean((2, 3)))
        return y * 2 if x.shape[3] > 20 else y

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 10, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20, 20)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))
'''
SHAPES = {"Net": (2, 3, 12, 12), "Wide": (2, 3, 12, 12), "Recurrent": (2, 7, 6)}


@dataclass(frozen=True)
class Shop:
    """Where the checkpoints lie; `module` is that of a class, shaken, `verify` proves a file."""

    folder: Path

    def module(self, name: str) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            module = module_by_path(f"{self.folder / 'nets.py'}:{name}")
            module.train()
            with torch.no_grad():
                for _ in range(4):
                    module(torch.randn(8, *SHAPES[name][1:]) * 2 + 1)
        return module.eval()

    def example(self, name: str) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(4)
            return torch.randn(SHAPES[name])

    def source(self, name: str) -> Path:
        path = self.folder / f"{name}.pth"
        if not path.exists():
            torch.save(self.module(name).state_dict(), path)
        return path

    def graph(self, name: str = "Net", *, dynamo: bool = False, **how: Any) -> Path:
        """What torch.onnx makes of it, once for each way."""
        path = self.folder / f"{name}-{dynamo}-{'-'.join(f'{k}{v}' for k, v in how.items())}.onnx"
        if path.exists():
            return path
        module, example = self.module(name), self.example(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                axes = {0: torch.export.Dim.DYNAMIC}
                torch.onnx.export(
                    module, (example,), str(path), dynamo=True, verbose=False,
                    dynamic_shapes=(axes,), external_data=False, **how,
                )  # fmt: skip
            else:
                how.setdefault("dynamic_axes", {"x": {0: "n"}, "y": {0: "n"}})
                torch.onnx.export(
                    module, (example,), str(path), dynamo=False, input_names=["x"],
                    output_names=["y"], **how,
                )  # fmt: skip
        return path

    def changed(
        self, change: Callable[[onnx.ModelProto], None], name: str = "Net", **how: Any
    ) -> Path:
        """A graph with something changed in it."""
        model = onnx.load(self.graph(name, **how))
        change(model)
        path = self.folder / "changed.onnx"
        onnx.save(model, path)
        return path

    def verify(self, path: Path | str, name: str = "Net", **options: Any) -> Report:
        options.setdefault("against", str(self.source(name)))
        if str(options["against"]).endswith(".pth"):
            options.setdefault("factory", f"{self.folder / 'nets.py'}:{name}")
        return api.verify(path, VerifyOptions(**options))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "nets.py").write_text(NETS)
    return Shop(folder)
