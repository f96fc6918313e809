"""A tensor holds NaN or infinity.

What
    At least one value of a weight is NaN or infinite. A tensor that holds exactly two values, -inf
    and one finite number, is an attention mask, and no fault.

Why
    One NaN spreads to every output behind it. A classifier of NaNs still answers: always the same
    class, with code 200.

Example
    fc.weight holds 3 NaN.

Fix
    Go back to an earlier epoch; training has diverged.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("tensor-not-finite", Level.ERROR, tuple(Intent), needs=("values",))


def check(case: Case) -> Iterator[Finding]:
    assert case.b is not None
    seen = [(t.name, t.stats) for t in case.b.tensors if t.stats and not t.stats.is_mask]
    if bad := [(name, stats) for name, stats in seen if stats.nan or stats.inf]:
        yield finding(
            RULE,
            listed([f"{name} holds {s.nan} NaN, {s.inf} Inf" for name, s in bad]),
            place=case.b.manifest.path,
            hint="take an earlier checkpoint",
            facts={"tensors": {name: [s.nan, s.inf] for name, s in bad}},
        )
