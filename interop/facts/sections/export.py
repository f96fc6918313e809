"""What export, verify and port report."""

from __future__ import annotations

from collections.abc import Mapping

from interop.facts.domain import AxisDomain
from interop.facts.enums import Answer
from interop.facts.model import Json
from interop.facts.section import ABSENT, Absent, Section
from interop.records import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """A route of an exporter that was given up, why, and after how many seconds."""

    route: str
    why: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of an exported graph; an axis is a number, or a name where it is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDeparture:
    """Where a graph departs from its module (as `interop.proof.divergence` says it), on which batch
    and route, and the `folder` that shows it, with its `files` and their sizes in bytes."""

    runtime: str
    what: str
    node: str
    operator: str
    module: str
    kind: str
    source: str
    relative: float | str
    at_inputs: float | str
    bound: float | str
    compared: int
    agreed: int
    others: tuple[str, ...]
    value: str
    batch: str
    route: str
    folder: str
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedBundle:
    """One of several checkpoints: its bundle (None where none was written), the proofs that hold,
    of how many, by which route, and the CPU seconds of all of it."""

    checkpoint: str
    bundle: str | None
    outcome: Answer
    summary: str
    hold: int
    proofs: int
    route: str | None
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportsSection(Section):
    """What became of each of several checkpoints."""

    bundles: tuple[ExportedBundle, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSection(Section):
    """`bundle` is None where nothing was written; `files` maps names to bytes.

    `route_budget_seconds` is the time that each route has to convert the module.
    `signature`, `derived`, `precision` and `prepared` are as the receipt has them. Of a restore,
    `arch`, `steps` (how many tensors each step found) and `constants` (initialisers of no tensor).
    """

    bundle: str | Absent | None = ABSENT
    arch: str | None = None
    arch_evidence: str | None = None
    steps: Mapping[str, int] | None = None
    constants: tuple[str, ...] | None = None
    domain: tuple[AxisDomain, ...] | None = None
    departure: GraphDeparture | None = None
    precision: Mapping[str, Mapping[str, Json]] | None = None
    prepared: Mapping[str, Json] | None = None
    embedded: bool = False
    route: str | None = None
    opset: int | None = None
    inputs: tuple[GraphInput, ...] | None = None
    outputs: tuple[str, ...] | None = None
    signature: Mapping[str, Json] | None = None
    derived: Mapping[str, Json] | None = None
    files: Mapping[str, int] | None = None
    attempts: tuple[Attempt, ...] | None = None
    route_budget_seconds: float | None = None
    notes: tuple[str, ...] | None = None
    conversion_seconds: float | None = None
    conversion_cpu_seconds: float | None = None
    proof_seconds: float | None = None
    proof_cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySection(Section):
    """`made_by` and `source` are a bundle's receipt's. Of an artefact that was held against its
    source, `precision` is what its weights were lowered to, `maps` the formulas by which an input
    of the source or an output of the artefact is made, `departure` where it departs."""

    runtime: str | None = None
    made_by: str | Absent | None = ABSENT
    source: Mapping[str, Json] | None = None
    domain: tuple[AxisDomain, ...] | None = None
    opset: int | None = None
    precision: str | None = None
    maps: Mapping[str, str] | None = None
    departure: GraphDeparture | None = None
    notes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSection(Section):
    """`standing` says in words how far the map is proved, `call` what builds the module;
    `steps` counts the tensors that each step of the map matched."""

    to: str | None = None
    out: str | Absent | None = ABSENT
    proved: bool | None = None
    standing: str | None = None
    steps: Mapping[str, int] | None = None
    call: str | None = None
    notes: tuple[str, ...] | None = None
