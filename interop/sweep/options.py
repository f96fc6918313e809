"""What a person asks of work on many models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interop.cluster import LOCAL, MANY, SCHEDULER, cpus
from interop.options import ask


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

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return self.jobs or cpus()
