"""The weights map, and the two models still answer differently.

What
    Every tensor of one model was made of the other's, both ran on the same input with these
    weights, and their outputs are more than 1e-5 of the largest apart.

Why
    What no weight shows differs: an epsilon, a stride, a padding, an activation; or two layers of
    one shape were exchanged. The ported model would be worse, and nothing would say so.

Example
    weights map, the forward differs: by 1.0e-03 of the largest output; BatchNorm eps 0.001 against
    1e-05 in 46 layers

Fix
    Build the target with the source's settings (`--set bn_eps=0.001`), or choose a target that
    computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules import finding

RULE = Rule("forward-differs", Level.ERROR, (Intent.TRANSFER,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    for proof in case.proofs:
        if proof.name != ProofName.SAME_FORWARD or proof.holds:
            continue
        apart, options = proof.facts.get("apart", []), proof.facts.get("set", [])
        why = "; ".join(apart) or "no setting of the paired layers differs, so their order may"
        hint = f"give the target the source's setting: {' '.join(options)}" if options else ""
        yield finding(RULE, f"{proof.what}; {why}", hint=hint, facts=proof.facts)
