"""What a sweep of a store reports, beside the table of one row a model."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.section import Section
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSection(Section):
    """How many models there are of each kind. `rules` counts the models with a finding, by "level
    rule"; `kept` are rows of a run before this one, which was interrupted; `unlisted` are models
    with a fault that stands in the table alone. `out` is the table."""

    out: str | None = None
    models: int | None = None
    kept: int | None = None
    bytes: int | None = None
    outcomes: Mapping[str, int] | None = None
    containers: Mapping[str, int] | None = None
    architectures: Mapping[str, int] | None = None
    rules: Mapping[str, int] | None = None
    unlisted: int | None = None
