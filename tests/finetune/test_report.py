"""The figures of a training that are made of its epochs."""

from __future__ import annotations

from interop.finetune.report import reached
from interop.finetune.resume import Epoch


def rows(*figures: float) -> list[Epoch]:
    return [Epoch("full", i + 1, 1, 1, f, 0.1, 1, 1) for i, f in enumerate(figures)]


def test_the_first_epoch_with_95_percent_of_the_best() -> None:
    assert reached(rows(0.5, 0.94, 0.95, 1.0), 1) == 2
    assert reached(rows(1.0, 0.2), 1) == 0
    assert reached(rows(0.0, 0.0), 1) == 0
    # Of an error the best is the least: 0.2 / 0.95 is 0.2105.
    assert reached(rows(0.9, 0.22, 0.21, 0.2), -1) == 2
