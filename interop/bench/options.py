"""What a person asks of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interop.errors import ConfigError
from interop.identity.user_facts import BuildFacts
from interop.options import BASE, COLUMN, DEVICES, OWN_MODULE, SPLIT, TAKES, TRUST, ask, columns_of
from interop.records import dataclass

BATCHES = (1, 8, 32)
RUNTIMES = ("pytorch", "onnxruntime")


def parse_sizes(given: str) -> tuple[int, ...]:
    """ "1,8,32" -> the sizes in order; "none" -> (). Raises ConfigError."""
    try:
        sizes = () if given == "none" else tuple(sorted({int(part) for part in given.split(",")}))
    except ValueError:
        raise ConfigError(f"{given!r} is no list", where="--batch", fix="write 1,8,32") from None
    if sizes and sizes[0] < 1:
        raise ConfigError(f"{sizes[0]} is no batch size", where="--batch", fix="give 1 or more")
    return sizes


def positive(seconds: float) -> float:
    """The same number. Raises ConfigError where it is not above zero."""
    if not seconds > 0:
        raise ConfigError("must be positive", where="--seconds")
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions(BuildFacts):
    """What is measured, and how.

    `runtimes` are as `RunnerSpec` reads them; the others are held against the first. Without
    `batches` accuracy alone is measured; `seconds` is the time spent on each. `columns` are the
    names of a table's columns by their role.
    """

    task: str | None = ask(None, "What the model is for, by the Hub's word.", metavar="NAME")
    columns: Mapping[str, str] = ask(
        {}, COLUMN.format("text=sentence, text_pair=reply, label=class"), "--column",
        metavar="ROLE=NAME", parse=columns_of,
    )  # fmt: skip
    split: str | None = ask(None, SPLIT, metavar="NAME")
    device: str = ask("cpu", choices=DEVICES)
    runtimes: Sequence[str] = ask(
        RUNTIMES, "Where the model runs; repeatable.", "--runtime", metavar="RUNTIME"
    )
    batches: Sequence[int] = ask(
        BATCHES, "Batch sizes for latency; none for none.", "--batch", parse=parse_sizes,
        many=False, metavar="N,N,…", shown="1,8,32",
    )  # fmt: skip
    threads: int | None = ask(None, "Threads of all runtimes.", kind=int, least=1)
    seconds: float = ask(4.0, "Time for each batch size.", parse=positive, shown="4.0")
    tf32: bool = ask(False, "Let CUDA round float32 products to 10 bits.")
    factory: str | None = ask(None, OWN_MODULE, "--model", metavar="MODULE:FACTORY")
    inputs: Sequence[str] = ask((), TAKES, "--input", metavar="SPEC")
    base: str | None = ask(None, BASE, metavar="FILE|FOLDER")
    trust: bool = ask(False, TRUST, "--trust", "--trust-pickle")

    def check(self) -> None:
        """Raises ConfigError for what cannot be measured."""
        if self.batches and min(self.batches) < 1:
            raise ConfigError("a batch size must be at least 1", where="--batch")
        positive(self.seconds)
