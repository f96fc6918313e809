"""The exported model does not answer as the original does.

What
    On the same inputs, ONNX Runtime's outputs are further from a float64 run than native float32
    arithmetic explains, at one of the batch sizes tried.

Why
    An export that "succeeds" out of tolerance is worse than one that fails.

Example
    batch 7: relative difference 3e-2 where 4e-6 is the bound

Fix
    Look for Python branches on shapes in the module; try another route or opset.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules._shared import failed_proof

RULE = Rule("output-drift", Level.ERROR, (Intent.REPLACE,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.PARITY)
