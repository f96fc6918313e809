"""A file of the bundle has other bytes than when it was proved.

What
    The bundle's receipt (interop.json) holds the hash of each of its files; one differs, is
    missing, or leads out of the folder. Or the receipt itself is missing, of a folder that stands
    where a bundle stood, or that is laid out as one.

Why
    The proofs of the receipt are of other weights, labels or preprocessing than those that ship.

Example
    model.onnx has other bytes than when it was proved

Fix
    Export again, or restore the file; `interop verify` makes all proofs anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules._shared import failed_proof

RULE = Rule("bundle-changed", Level.ERROR, (Intent.REPLACE,), needs=("proofs",))


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.FILES)
