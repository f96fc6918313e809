"""What a person asks of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interop.identity.user_facts import UserFacts

BATCHES = (1, 8, 32)
RUNTIMES = ("pytorch", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions(UserFacts):
    """What is measured, and how.

    `task` is the Hub's word for it, where the model does not tell. `runtimes` are as `RunnerSpec`
    reads them; the others are held against the first. `batches` are the batch sizes for latency
    (none: accuracy alone), `seconds` the time spent on each, `threads` the number that all runtimes
    use, `tf32` whether CUDA may round float32 products. `columns` name a table's columns by their
    role, `split` a part of the data set. `factory`, `base` and `inputs` say how modules are made,
    as in `interop.export.ExportOptions`.
    """

    device: str = "cpu"
    task: str | None = None
    runtimes: Sequence[str] = RUNTIMES
    batches: Sequence[int] = BATCHES
    seconds: float = 4.0
    threads: int | None = None
    tf32: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    factory: str | None = None
    base: str | None = None
    inputs: Sequence[str] = ()
