"""A run does nothing twice: what it exports, builds, identifies and judges is counted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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

COUNTED: dict[Any, str] = {
    f.__code__: f.__name__ for f in (identify, check_identities, exported, built, open_data, bare)
} | {judged.__code__: "judged"}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each of these functions is called, whoever imported it and by which name."""
    calls: Counter[str] = Counter()

    def look(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code in COUNTED:
            calls[COUNTED[frame.f_code]] += 1

    sys.setprofile(look)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def calls_of(run: Callable[[], Any]) -> dict[str, int]:
    with counted() as calls:
        run()
    return dict(calls)


def test_the_counter_counts(digits: Path) -> None:
    seen = calls_of(lambda: [api.check(*[digits / "shufflenet.pth"] * 2) for _ in range(2)])
    assert seen == {"identify": 4, "check_identities": 2}


def test_export(digits: Path, tmp_path: Path) -> None:
    seen = calls_of(lambda: api.export(digits / "shufflenet.pth", tmp_path / "out"))
    assert seen == {"identify": 1, "exported": 1, "built": 1}


def test_bench(digits: Path) -> None:
    models = [digits / "shufflenet.pth", digits / "squeezenet.pth"]
    seen = calls_of(lambda: api.bench(models, digits / "heldout", BenchOptions(batches=())))
    # Each model's classes are matched to the data set's by themselves.
    assert seen == {"identify": 2, "exported": 2, "built": 2, "open_data": 2}


@pytest.mark.parametrize("measures", [True, False])
def test_gate(digits: Path, derived: Path, measures: bool) -> None:
    policy = Policy(export=True, bench=measures, data=digits / "heldout")
    if measures:
        policy = Policy(
            export=True, bench=True, data=digits / "heldout", budgets={"accuracy-drop": 50}
        )
    reports = []
    pair = derived / "retrained.pth", digits / "shufflenet.pth"
    seen = calls_of(lambda: reports.append(api.gate(*pair, GateOptions(policy=policy))))
    assert reports[0].exit_code == 0, reports[0].summary
    once = {"identify": 2, "check_identities": 1, "judged": 1}
    models = (
        {"exported": 2, "built": 2, "open_data": 2} if measures else {"exported": 1, "built": 1}
    )
    assert seen == once | models


def test_assess(digits: Path) -> None:
    models = [str(digits / "shufflenet.pth"), str(digits / "squeezenet.pth")]
    options = AssessOptions(
        task="image-classification", seconds=0, samples=(), folds=2, held=0.0
    )  # fmt: skip
    seen = calls_of(lambda: api.assess(models, digits / "heldout", options))
    # The data set is opened for its classes, then with them. A module is made for its features and,
    # after those of all others are let go, for its costs.
    assert seen == {"identify": 2, "check_identities": 2, "open_data": 2, "bare": 4}
