"""One bundle of the fine-tuned digits, and a module of somebody's own class for the odd cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import Folder
from interop.export import ExportOptions, export
from interop.facts import Identity, Labels, Report
from interop.identity import identify
from interop.reading import read

ODD = '''
import torch
from torch import nn

class Plain(nn.Module):
    """Two layers; nothing odd."""
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(1, 3, 10, 10)
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

    def features(self, x):
        return self.conv(x).relu().mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))

class Branches(Plain):
    """Answers otherwise in a batch of more than four."""
    def forward(self, x):
        y = self.features(x)
        return self.head(y * 1.5 if x.shape[0] > 4 else y)

class Decides(Plain):
    """Takes a decision in Python on its input's values."""
    def forward(self, x):
        print("deciding")
        y = self.features(x)
        return self.head(y + 1 if float(y.sum()) > 0 else y)

class Sizes(Plain):
    """Takes a decision in Python on its input's shape."""
    def forward(self, x):
        y = self.features(x)
        return self.head(y + 1 if x.shape[2] > 4 else y)

class Tall(Plain):
    """Answers otherwise to a tall picture."""
    def forward(self, x):
        y = self.head(self.features(x))
        return y * 2 if x.shape[2] > 30 else y

class Crowds(Plain):
    """Answers otherwise in a batch of more than twenty."""
    def forward(self, x):
        y = self.head(self.features(x))
        return y * 2 if x.shape[0] > 20 else y

class Lottery(Plain):
    """Draws a number at each run, which changes the answer once in a million."""
    def forward(self, x):
        return self.head(self.features(x)) + (torch.rand(1) < 1e-6) * 5.0

class Warms(Plain):
    """Answers otherwise from its third call on."""
    calls = 0
    def forward(self, x):
        self.calls += 1
        y = self.head(self.features(x))
        return y if self.calls < 3 else y * 2

class Spoils(Plain):
    """Writes into its input."""
    def forward(self, x):
        y = self.head(self.features(x))
        x.mul_(-1)
        return y

class Casts(Plain):
    """Writes through a cast to the type that was there, which is no copy."""
    def forward(self, x):
        y = self.features(x)
        y.float().add_(1)
        return self.head(y)

class Says(Plain):
    """Gives yes or no alone."""
    def forward(self, x):
        return self.head(self.features(x)) > 0

class Shifts(Plain):
    """Adds a constant of its own, as long as a bias."""
    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)).relu() + torch.zeros(6))

class Twice(Plain):
    """Gives one value under two names, and its input."""
    def forward(self, x):
        y = self.head(self.features(x))
        return {"logits": y, "again": y, "given": x, "weight": self.head.bias}

class Several(Plain):
    """Three outputs in a mapping."""
    def forward(self, x):
        y = self.features(x)
        z = self.head(y)
        return {"logits": z, "features": y, "top": z.argmax(1)}

class FeaturesFirst(Plain):
    """Gives its features, and then its classes."""
    def forward(self, x):
        y = self.features(x)
        return y, self.head(y)

class Breaks(Plain):
    """Cannot take its own input."""
    def forward(self, x):
        return self.head(x)

class Random(Plain):
    """No exporter can say what it computes, and its answers differ from run to run."""
    def forward(self, x):
        y = self.features(x)
        return self.head(y * torch.rand(1))

class Counts(Plain):
    """Keeps count of its calls."""
    calls = 0
    def forward(self, x):
        self.calls += 1
        return self.head(self.features(x)) + self.calls

class Noisy(Plain):
    """Adds noise that an exporter can say."""
    def forward(self, x):
        y = self.head(self.features(x))
        return y + torch.randn_like(y)

class Drops(Plain):
    """Calls dropout as in training, whatever mode it is in."""
    def forward(self, x):
        return self.head(nn.functional.dropout(self.features(x), 0.5, training=True))

class Dead(Plain):
    """Its answer does not depend on its input."""
    def forward(self, x):
        return self.head(self.features(x) * 0 + 1)

class Pair(Plain):
    """Two layers of one shape."""
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.head(self.other(self.one(self.features(x)).relu()))

class NoSize(Plain):
    """Does not tell what its two inputs are."""
    def __init__(self):
        super().__init__()
        del self.example_input_array
    def forward(self, image, other):
        return super().forward(image + other)
'''


@dataclass
class Bundle:
    """A bundle folder and the report of the export that made it."""

    folder: Path
    report: Report


def of(path: Path) -> Identity:
    return identify(read(path))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The fine-tuned shufflenet, exported and proved on real digits."""
    folder = tmp_path_factory.mktemp("bundle") / "digits"
    samples = Folder(DIGITS / "heldout", LABELS).spread(HOW, 10)
    return Bundle(folder, export(of(DIGITS / "shufflenet.pth"), folder, samples=samples))


Odd = Callable[..., Report]


@pytest.fixture
def odd(tmp_path: Path) -> Odd:
    """Exports a class of the odd ones to tmp_path/out, with weights that fit it."""
    (tmp_path / "odd.py").write_text(ODD)

    def make(name: str, progress: Callable[[str], None] | None = None, **options: Any) -> Report:
        from interop.models import call_by_path

        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = call_by_path(f"{tmp_path}/odd.py:{name}")
        change = options.pop("change", lambda state: state)
        torch.save(change(module.state_dict()), tmp_path / "odd.pth")
        factory = f"{tmp_path}/odd.py:{name}"
        identity = of(tmp_path / "odd.pth")
        if names := options.pop("labels", None):
            identity = replace(identity, labels=Labels(names))
        asked = ExportOptions(factory=factory, **options)
        return export(identity, tmp_path / "out", asked, progress=progress)

    return make
