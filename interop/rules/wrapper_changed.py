"""The state dict lies at another place within the file.

What
    A holds its weights under one key and B under another, or one of them at the top level. Or one
    holds a pickled module where the other holds a state dict.

Why
    The code that loads A reaches for A's key: it finds none, or finds the wrong thing.

Example
    A is a plain state dict, B a training checkpoint with the weights under "state_dict".

Fix
    Save B as A is saved; the finding's hint mends a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import mend

RULE = Rule("wrapper-changed", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    if case.a.manifest.graph or case.b.manifest.graph:
        return
    modules = [bool(i.state and i.state.module) for i in (case.a, case.b)]
    if case.a.place == case.b.place:
        if modules[0] != modules[1]:
            kinds = ["a pickled module" if m else "a state dict" for m in modules]
            yield finding(
                RULE,
                f"B holds {kinds[1]}, A {kinds[0]}",
                hint="save model.state_dict()" if modules[1] else "save the module as A's is",
                facts={"a": kinds[0], "b": kinds[1]},
            )
        return
    yield finding(
        RULE,
        f"the state dict lies {_where(case.b.place)} in B, {_where(case.a.place)} in A",
        hint=mend(case) or "save B as A is saved",
        facts={"a": case.a.place, "b": case.b.place},
    )


def _where(place: str) -> str:
    return f"under {place!r}" if place else "at the top level"
