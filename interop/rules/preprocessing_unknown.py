"""The file does not say how its inputs are prepared.

What
    Size, colour order, mean and standard deviation are in no file and no flag.

Why
    The same weights on inputs that are scaled in another way lose points of accuracy, and nothing
    else shows it.

Example
    prod.pth is a plain state dict.

Fix
    Give it with `--preprocess`, or save it with the weights under "preprocess".
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, PartKind, Rule
from interop.rules._shared import sides, unstated

RULE = Rule("preprocessing-unknown", Level.NOTE, (Intent.REPLACE,), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    silent = [i for i in sides(case) if i.preprocessing is None]
    # A description that is not understood, and that both have alike, is the same all the same.
    if len(silent) == 2 and case.parts is not None and PartKind.PROCESSOR in case.parts.same:
        return
    yield from unstated(
        RULE,
        silent,
        "how inputs are prepared is not known",
        "--preprocess",
        lambda i: i.preprocessing_fault,
    )
