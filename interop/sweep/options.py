"""What a person asks of work on many models."""

from __future__ import annotations

from pathlib import Path

from interop.cluster import LOCAL, MANY, SCHEDULER, cpus
from interop.errors import ConfigError
from interop.options import ask
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Where a row a model is written, and where the models are read: `jobs` processes of this
    machine, or the workers of a Dask cluster."""

    out: Path | None = ask(
        None, "With --all: table of one row a model, .parquet or .jsonl.", metavar="FILE", kind=Path
    )
    jobs: int | None = ask(None, "Processes for --all.  [default: CPUs]", kind=int, least=1)
    backend: str = ask(LOCAL, "Where --all reads the models.", choices=MANY)
    scheduler: str | None = ask(None, SCHEDULER, metavar="ADDRESS")

    def refuse_for_one(self) -> None:
        """Raises ConfigError if a person asks for what is of many models alone."""
        if self.out is not None or self.backend != LOCAL or self.scheduler is not None:
            what = "--out, --backend and --scheduler are for --all"
            raise ConfigError(what, fix="add --all, or leave them away")

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return self.jobs or cpus()
