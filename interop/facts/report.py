"""What is said of a model: proofs, measurements, findings, and the Report of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from interop.facts.compare import Pairing, Parts
from interop.facts.enums import Answer, GapKind, Intent, Level, ProofName, Unit
from interop.facts.model import Assumption, Identity, Json, Unreadable
from interop.facts.section import Section
from interop.records import dataclass, field

# The proofs of an export, in the order in which they are made; it counts where all of them hold.
PROOFS = tuple(ProofName)[:5]


@dataclass(frozen=True, slots=True)
class Proof:
    """One of the proofs of an export: does it hold, the sentence that says so, and the figures."""

    name: str
    holds: bool
    what: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured quantity: raw samples, the figure made of them, and the conditions.

    `interval` is the 95 % interval of `value`, in the same unit. `samples` are in the order in
    which they were taken. `conditions` say what it is of, and how it was measured.
    """

    name: str
    unit: Unit
    value: float | None
    interval: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    conditions: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvidenceGap:
    """Evidence that a policy asks for and that is not there; `why` is for people alone."""

    kind: GapKind
    why: str


@dataclass(frozen=True, slots=True)
class Case:
    """All that a rule may look at; a part that was not asked for is None or empty.

    `b` is the candidate and `a` the baseline it is held against.
    """

    b: Identity | None = None
    a: Identity | None = None
    pairing: Pairing | None = None
    parts: Parts | None = None
    unreadable: tuple[Unreadable, ...] = ()
    proofs: tuple[Proof, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    lacking: Mapping[str, EvidenceGap] = field(default_factory=dict)
    assumptions: tuple[Assumption, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's record.

    `breaks` are the intents whose answer a finding changes, to `answer`: NO for a fault, UNKNOWN
    for a fact that is nowhere to be found. `needs` names the parts of a Case without which the rule
    is skipped: "candidate", "pair", "parts" (that differ), "values", "unreadable", "proofs",
    "measurements", "evidence", "assumptions".
    """

    id: str
    level: Level
    breaks: tuple[Intent, ...]
    needs: tuple[str, ...] = ("candidate",)
    answer: Answer = Answer.NO
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or gap. `place` is the tensor, key or file; `hint` says what to do."""

    rule: str
    level: Level
    breaks: tuple[Intent, ...]
    answer: Answer
    what: str
    place: str = ""
    hint: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A check that was not made, because."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one intent, and the sentence that gives the reason."""

    intent: Intent
    answer: Answer
    why: str


@dataclass(frozen=True, slots=True)
class Input:
    """A file or data set that a command was given, as one line and as facts."""

    role: str
    path: str
    summary: str
    facts: Mapping[str, Json] = field(default_factory=dict)


S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Report:
    """What a command has to say; every format is a pure function of it.

    `outcome` is the command's one answer, from which the exit code follows: YES 0, NO 1, UNKNOWN 3.
    `file` is where a stored report was read, "" of one that was made here; it is never written.
    """

    command: str
    outcome: Answer
    summary: str
    inputs: tuple[Input, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    proofs: tuple[Proof, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    environment: Mapping[str, Json] = field(default_factory=dict)
    details: Section = field(default_factory=Section)
    schema: int = 1
    file: str = field(default="", compare=False, metadata={"key": ""})

    @property
    def exit_code(self) -> int:
        return {Answer.YES: 0, Answer.NA: 0, Answer.NO: 1, Answer.UNKNOWN: 3}[self.outcome]

    def section(self, kind: type[S]) -> S:
        """`details` if it is of that kind; an empty section of it if not."""
        return self.details if isinstance(self.details, kind) else kind()

    @property
    def notes(self) -> Sequence[str]:
        """The notes of the section, of whichever command."""
        return getattr(self.details, "notes", None) or ()

    @property
    def intent(self) -> Intent | None:
        """The question that was asked of a check or a gate."""
        return getattr(self.details, "intent", None)
