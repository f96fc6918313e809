"""A weight holds one value alone, over and over.

What
    A tensor of two axes or more holds nothing but one number.

Why
    A layer that is all zero, or all of its starting value, was never trained, was wiped, or was
    saved before it was filled: it adds nothing, or the same to every class.

Example
    fc.weight holds 0 alone.

Fix
    Find out where the weights got lost; export or merge again from the checkpoint that has them.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding, listed

RULE = Rule("tensor-constant", Level.WARN, (), needs=("values",))


def check(case: Case) -> Iterator[Finding]:
    assert case.b is not None
    # Biases and scales of one value are how layers begin, and often how they end; so is what the
    # baseline holds already.
    before = case.a.tensors if case.a else ()
    constants = {t.name for t in before if t.stats and t.stats.constant}
    minima = {
        t.name: t.stats.minimum
        for t in case.b.tensors
        if t.stats and t.stats.constant and len(t.shape) > 1 and t.name not in constants
    }
    if minima:
        # Complex numbers have no least one to show.
        lines = [f"{n} holds {v:g} alone" if v is not None else n for n, v in minima.items()]
        hint = "take a checkpoint that was saved after training"
        facts = {"tensors": minima}
        yield finding(RULE, listed(lines), place=case.b.manifest.path, hint=hint, facts=facts)
