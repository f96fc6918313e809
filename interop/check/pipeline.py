"""Two identities -> their pairing, the rules' findings and the three verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from interop.check import heads, maps, parts
from interop.check.options import CheckOptions
from interop.check.pairing import pair
from interop.check.values import compare, summary
from interop.check.verdicts import judge
from interop.facts import (
    Answer,
    Case,
    Fed,
    Finding,
    Identity,
    InputRole,
    Intent,
    Level,
    Measurement,
    Report,
    Skipped,
)
from interop.facts.sections.check import CheckSection, InspectSection, PairingSummary
from interop.identity import identify_file
from interop.identity.assumed import as_beside
from interop.identity.describe import describe, tensor_row
from interop.rules import run


def check(
    a: str | Path,
    b: str | Path,
    options: CheckOptions | None = None,
    *,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Can B go where A is? Reads both files without running them.

    `a` and `b` are model files, bundle folders, or "FILE#PLACE". `progress` is told how far values
    are compared. Raises ReadError.
    """
    options = options or CheckOptions()
    one, two = (
        identify_file(f, options, content_hash=options.content_hash, whole=options.values)
        for f in (a, b)
    )
    return check_identities(one, two, options, progress=progress)


def check_identities(
    a: Identity,
    b: Identity,
    options: CheckOptions | None = None,
    *,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """The same for two files that have been identified already."""
    options = options or CheckOptions()
    intent = Intent(options.intent)
    pairing = pair(a, b)
    if options.values:
        from interop.identity.imprint import with_imprint

        a, b, pairing = compare(a, b, pairing, progress)
        a, b = (i if i.imprint is not None else with_imprint(i) for i in (a, b))
    findings, skipped = run(
        Case(a=a, b=b, pairing=pairing, parts=parts.compare(a.manifest, b.manifest)), options.levels
    )
    verdicts = judge(a, b, pairing, findings)
    outcome = next(v for v in verdicts if v.intent is intent)
    return Report(
        command="check",
        outcome=Answer.UNKNOWN if outcome.answer is Answer.NA else outcome.answer,
        summary=f"{intent}: {outcome.answer}, {outcome.why}",
        inputs=(describe(InputRole.A, as_beside(a, b)), describe(InputRole.B, as_beside(b, a))),
        verdicts=verdicts,
        findings=findings,
        skipped=skipped,
        details=CheckSection(
            intent=intent,
            pairing=PairingSummary(
                matched=len(pairing.matched),
                reshaped=tuple(p.a.name for p in pairing.reshaped),
                missing=tuple(t.name for t in pairing.missing),
                extra=tuple(t.name for t in pairing.extra),
                map=maps.document(a, b, pairing) if pairing.mapped or options.with_map else None,
            ),
            heads=heads.compared(a, b, pairing),
            values=summary(a, b, pairing) if options.values else None,
            notes=_remembered(a, b) or None,
        ),
    )


def _remembered(a: Identity, b: Identity) -> tuple[str, ...]:
    """What the weights of the two say of their inputs, as evidence beside the verdict."""
    sides = [(role, i, i.imprint) for role, i in (("A", a), ("B", b)) if i.imprint is not None]
    if all(seen.why for _, _, seen in sides):
        return ()
    return tuple(
        f"{role} remembers its inputs: {seen.sentences[0]}{_as_stated(i)}"
        for role, i, seen in sides
    )


def _as_stated(identity: Identity) -> str:
    how, seen = identity.image_preprocessing, identity.imprint
    if how is None or seen is None or seen.wide is None or how.is_wide is not seen.wide:
        return ""
    return ", as its preprocessing has it"


def inspect(
    seen: Sequence[Identity],
    *,
    tensors: bool = False,
    fed: Fed | None = None,
    levels: Mapping[str, Level] | None = None,
) -> Report:
    """What one file is, and what is wrong with it by itself.

    `seen` holds an identity for each of the file's state dicts: all are shown, none is chosen.
    `tensors` lists each of their tensors as well; `fed` is how the model was fed, by inputs.
    """
    measured = () if fed is None else fed.measurements(seen[0].manifest.path)
    findings, skipped = found_in(seen, measured, levels)
    bad = [f for f in findings if f.level is Level.ERROR]
    inputs = tuple(describe(f"file#{i.place}" if len(seen) > 1 else "file", i) for i in seen)
    return Report(
        command="inspect",
        outcome=Answer.NO if bad else Answer.YES,
        summary=f"{bad[0].rule}: {bad[0].what}" if bad else inputs[0].summary,
        inputs=inputs,
        findings=findings,
        measurements=measured,
        skipped=skipped,
        details=InspectSection(
            tensors={i.place: tuple(map(tensor_row, i.tensors)) for i in seen} if tensors else None,
            fed=fed,
            notes=_noted(seen) or None,
        ),
    )


def found_in(
    seen: Sequence[Identity],
    measured: tuple[Measurement, ...] = (),
    levels: Mapping[str, Level] | None = None,
) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    """Return what is wrong with the state dicts of one file, and the rules that were skipped."""
    merged: dict[tuple[str, str], Finding] = {}
    skipped: tuple[Skipped, ...] = ()
    for identity in seen:
        findings, skipped = run(Case(b=identity, measurements=measured), levels)
        for finding in findings:
            merged.setdefault((finding.rule, finding.what), finding)
    return tuple(merged.values()), skipped


def _noted(seen: Sequence[Identity]) -> tuple[str, ...]:
    """What the weights of each state dict say of their inputs, if they say something."""
    return tuple(
        f"{i.place}: {words}" if len(seen) > 1 else words
        for i in seen
        if i.imprint is not None and not i.imprint.why
        for words in i.imprint.sentences
    )
