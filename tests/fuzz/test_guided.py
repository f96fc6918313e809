"""Each target of the guided fuzzing, a few dozen runs of it: `make fuzz` goes on from there."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.guided.findings import failure
from tests.fuzz.guided.mutators import plain_mutation
from tests.fuzz.guided.targets import TARGETS, possible


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_a_few_runs(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    if not possible(target):
        pytest.skip(f"needs {', '.join(target.needs)}")
    rng = random.Random(name)
    base = plain_mutation(rng)
    seeds = list(target.seeds())
    assert seeds
    run = target.make(tmp_path)
    rng.shuffle(seeds)
    inputs = list(islice(seeds, target.runs // 3 + 1))
    for _ in range(target.runs):
        data = rng.choice(inputs)
        for _ in range(rng.randint(1, 3)):
            data = target.mutate(data, rng, base, 1 << 20) if target.mutate else base(data, 1 << 20)
        inputs.append(data)
    for data in inputs:
        assert (failure(run, data), data.hex()[:4000])[0] is None, data.hex()[:4000]
