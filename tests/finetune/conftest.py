"""Small real data: a few of the digits that no committed backbone is measured on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from interop.facts import Report
from interop.finetune import FinetuneOptions, finetune
from tests.helpers.digits import for_training

Train = Callable[..., Report]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 training digits of each class, as class folders."""
    return for_training(tmp_path_factory.mktemp("digits"), 14)


@pytest.fixture(scope="session")
def few(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the classes."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("one", "two", "three"):
        shutil.copytree(pictures / name, folder / name)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same sums whichever machine, and no contest with other tests' processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train(digits: Path) -> Train:
    """Fine-tunes with few epochs; further options by name."""

    def run(data: Path, out: Path, backbone: Any = None, **given: Any) -> Report:
        options = FinetuneOptions(out=out, **{"epochs": 2, "rate": 2e-3, **given})
        return finetune(str(backbone or digits / "base.pth"), data, options)

    return run
