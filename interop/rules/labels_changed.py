"""B answers with other classes than A.

What
    As many labels, but not the same ones.

Why
    A caller has no word for an answer that it does not know, or takes it for another.

Example
    "wolf" is new, "dog" is gone

Fix
    Train on A's classes, or change the callers with the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("labels-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    if case.a.labels.applicable is not case.b.labels.applicable:
        yield finding(RULE, "one of the two has labels, the other has none by nature")
        return
    old, new = case.a.labels.names, case.b.labels.names
    if old is None or new is None or len(old) != len(new) or sorted(old) == sorted(new):
        return
    gone = [n for n in old if n not in new]
    come = [n for n in new if n not in old]
    what = f"gone: {listed(gone)}; new: {listed(come)}"
    yield finding(RULE, what, facts={"gone": gone, "new": come})
