"""What gate reports of one pair of models, or of a whole repository."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.enums import Answer, GateState, Intent, Level
from interop.facts.model import Json
from interop.facts.report import Finding
from interop.facts.section import Section, Sparse, json_key
from interop.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WaivedFinding(Sparse):
    """A finding that a policy waives, with the reason and the last day on which it does."""

    rule: str
    level: Level | None = None
    what: str | None = None
    place: str | None = None
    hint: str | None = None
    reason: str | None = None
    expires: str | None = None
    facts: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverUse:
    """A waiver of the policy: how many findings it meets, and the file that it is written in."""

    rule: str
    place: str
    reason: str
    expires: str
    state: str
    findings: int
    origin: str = json_key("from")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedModel(Sparse):
    """One model of a repository; `was` is its path in the baseline where it was renamed."""

    path: str
    state: GateState
    outcome: Answer
    summary: str
    findings: tuple[Finding, ...]
    cached: bool
    was: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSection(Section):
    """`evidence` says of each command where its report came from, or why there is none.

    `models` and `removed` are of a whole repository; `other_intents` names findings that break
    what the policy does not ask.
    """

    intent: Intent | None = None
    policy: str | None = None
    evidence: Mapping[str, str] | None = None
    waivers: tuple[WaiverUse, ...] | None = None
    other_intents: tuple[str, ...] | None = None
    models: tuple[GatedModel, ...] | None = None
    removed: tuple[str, ...] | None = None
    waived: tuple[WaivedFinding, ...] | None = None
