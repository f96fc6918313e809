"""The size of the input was assumed.

What
    No file and no option says what the model takes. Its first layer fixes some of the axes; the
    rest is an assumption (images of 224 x 224), at which the model ran.

Why
    The graph has that size for good, and is proved at that size alone. A model that was trained on
    smaller images answers other sizes too, and worse.

Example
    no file states the input size: float32 (batch, 3, 224, 224) is assumed

Fix
    Say what the model takes with `--input 'input=float32(batch,3,64,64)'`, or give real samples
    with `--data`. `--strict` refuses every assumption.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("input-assumed", Level.NOTE, (), needs=("assumptions",))


def check(case: Case) -> Iterator[Finding]:
    for assumption in case.assumptions:
        if assumption.fact == "input size":
            what, where = str(assumption), assumption.where
            yield finding(RULE, what, place=where, facts=assumption.json())
