"""The tasks by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from interop.bench.tasks import TASKS, task
from interop.errors import ConfigError


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
        "import sys, interop.bench.tasks as t; [t.task(n) for n in t.TASKS];"
        "print([m for m in ('torchmetrics','sklearn','seqeval','pycocotools') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
