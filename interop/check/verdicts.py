"""Findings -> the three verdicts.

No where a finding breaks the intent, unknown where a fact that it needs is missing, else yes.
"""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import (
    Answer,
    Finding,
    Identity,
    Intent,
    Level,
    Pairing,
    TensorSpec,
    Verdict,
    Within,
)


def judge(
    a: Identity, b: Identity, pairing: Pairing, findings: Sequence[Finding]
) -> tuple[Verdict, ...]:
    """One verdict an intent, in the intents' order."""
    return tuple(_verdict(intent, a, b, pairing, findings) for intent in Intent)


def breaking(findings: Sequence[Finding], intent: Intent) -> tuple[Answer, Finding] | None:
    """The finding that decides an intent, and what it makes of it; None where none does."""
    touching = [f for f in findings if intent in f.breaks]
    for finding in touching:
        if finding.level is Level.ERROR:
            return Answer.NO, finding
    for finding in touching:
        if finding.answer is Answer.UNKNOWN:
            return Answer.UNKNOWN, finding
    return None


def _verdict(
    intent: Intent, a: Identity, b: Identity, pairing: Pairing, findings: Sequence[Finding]
) -> Verdict:
    if intent is not Intent.REPLACE and not pairing.matched + pairing.reshaped:
        for side, identity in (("A", a), ("B", b)):
            if identity.manifest.container == "onnx":
                return Verdict(intent, Answer.NA, f"{side}'s graph has no state-dict names")
            if side == "A" and not identity.tensors:
                return Verdict(intent, Answer.NA, "A holds no weights")
    graphs = [side for side, i in (("A", a), ("B", b)) if i.manifest.container == "onnx"]
    if intent is Intent.RELOAD and graphs:
        return Verdict(intent, Answer.NA, f"{graphs[0]} is an ONNX graph, not a state dict")
    if decided := breaking(findings, intent):
        answer, finding = decided
        return Verdict(intent, answer, finding.what)
    return Verdict(intent, Answer.YES, _why(intent, a, b, pairing))


def _why(intent: Intent, a: Identity, b: Identity, pairing: Pairing) -> str:
    if intent is Intent.RELOAD:
        there = len(pairing.matched) + len(pairing.resized)
        note = f"; {len(pairing.filled)} are not, which torch fills in" if pairing.filled else ""
        return f"all {there} tensors are in place, names and shapes as in A{note}"
    if intent is Intent.TRANSFER:
        backbone = a.tensors if a.backbone is None else a.backbone
        wanted = [t for t in backbone if not t.is_buffer]
        if pairing.within:
            place = pairing.within[0]
            return _under_prefix(wanted, place, known=a.backbone is not None)
        # A yes means that nothing of the backbone is missing: the rules saw to it.
        return f"{len(wanted)} of {len(wanted)} backbone tensors pair, 100 % of their bytes"
    if a.labels.names is not None:
        labels = f"{len(a.labels.names)} labels in the same order"
    elif a.labels.known or a.manifest.modules:
        labels = "no labels by nature"
    else:
        labels = "outputs that the same tokenizer names"
    return f"{labels}, the same preprocessing"


def _under_prefix(wanted: Sequence[TensorSpec], place: Within, *, known: bool) -> str:
    """How much of A a backbone under a prefix fills, and which of the two has the prefix."""
    taken = {p.a.name for p in place.pairs}
    present = [t for t in wanted if t.name in taken]
    total, filled = (sum(t.nbytes for t in ts) for ts in (wanted, present))
    # Rounded down: what is missing must not round to nothing.
    share = f"{int(1000 * filled / max(total, 1)) / 10:g} % of their bytes"
    what = f"{len(present)} of {len(wanted)} {'backbone ' * known}tensors pair, {share}"
    return f"{what}, under {place.prefix!r} of {place.side}"
