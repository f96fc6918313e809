"""The layers that give the outputs could not be told from the rest.

What
    The architecture is not in the index and the order of the tensors does not give the head away.

Why
    Without a head there is no saying how many outputs there are, nor which part is the backbone.
    What is not known is not called the same.

Example
    autoencoder.pth: no linear layer at the end.

Fix
    Name the module: `--model package.module:factory`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, HeadKind, Intent, Level, Rule, Side
from interop.rules import finding
from interop.rules._shared import mostly, sides

RULE = Rule("head-not-found", Level.NOTE, (Intent.TRANSFER, Intent.REPLACE), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    for one in sides(case):
        if one.head is not None and one.head.kind == HeadKind.REMOVED:
            what = "holds a backbone alone, no head"
            if one.side_heads:
                what = (
                    "holds a backbone without its own head; what lies beside it is not known to be "
                    "one"
                )
            yield finding(RULE, what, place=one.manifest.path, breaks=(Intent.REPLACE,))
    if case.pairing is not None and not case.pairing.missing + case.pairing.reshaped:
        return  # every tensor of A has its like in B: nothing hangs on where the head begins
    for side, identity in (("A", case.a), ("B", case.b)):
        if identity is None or identity.head is not None or not identity.tensors:
            continue
        if identity.backbone is not None:
            if identity.manifest.pools:
                continue  # its modules take the place of a head
            what = f"{identity.architectures[0].name} has no head: a backbone alone"
            yield finding(RULE, what, place=identity.manifest.path, breaks=(Intent.REPLACE,))
            continue
        if identity.kind and not identity.kind.startswith("quantized"):
            continue  # an adapter, or several models: another rule says so, and what to do
        transfer = (side == "A" or case.a is None) and not _backbone_found(case)
        yield finding(
            RULE,
            f"{side if case.a else 'the file'}: which layers are the head is not known",
            place=identity.manifest.path,
            hint="inspect it with --model package.module:factory",
            breaks=RULE.breaks if transfer else (Intent.REPLACE,),
        )


def _backbone_found(case: Case) -> bool:
    """Whether A's backbone is known without its head: most of A is B's whole backbone."""
    if case.a is None or case.pairing is None or len(case.pairing.within) != 1:
        return False
    (place,) = case.pairing.within
    return place.side is Side.B or mostly(case.a, place)
