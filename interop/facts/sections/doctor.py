"""What doctor reports of the installation."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.section import ABSENT, Absent, Section
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSection(Section):
    """Versions by package; whether each execution provider loads, or the error it gives; problems
    with their fixes; and whether the packages that `run` needs are there."""

    packages: Mapping[str, str] | None = None
    providers: Mapping[str, bool | str] | None = None
    gpu: str | Absent | None = ABSENT
    problems: tuple[tuple[str, str], ...] | None = None
    run: bool | None = None
