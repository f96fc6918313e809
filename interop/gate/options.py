"""What a person asks of the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interop.options import ask
from interop.policy.policy import Policy
from interop.records import dataclass, field
from interop.sweep.options import SweepOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions(SweepOptions):
    """`policy` says what a candidate has to be. The cache, and what `SweepOptions` has, are for
    all models of a store."""

    policy: Policy = field(default_factory=Policy)
    evidence: Sequence[str | Path] = ask(
        (),
        "A report of check, export, bench or inspect --data, made elsewhere with --report "
        "json:PATH; repeatable.",
        metavar="JSON",
    )
    cache: Path | None = ask(
        None, "Where --all keeps what it judged.  [default: $XDG_CACHE_HOME/interop]", kind=Path
    )
    no_cache: bool = ask(False, "Judge every model anew.")
