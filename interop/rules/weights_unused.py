"""Weights of the checkpoint reach no output of the exported graph.

What
    No output of the model depends on these weights, so that the graph answers alike without them.
    Above 1 % of the weight bytes it is an error, and no bundle is written. Parts that a class of
    torchvision, timm or transformers never runs in eval mode (an auxiliary head, a pooler under
    another head) are named and break nothing.

Why
    A graph that leaves a part of the model out passes every comparison with itself. A list of
    feature maps that was given as one tensor runs the first of three heads, and the others are
    gone.

Example
    h.1.weight, h.1.bias reach no output (50 % of the weight bytes)

Fix
    Say with `--input` all that the model takes. A part that is not deployed belongs out of the
    module that is exported.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, ProofName, Rule
from interop.rules import finding, listed

RULE = Rule("weights-unused", Level.WARN, (), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    for proof in case.proofs:
        unused = proof.facts.get("unused")
        if proof.name != ProofName.SAME_WEIGHTS or not unused:
            continue
        share = proof.facts["unused_share"]
        part = f"{100 * share:.2g} % of the weight bytes"
        yield finding(
            RULE,
            f"no output depends on {listed(list(unused))} ({part})",
            level=Level.ERROR if proof.facts["unused_is_fault"] else None,
            facts={"tensors": list(unused), "share": share},
        )
