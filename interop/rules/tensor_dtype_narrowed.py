"""Weights of B have fewer bits than A's.

What
    A tensor that is in both is stored in a narrower type in B (float32 -> float16). Real numbers
    that became whole ones (float32 -> int8) are an error: without their scale they mean nothing.

Why
    Loading casts it back without a word; the digits are gone all the same.

Example
    122 tensors float32 -> float16.

Fix
    Nothing, if it is meant: `bench` shows what it costs. Else save B before it is cast.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import DTYPE_BITS, Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("tensor-dtype-narrowed", Level.WARN, tuple(Intent), needs=("pair",))
_REAL = ("float", "bfloat", "complex")


def check(case: Case) -> Iterator[Finding]:
    assert case.pairing is not None
    pairs = (*case.pairing.matched, *case.pairing.reshaped)
    narrowed = [p for p in pairs if DTYPE_BITS.get(p.b.dtype, 0) < DTYPE_BITS.get(p.a.dtype, 0)]
    # However wide the integers are: what stood behind the point is gone.
    rounded = [p for p in pairs if p.a.dtype.startswith(_REAL) > p.b.dtype.startswith(_REAL)]
    if rounded:
        kinds = sorted({f"{p.a.dtype} -> {p.b.dtype}" for p in rounded})
        yield finding(
            RULE,
            f"{len(rounded)} tensors of real numbers became whole ones: {', '.join(kinds)}",
            facts={"tensors": [p.b.name for p in rounded]},
            level=Level.ERROR,
        )
    elif narrowed:
        kinds = sorted({f"{p.a.dtype} -> {p.b.dtype}" for p in narrowed})
        what = f"{len(narrowed)} tensors {', '.join(kinds)}"
        yield finding(RULE, what, facts={"tensors": [p.b.name for p in narrowed]}, breaks=())
