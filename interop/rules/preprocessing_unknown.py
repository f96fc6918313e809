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

from interop.facts import Answer, Case, Finding, Identity, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("preprocessing-unknown", Level.NOTE, (Intent.REPLACE,), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    sides = [i for i in (case.a, case.b) if i is not None]
    silent = [i for i in sides if i.preprocessing is None]
    if silent:
        who = "neither file says" if len(silent) == 2 else f"{_short(silent[0])} does not say"
        yield finding(
            RULE,
            f"{who} how its inputs are prepared; --preprocess tells",
            facts={"files": [i.manifest.path for i in silent]},
        )


def _short(identity: Identity) -> str:
    return identity.manifest.path.rpartition("/")[2]
