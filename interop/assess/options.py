"""What a person asks of an assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from interop.cluster import JOBLIB, SCHEDULER
from interop.finetune.options import FinetuneOptions
from interop.identity.user_facts import BuildFacts
from interop.options import COLUMN, DEVICES, SPLIT, ask, columns_of
from interop.records import dataclass, field

SAMPLES = (5, 20, 100)  # training records of each class


def by_name(given: Sequence[str]) -> dict[str, str]:
    """ "NAME=VALUE" by name; a bare value is for all, under ""."""
    return {name: value for name, _, value in (one.rpartition("=") for one in given)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessOptions(BuildFacts):
    """What is measured, and how.

    `task` is the Hub's word, where models and data do not tell. `margin` is a share of 1:
    accuracies within it count as equivalent. Without `cache` nothing is kept. `tuning` asks for
    fine-tuning on the folds as well, by these options. `weights` make one score of several figures.
    `factories` and `features` are for one's own modules, by the candidate's short name ("" is all).
    `samples` are the sizes of training sets, records of each class.
    """

    task: str | None = ask(None, "What the data is for, by the Hub's word.", metavar="NAME")
    columns: Mapping[str, str] = ask(
        {}, COLUMN.format("text=sentence, label=class"), "--column", metavar="ROLE=NAME",
        parse=columns_of,
    )  # fmt: skip
    split: str | None = ask(None, SPLIT, metavar="NAME")
    group: str | None = ask(
        None, "What belongs together and is never on both sides of a fold; a table's column "
        "speaker, user, document and the like is taken unasked.", metavar="COLUMN|PATTERN",
    )  # fmt: skip
    folds: int = ask(5, least=2)
    repeats: int = ask(1, least=1)
    held: float = ask(
        0.2, "Share that is kept for a test set, used once; 0 for none.", "--test", least=0,
        most=0.5,
    )  # fmt: skip
    margin: float = 0.01
    tuning: FinetuneOptions | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    seed: int = ask(0)
    device: str = ask("cpu", choices=DEVICES)
    threads: int | None = ask(None, "Threads of the models.", kind=int, least=1)
    seconds: float = ask(2.0, "Time for the latency of all models; 0 leaves it out.", least=0)
    backend: str = ask("loky", "Where joblib does the work.", choices=JOBLIB)
    jobs: int = ask(1, "So many at once.", least=1)
    scheduler: str | None = ask(None, SCHEDULER, metavar="ADDRESS")
    cache: Path | None = None
    samples: Sequence[int] = SAMPLES
    factories: Mapping[str, str] = ask(
        {}, "Your own function that makes the module (of the model called NAME). It is your code, "
        "and it is run.", "--model", metavar="[NAME=]MODULE:FACTORY", parse=by_name,
    )  # fmt: skip
    features: Mapping[str, str] = ask(
        {}, "The part of your own module that gives features.", metavar="[NAME=]PATH",
        parse=by_name,
    )  # fmt: skip
