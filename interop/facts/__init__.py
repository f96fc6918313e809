"""The nouns: frozen records, in the order in which they come about.

path -> Manifest -> Identity -> Pairing -> Finding / Measurement -> Report. Standard library alone;
everything else in the package makes one of these or reads one. Each name is imported from here.
"""

from __future__ import annotations

# fmt: off
# ruff: noqa: I001, RUF022
from interop.facts.compare import (
    Difference, Mapped, Pair, Pairing, PartChange, Parts, RowMatch, Within,
)
from interop.facts.domain import AxisDomain, outside
from interop.facts.enums import (
    Answer, AxisState, Basis, Danger, Evidence, GapKind, GateState, Group, HeadInput, HeadKind,
    HeadRole, InputRole, Intent, Layout, Level, MapStep, PartKind, ProofName, Side, SweptAs,
    TaskName, Unit,
)
from interop.facts.imprint import Imprint, PHOTO_STD, RANGES, WIDE_FAMILIES, is_wide
from interop.facts.model import (
    AVERAGED, AnyPreprocessing, Architecture, Assumption, AudioPreprocessing, DTYPE_BITS, FEW,
    Graph, Head, Identity, Import, Json, Labels, Manifest, Module, ModuleSpec, Opened, Part,
    Port, Preprocessing, StateDict, Stats, Storage, TensorSpec, TextPreprocessing, Unreadable,
    WHOLE, family,
)
from interop.facts.report import (
    Case, EvidenceGap, Finding, Input, Measurement, PROOFS, Proof, Report, Rule, Skipped,
    Verdict,
)
from interop.facts.fed import Fed, FedAnswer, Standing, TriedPreparation, input_divergence
from interop.facts.section import ABSENT, Absent, Section, Sparse, json_key

__all__ = [
    "ABSENT", "AVERAGED", "Absent", "Answer", "AnyPreprocessing", "Architecture", "Assumption",
    "AudioPreprocessing", "AxisDomain", "AxisState", "Basis", "Case", "DTYPE_BITS", "Danger",
    "Difference", "Evidence", "EvidenceGap", "FEW", "Fed", "FedAnswer", "Finding", "GapKind",
    "GateState", "Graph", "Group", "Head", "HeadInput", "HeadKind", "HeadRole", "Identity",
    "Import", "Imprint", "Input", "InputRole", "Intent", "Json", "Labels", "Layout", "Level",
    "Manifest", "MapStep", "Mapped", "Measurement", "Module", "ModuleSpec", "Opened", "PHOTO_STD",
    "PROOFS", "Pair", "Pairing", "Part", "PartChange", "PartKind", "Parts", "Port",
    "Preprocessing", "Proof", "ProofName", "RANGES", "Report", "RowMatch", "Rule", "Section",
    "Side", "Skipped", "Sparse", "Standing", "StateDict", "Stats", "Storage", "SweptAs", "TaskName",
    "TensorSpec", "TextPreprocessing", "TriedPreparation", "Unit", "Unreadable", "Verdict",
    "WHOLE", "WIDE_FAMILIES", "Within", "family", "input_divergence", "is_wide",
    "json_key", "outside",
]
