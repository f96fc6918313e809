"""The state dict lies at another place within the file.

What
    A holds its weights under one key and B under another, or one of them at the top level.

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
    if case.a.place == case.b.place or case.a.manifest.graph or case.b.manifest.graph:
        return
    yield finding(
        RULE,
        f"the state dict lies {_where(case.b.place)} in B, {_where(case.a.place)} in A",
        hint=mend(case) or "save B as A is saved",
        facts={"a": case.a.place, "b": case.b.place},
    )


def _where(place: str) -> str:
    return f"under {place!r}" if place else "at the top level"
