"""Too many answers changed.

What
    The share of samples on which the two answer alike lies below the policy's `agreement`, in
    percent.

Why
    After a change of format every answer should stay; after a change of model, most.

Example
    agreement 91.0 %, at least 95 asked for

Fix
    Look at the flipped samples in the HTML report of `bench`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import judged

RULE = Rule("prediction-flips", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for _, share, wanted in judged(case, "agreement", "agreement"):
        if 100 * share < wanted:
            yield finding(
                RULE,
                f"the two agree on {100 * share:.2f} % of the samples, "
                f"at least {wanted:g} asked for",
                facts={"percent": 100 * share, "wanted": wanted},
            )
