"""The number of outputs changed, or does not fit the labels.

What
    A and B give different numbers of outputs; or a file names more or fewer labels than its head
    has outputs.

Why
    Whoever reads the answer by its index gets the wrong class, or an index that does not exist.

Example
    10 outputs became 7

Fix
    Train the head for the same classes, or change the callers with the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, HeadRole, Identity, Intent, Level, Rule
from interop.rules import finding

_LABELLED = ("", HeadRole.CLASSES, HeadRole.PIXEL_CLASSES, HeadRole.TOKEN_CLASSES)
RULE = Rule("label-count-mismatch", Level.ERROR, (Intent.REPLACE,))


def check(case: Case) -> Iterator[Finding]:
    assert case.b is not None
    for identity in (case.a, case.b):
        if identity is None or identity.labels.names is None:
            continue
        outputs, names = count(identity, labels=False), len(identity.labels.names)
        # What a detector gives for each anchor, or a language model for each word, is no label.
        if identity.head is not None and identity.head.role not in _LABELLED:
            continue
        if outputs is not None and outputs != names:
            yield finding(
                RULE,
                f"{names} labels for {outputs} outputs",
                place=identity.manifest.path,
                facts={"labels": names, "outputs": outputs},
            )
    if case.a is None:
        return
    old, new = count(case.a), count(case.b)
    if old is not None and new is not None and old != new:
        yield finding(RULE, f"{old} outputs became {new}", facts={"a": old, "b": new})
    else:
        yield from _others(case.a, case.b)


def _others(a: Identity, b: Identity) -> Iterator[Finding]:
    """A finding for a second head (distillation, boxes) of another width than in A."""
    heads = {h.path: h for h in (*b.side_heads, *([b.head] if b.head else []))}
    for old in a.side_heads:
        new = heads.get(old.path)
        if new is None or old.role in ("", HeadRole.BESIDE) or old.role.startswith("auxiliary"):
            continue
        if old.outputs and new.outputs and old.outputs != new.outputs:
            what = f"{old.outputs} outputs of {old.path} became {new.outputs}"
            yield finding(RULE, what, facts={"a": old.outputs, "b": new.outputs})
            return


def count(identity: Identity, *, labels: bool = True) -> int | None:
    if identity.head is not None and identity.head.outputs:
        return identity.head.outputs
    if identity.manifest.graph is not None and len(identity.manifest.graph.outputs) == 1:
        shape = identity.manifest.graph.outputs[0].shape
        if len(shape) == 2 and isinstance(shape[1], int):
            return shape[1]
    return len(identity.labels.names) if labels and identity.labels.names is not None else None
