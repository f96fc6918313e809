"""The exported graph takes one batch size only.

What
    The route that worked fixed the batch axis; the graph was proved at that size alone.

Why
    A server that batches requests will fail, or run them one by one.

Example
    the graph takes batches of 1

Fix
    Look for code in the module that reads the batch size as a Python number.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, ProofName, Rule
from interop.rules import finding

RULE = Rule("batch-axis-fixed", Level.NOTE, (), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    for proof in case.proofs:
        if proof.name == ProofName.PARITY and (size := proof.facts.get("fixed_batch")):
            yield finding(RULE, f"the graph takes batches of {size}", facts={"batch": size})
