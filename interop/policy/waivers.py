"""Findings and a policy's waivers -> the findings that still count, and what became of each waiver.

An expired waiver waives nothing, and is said where the finding is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase

from interop.facts import Finding, Level
from interop.facts.sections.gate import WaiverUse
from interop.policy.policy import Waiver
from interop.records import replace


def apply(
    findings: Sequence[Finding], waivers: Sequence[Waiver], today: date
) -> tuple[list[Finding], tuple[WaiverUse, ...]]:
    """The findings, those that are waived as notes that break nothing; and a record a waiver."""
    used: dict[int, int] = {}
    outcomes = []
    for finding in findings:
        fitting = [n for n, w in enumerate(waivers) if _meets(w, finding)]
        for n in fitting:
            used[n] = used.get(n, 0) + 1
        if in_force := [waivers[n] for n in fitting if waivers[n].expires >= today]:
            outcomes.append(_waived(finding, in_force[0]))
        elif fitting:
            outcomes.append(_expired(finding, waivers[fitting[-1]]))
        else:
            outcomes.append(finding)
    return outcomes, tuple(
        WaiverUse(
            rule=w.rule,
            place=w.place,
            reason=w.reason,
            expires=str(w.expires),
            state="expired" if w.expires < today else "in force",
            findings=used.get(n, 0),
            origin=w.origin,
        )
        for n, w in enumerate(waivers)
    )


def _meets(waiver: Waiver, finding: Finding) -> bool:
    if waiver.rule != finding.rule:
        return False
    return not waiver.place or fnmatchcase(finding.place, waiver.place)


def _waived(finding: Finding, waiver: Waiver) -> Finding:
    text = f"{finding.what} (waived until {waiver.expires}: {waiver.reason})"
    facts = {**finding.facts, "waived": waiver.reason, "expires": str(waiver.expires)}
    return replace(finding, level=Level.NOTE, breaks=(), what=text, facts=facts)


def _expired(finding: Finding, waiver: Waiver) -> Finding:
    text = f"{finding.what} (the waiver of it expired on {waiver.expires})"
    facts = {**finding.facts, "waiver_expired": str(waiver.expires)}
    return replace(finding, what=text, facts=facts)
