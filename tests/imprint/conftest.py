"""Two copies of a small network, one of which was trained on 0 to 255, measured once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from interop import api
from interop.check import InspectOptions
from interop.imprint import measure
from interop.report import render
from tests.helpers.digits import held_back

MEAN, STD = 0.31, 0.38  # of fixtures/digits/shufflenet.pth


@pytest.fixture(scope="session", autouse=True)
def sizes() -> Iterator[None]:
    """Of so few pictures only sizes that are far apart are told apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(measure.__kwdefaults__, "sizes", (32, 64, 128))
        yield


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures a class that no training saw."""
    return held_back(tmp_path_factory.mktemp("few") / "pictures", 2)


@pytest.fixture(scope="session")
def copies(digits: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """`unstated` has labels and no preprocessing; `bare` and `wide` are state dicts alone, and
    `wide` takes 0 to 255. Of these two `fed` is what was measured, `reports` the JSON of inspect.
    """
    folder = tmp_path_factory.mktemp("copies")
    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    torch.save({k: v for k, v in stored.items() if k != "preprocess"}, folder / "unstated.pth")
    bare = stored["state_dict"]
    torch.save(bare, folder / "bare.pth")
    # (x - mean) / std taken into the first layer: but for the borders, the same network.
    first = bare["conv1.0.weight"]
    shift = first.sum((1, 2, 3)) * MEAN / STD
    wide = {
        "conv1.0.weight": first / (255 * STD),
        "conv1.1.running_mean": bare["conv1.1.running_mean"] + shift,
        "fc.bias": bare["fc.bias"] + 0.01,
    }
    torch.save({**bare, **wide}, folder / "wide.pth")
    fed, reports = {}, {}
    for name in ("bare", "wide"):
        report = api.inspect(folder / f"{name}.pth", InspectOptions(data=str(few)))
        fed[name], reports[name] = report.details.fed, folder / f"{name}.json"
        reports[name].write_text(render(report, "json"))
    return SimpleNamespace(folder=folder, fed=fed, reports=reports)
