"""The backbones of A and B are of different architectures.

What
    The two files are of architectures that differ by name, or backbone tensors of the same name
    have different shapes.

Why
    Features of one architecture mean nothing to another: no map of names carries them over. (Two
    names whose weights map completely, or of which one holds the other's whole backbone under a
    prefix, are no mismatch: see key-renamed.)

Example
    torchvision/resnet18 -> torchvision/squeezenet1_1

Fix
    Nothing, if B is only to be served (`--for replace`). To start training from B, use B's
    architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from interop.facts import Case, Finding, Identity, Intent, Level, Rule, family
from interop.rules import finding, listed

RULE = Rule("backbone-mismatch", Level.ERROR, (Intent.TRANSFER,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None and case.pairing is not None
    if case.pairing.mapped or case.pairing.within:
        return
    # Side heads (auxiliary, distillation) go with the task too.
    heads = {n for h in (case.a.head, *case.a.side_heads) if h is not None for n in h.tensors}
    weights = [p for p in case.pairing.reshaped if not (p.a.is_buffer or p.a.is_counter)]
    reshaped = [p for p in weights if p.a.name not in heads]
    old, new = _name(case.a), _name(case.b)
    mine, theirs = ({x.name for x in i.architectures} for i in (case.a, case.b))
    if mine and theirs and not mine & theirs and not _one_under_two_heads(case, mine, theirs):
        yield finding(RULE, f"{old} became {new}", facts={"a": old, "b": new})
    elif reshaped and case.a.head is not None:
        yield finding(
            RULE,
            f"{len(reshaped)} backbone tensors have other shapes: "
            + listed([p.a.name for p in reshaped]),
            facts={"a": old, "b": new, "tensors": [p.a.name for p in reshaped]},
        )


def _one_under_two_heads(case: Case, mine: Set[str], theirs: Set[str]) -> bool:
    """Whether B has all of A's backbone, of a family whose classes share it."""
    assert case.a is not None and case.pairing is not None
    matched = {p.a.name for p in case.pairing.matched}
    backbone = [t for t in case.a.backbone or () if not t.is_buffer]
    shared = {family(n) for n in mine} & {family(n) for n in theirs}
    return bool(shared and backbone) and all(t.name in matched for t in backbone)


def _name(identity: Identity) -> str:
    return " or ".join(a.name for a in identity.architectures) or "an unknown architecture"
