"""A run does nothing twice: what it exports, builds, identifies and judges is counted."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import interop
from interop import api
from interop.assess import AssessOptions
from interop.bench import BenchOptions
from interop.check.pipeline import check_identities
from interop.data.opening import open_data
from interop.export.pipeline import exported
from interop.gate import GateOptions
from interop.gate.judge import gate as judged
from interop.identity.pipeline import identify
from interop.models.backbone import bare
from interop.models.load_module import built
from interop.policy.policy import Policy
from tests.helpers.digits import held_back

# All modules are there before names in them are replaced.
for module in pkgutil.walk_packages(interop.__path__, "interop."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
COUNTED = (identify, check_identities, exported, built, open_data, bare, judged)
NAMES = {judged: "judged"}


@pytest.fixture
def calls_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], dict[str, int]]:
    """How often each of these functions is called in a run, whoever imported it, by which name."""
    calls: Counter[str] = Counter()

    def counting(function: Any) -> Any:
        def called(*args: Any, **given: Any) -> Any:
            calls[NAMES.get(function, function.__name__)] += 1
            return function(*args, **given)

        return called

    for function in COUNTED:
        counted = counting(function)
        for module in [m for n, m in sys.modules.items() if n.startswith("interop")]:
            for name, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, name, counted)

    def run(call: Callable[[], Any]) -> dict[str, int]:
        calls.clear()
        call()
        return dict(calls)

    return run


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return held_back(tmp_path_factory.mktemp("once"), 4)


@pytest.fixture(scope="module")
def pair(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and one of other weights that answers alike."""
    folder = tmp_path_factory.mktemp("pair")
    stored = torch.load(digits / "squeezenet.pth", weights_only=True)
    torch.save(stored, folder / "a.pth")
    stored["state_dict"]["classifier.1.bias"] += 0.01
    torch.save(stored, folder / "b.pth")
    return folder / "a.pth", folder / "b.pth"


Calls = Callable[[Callable[[], Any]], dict[str, int]]


def test_the_counter_counts(calls_of: Calls, pair: tuple[Path, Path]) -> None:
    seen = calls_of(lambda: [api.check(*pair) for _ in range(2)])
    assert seen == {"identify": 4, "check_identities": 2}


def test_bench(calls_of: Calls, pair: tuple[Path, Path], few: Path) -> None:
    seen = calls_of(lambda: api.bench(pair, few, BenchOptions(batches=())))
    # Each model's classes are matched to the data set's by themselves.
    assert seen == {"identify": 2, "exported": 2, "built": 2, "open_data": 2}


def test_gate(calls_of: Calls, pair: tuple[Path, Path], few: Path) -> None:
    a, b = pair
    policy = Policy(export=True, bench=True, data=few, budgets={"accuracy-drop": 50})
    reports = []
    seen = calls_of(lambda: reports.append(api.gate(b, a, GateOptions(policy=policy))))
    assert reports[0].exit_code == 0, reports[0].summary
    # The candidate is exported once for both its proof and its measurement.
    assert seen == {
        "identify": 2, "check_identities": 1, "judged": 1, "exported": 2, "built": 2,
        "open_data": 2,
    }  # fmt: skip


def test_export_and_a_gate_that_proves_alone(
    calls_of: Calls, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = pair
    options = GateOptions(policy=Policy(export=True))
    assert calls_of(lambda: api.gate(b, a, options)) == {
        "identify": 2, "check_identities": 1, "judged": 1, "exported": 1, "built": 1
    }  # fmt: skip
    seen = calls_of(lambda: api.export(a, tmp_path / "out"))
    assert seen == {"identify": 1, "exported": 1, "built": 1}


def test_assess(calls_of: Calls, pair: tuple[Path, Path], few: Path) -> None:
    options = AssessOptions(
        task="image-classification", seconds=0, samples=(), folds=2, held=0.0
    )  # fmt: skip
    seen = calls_of(lambda: api.assess([str(p) for p in pair], few, options))
    # The data set is opened for its classes, then with them. A module is made for its features and,
    # after those of all others are let go, for its costs.
    assert seen == {"identify": 2, "check_identities": 2, "open_data": 2, "bare": 4}
