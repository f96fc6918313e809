"""The tasks by name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from interop.errors import ConfigError
from interop.tasks import TASKS, task
from interop.tasks.speech import Said
from interop.tasks.tokens import Tagged


def test_every_task_goes_by_its_own_name() -> None:
    assert len(TASKS) == 10
    for name in TASKS:
        found = task(name, ("a", "b"))
        assert found.name == name and type(found) is TASKS[name]
        assert found.labels == ("a", "b") and found.headline


def test_an_unknown_task_is_said() -> None:
    with pytest.raises(ConfigError, match=r"'juggling' is no task.*regression"):
        task("juggling")
    with pytest.raises(KeyError):
        TASKS["juggling"]


def test_the_tasks_load_no_metric_library_until_they_score() -> None:
    code = (
        "import sys, interop.tasks as t; [t.task(n) for n in t.TASKS];"
        "print([m for m in ('torchmetrics','sklearn','seqeval','pycocotools') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def _answered(name: str) -> tuple[Any, list[Any], list[Any]]:
    """A task with a few answers, some of them wrong."""
    random = np.random.default_rng(0)
    if name == "regression":
        truths = [1.0, 2.5, -3.0, 8.0]
        return task(name), [np.float32([t + 0.3]) for t in truths], truths
    if name == "token-classification":
        tags = [("B-X", "I-X", "O"), ("O", "B-X", "O"), ("O", "O", "O")]
        said = [("B-X", "I-X", "O"), ("B-X", "B-X", "O"), ("O", "O", "B-X")]
        return task(name, ("O", "B-X", "I-X")), [Tagged(s, 1.0) for s in said], tags
    if name == "automatic-speech-recognition":
        truths = ["one two", "three", "four five six"]
        return task(name), [Said(s, 1.0) for s in ("one too", "three", "for five")], truths
    logits = [random.normal(size=3).astype(np.float32) for _ in range(7)]
    return task(name, ("a", "b", "c")), logits, [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    "name",
    ["image-classification", "regression", "token-classification", "automatic-speech-recognition"],
)
def test_the_figure_is_the_first_score_without_its_interval(name: str) -> None:
    pytest.importorskip("torchmetrics")
    found, answers, truths = _answered(name)
    score = found.scores(answers, truths)[0]
    assert score.name == found.headline and 0 < score.value != 1
    assert found.figure(answers, truths) == pytest.approx(score.value, rel=1e-12)
