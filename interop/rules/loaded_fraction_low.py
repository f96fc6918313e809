"""Not all of the weights would come from the file.

What
    Of the bytes of A's backbone, less than all are filled by B's tensors of the same name and
    shape; or, in an export, the module holds weights that did not come from the checkpoint.

Why
    `load_state_dict(strict=False)` loads what fits, be it nothing, and says nothing: the model then
    trains from scratch while everybody believes that it was pretrained.

Example
    0 of 342 backbone tensors, 0 % of their bytes: an autoencoder's weights in a classifier.

Fix
    Load strictly; map the names, or choose weights of the same architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule, Within
from interop.rules import finding
from interop.rules._shared import failed_proof

RULE = Rule("loaded-fraction-low", Level.ERROR, (Intent.TRANSFER,))


def under(within: Sequence[Within]) -> str:
    return f"all under {within[0].prefix!r} of A, " if within else ""


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.LOADED_FRACTION)
    # A map that covers every weight of both backbones leaves nothing unfilled.
    if case.pairing is None or case.a is None or case.pairing.mapped:
        return
    backbone, within = case.a.backbone, case.pairing.within
    if len(within) > 1:
        return
    paired = {p.a.name for p in (*case.pairing.matched, *(p for w in within for p in w.pairs))}
    wanted = [t for t in (case.a.tensors if backbone is None else backbone) if not t.is_buffer]
    present = [t for t in wanted if t.name in paired]
    total, filled = (sum(t.nbytes for t in ts) for ts in (wanted, present))
    # Where the head is unknown, only "nothing at all" is certain.
    if not wanted or len(present) == len(wanted) or (backbone is None and present):
        return
    yield finding(
        RULE,
        f"{len(present)} of A's {len(wanted)} backbone tensors are in B, {under(within)}"
        # Rounded down: what is missing must not round to nothing.
        f"{int(1000 * filled / max(total, 1)) / 10:g} % of their bytes",
        hint="strict=False would train the rest from scratch and say nothing",
        facts={"tensors": len(present), "of": len(wanted), "bytes": filled, "of_bytes": total},
    )
