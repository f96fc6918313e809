"""What a person asks of an assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop.assess.parallel import Pool
from interop.assess.probe_cv import SAMPLES
from interop.finetune.options import FinetuneOptions
from interop.identity.user_facts import UserFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessOptions(UserFacts):
    """What is measured, and how.

    `task` is the Hub's word, where models and data do not tell. `folds` times `repeats` of
    cross-validation; `held` is the share that is kept for a test set, touched once. `margin` is a
    share of 1: accuracies within it count as equivalent. `seconds` is the time for latency (0:
    none). `cache` keeps features and probes (None: nothing is kept). `tuning` asks for fine-tuning
    on the folds as well, by these options. `weights` make one score of several figures.
    `factories` and `features` are for one's own modules: what makes each, and which part of it
    gives features, by the candidate's short name ("" is all).
    """

    task: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    folds: int = 5
    repeats: int = 1
    held: float = 0.2
    margin: float = 0.01
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    seconds: float = 2.0
    cache: Path | None = None
    pool: Pool = field(default_factory=Pool)
    tuning: FinetuneOptions | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    samples: Sequence[int] = SAMPLES
    factories: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
