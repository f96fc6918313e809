"""Two identities -> their pairing, the rules' findings and the three verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from interop.check import heads, maps, parts
from interop.check.pairing import pair
from interop.check.values import compare, summary
from interop.check.verdicts import judge
from interop.facts import (
    Answer,
    AnyPreprocessing,
    Case,
    Finding,
    Identity,
    Intent,
    Json,
    Labels,
    Level,
    Report,
    Skipped,
)
from interop.identity import identify_file
from interop.identity.describe import describe, tensor_facts
from interop.rules import run


def check(
    a: str | Path,
    b: str | Path,
    *,
    intent: Intent | str = Intent.RELOAD,
    values: bool = False,
    content_hash: bool = False,
    arch: str | None = None,
    labels: Labels | None = None,
    preprocessing: AnyPreprocessing | None = None,
    levels: Mapping[str, Level] | None = None,
    with_map: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Can B go where A is? Reads both files without running them.

    `a` and `b` are model files, bundle folders, or "FILE#PLACE". `intent` sets the outcome.
    `values` compares the tensors' values too; `progress` is told how far that is. `arch` decides
    between architectures that the tensors allow alike; `labels` and `preprocessing` hold for the
    files that do not state their own; `levels` overrides rules' levels. `with_map` has
    `details["pairing"]["map"]` hold the map of tensors (as in `interop.check.maps`) even where no
    name differs. Raises ReadError.
    """
    one, two = (
        identify_file(
            f,
            content_hash=content_hash,
            whole=values,
            arch=arch,
            labels=labels,
            preprocessing=preprocessing,
        )
        for f in (a, b)
    )
    return check_identities(
        one,
        two,
        intent=intent,
        values=values,
        levels=levels,
        with_map=with_map,
        progress=progress,
    )


def check_identities(
    a: Identity,
    b: Identity,
    *,
    intent: Intent | str = Intent.RELOAD,
    values: bool = False,
    levels: Mapping[str, Level] | None = None,
    with_map: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """The same for two files that have been identified already."""
    intent = Intent(intent)
    pairing = pair(a, b)
    details: dict[str, Json] = {}
    if values:
        a, b, pairing = compare(a, b, pairing, progress)
        details["values"] = summary(a, b, pairing)
    findings, skipped = run(
        Case(a=a, b=b, pairing=pairing, parts=parts.compare(a.manifest, b.manifest)), levels
    )
    verdicts = judge(a, b, pairing, findings)
    outcome = next(v for v in verdicts if v.intent is intent)
    return Report(
        command="check",
        outcome=Answer.UNKNOWN if outcome.answer is Answer.NA else outcome.answer,
        summary=f"{intent}: {outcome.answer}, {outcome.why}",
        inputs=(describe("A", a), describe("B", b)),
        verdicts=verdicts,
        findings=findings,
        skipped=skipped,
        details={
            "intent": str(intent),
            "pairing": {
                "matched": len(pairing.matched),
                "reshaped": [p.a.name for p in pairing.reshaped],
                "missing": [t.name for t in pairing.missing],
                "extra": [t.name for t in pairing.extra],
                "map": maps.document(a, b, pairing) if pairing.mapped or with_map else None,
            },
            "heads": heads.compared(a, b, pairing),
            **details,
        },
    )


def inspect(
    seen: Sequence[Identity],
    *,
    tensors: bool = False,
    levels: Mapping[str, Level] | None = None,
) -> Report:
    """What one file is, and what is wrong with it by itself.

    `seen` holds an identity for each of the file's state dicts: all are shown, none is chosen.
    `tensors` lists each of their tensors as well.
    """
    merged: dict[tuple[str, str], Finding] = {}
    skipped: tuple[Skipped, ...] = ()
    for identity in seen:
        findings, skipped = run(Case(b=identity), levels)
        for found in findings:
            merged.setdefault((found.rule, found.what), found)
    bad = [f for f in merged.values() if f.level is Level.ERROR]
    inputs = tuple(describe(f"file#{i.place}" if len(seen) > 1 else "file", i) for i in seen)
    return Report(
        command="inspect",
        outcome=Answer.NO if bad else Answer.YES,
        summary=f"{bad[0].rule}: {bad[0].what}" if bad else inputs[0].summary,
        inputs=inputs,
        findings=tuple(merged.values()),
        skipped=skipped,
        details={"tensors": {i.place: [tensor_facts(t) for t in i.tensors] for i in seen}}
        if tensors
        else {},
    )
