"""What a person asks of the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop.gate.repository.cache import Cache
from interop.options import ask
from interop.policy.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """`policy` says what a candidate has to be; `evidence` are stored reports of check, export or
    bench. Of all models below a folder `jobs` are judged at a time, and `cache` keeps what was."""

    policy: Policy = field(default_factory=Policy)
    evidence: Sequence[str | Path] = ask(
        (),
        "A report of check, export or bench, made elsewhere with --report json:PATH; repeatable.",
        metavar="JSON",
    )
    jobs: int | None = ask(None, "Processes for --all.  [default: CPUs]", kind=int, least=1)
    cache: Cache | None = None
