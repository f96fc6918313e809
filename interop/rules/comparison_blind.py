"""The comparison did not notice that a weight was changed.

What
    A copy of the graph with one weight perturbed by 1 % of its norm passed the same comparison that
    the export has to pass.

Why
    A comparison that cannot fail proves nothing: its inputs may be dead, or its bound too wide.

Example
    conv1.weight perturbed, largest difference 0

Fix
    Give real samples with `--data`; look for outputs that do not depend on the input.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules._shared import failed_proof

RULE = Rule("comparison-blind", Level.ERROR, (Intent.REPLACE,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.CANARY)
