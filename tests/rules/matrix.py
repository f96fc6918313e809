"""Every rule on every fixture pair -> one golden file, so that a false positive shows.

python -m tests.rules.matrix     (make golden: accept what is said now)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interop.check import parts as deployed
from interop.check.pairing import pair
from interop.check.values import compare
from interop.errors import ReadError
from interop.facts import (
    Assumption,
    Case,
    EvidenceGap,
    Finding,
    GapKind,
    Measurement,
    Proof,
    Unreadable,
)
from interop.identity import identify_file, with_values
from interop.identity.imprint import with_imprint
from interop.rules import run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "rules"
GOLDEN = Path(__file__).with_name("matrix.txt")
HALVES = ("trigger", "near-miss")


def case_of(folder: Path) -> Case:
    """The Case that a fixture folder stands for."""
    stated = folder / "case.json"
    if stated.exists():
        parts: dict[str, Any] = json.loads(stated.read_text("utf-8"))
        return Case(
            proofs=tuple(Proof(**p) for p in parts.get("proofs", ())),
            measurements=tuple(
                Measurement(**{**m, "interval": tuple(m["interval"]) if "interval" in m else None})
                for m in parts.get("measurements", ())
            ),
            budgets=parts.get("budgets", {}),
            lacking={
                command: EvidenceGap(GapKind(gap["kind"]), gap["why"])
                for command, gap in parts.get("lacking", {}).items()
            },
            assumptions=tuple(
                Assumption(**{**a, "others": tuple(a["others"])})
                for a in parts.get("assumptions", ())
            ),
        )
    place = folder / "place"
    suffix = f"#{place.read_text()}" if place.exists() else ""
    sides = {}
    for side in "ab":
        found = sorted(folder.glob(f"{side}.*"))
        if not found:
            sides[side] = None
            continue
        try:
            sides[side] = identify_file(f"{found[0]}{suffix}")
        except ReadError as error:
            return Case(unreadable=(Unreadable(found[0].name, error.rule, error.what, error.fix),))
    a, b = sides["a"], sides["b"]
    if a is None or b is None:
        return Case(b=with_imprint(with_values(b)) if b else None)
    a, b, pairing = compare(a, b, pair(a, b))
    a, b = map(with_imprint, (a, b))
    return Case(a=a, b=b, pairing=pairing, parts=deployed.compare(a.manifest, b.manifest))


def findings(folder: Path) -> tuple[Finding, ...]:
    """What all rules say of a fixture folder."""
    return run(case_of(folder))[0]


def lines() -> list[str]:
    """The matrix: a line for each half of each rule's fixtures."""
    made = []
    for folder in sorted(FIXTURES.iterdir()):
        for half in HALVES:
            said = sorted({f.rule for f in findings(folder / half)})
            made.append(f"{folder.name}/{half}: {' '.join(said) or '-'}")
    return made


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(lines()) + "\n", "utf-8")
    print(f"{GOLDEN.name}: {len(lines())} lines")
