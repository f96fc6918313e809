"""The exported graph is not sound.

What
    onnx.checker or ONNX Runtime refuses it, its outputs are not as wide as the head has rows, or
    they are not finite.

Why
    An export of 91 classes from a head of 9 loads everywhere and is wrong everywhere.

Example
    output width 91, the head has 9 rows

Fix
    Export again with `--model` naming the module that was trained.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules._shared import failed_proof

RULE = Rule("graph-invalid", Level.ERROR, (Intent.REPLACE,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.STRUCTURE)
