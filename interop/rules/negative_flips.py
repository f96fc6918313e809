"""The candidate gets too many samples wrong that the baseline gets right.

What
    The share of samples that were right and are wrong now lies above the policy's
    `negative-flips`, in percent.

Why
    Two models of equal accuracy can fail on different inputs. Users notice what used to work.

Example
    4.1 % of the samples, 2 allowed

Fix
    Look at the flipped samples in the HTML report of `bench`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import judged

RULE = Rule("negative-flips", Level.ERROR, (Intent.REPLACE,), needs=("measurements",))


def check(case: Case) -> Iterator[Finding]:
    for _, share, allowed in judged(case, "negative flips", "negative-flips"):
        if 100 * share > allowed:
            yield finding(
                RULE,
                f"{100 * share:.2f} % of the samples were right and are wrong now, "
                f"{allowed:g} allowed",
                facts={"percent": 100 * share, "allowed": allowed},
            )
