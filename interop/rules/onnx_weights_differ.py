"""The graph holds weights that are not the checkpoint's.

What
    An initialiser of the ONNX graph equals no tensor of the safetensors file bit for bit, and is
    not accounted for as derived from one.

Why
    Exporters fold and rewrite weights, sometimes under the old name. A graph with other weights is
    another model.

Example
    conv1.weight in the graph has batch normalisation folded in.

Fix
    Export again without folding; report the route that was taken.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules._shared import failed_proof

RULE = Rule("onnx-weights-differ", Level.ERROR, (Intent.REPLACE,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.SAME_WEIGHTS)
