"""The file does not name its classes.

What
    Neither the file nor a flag gives the labels in the order of the outputs.

Why
    Ten outputs are not the same ten outputs: without names nobody can say that an index still means
    what it meant.

Example
    prod.pth is a plain state dict.

Fix
    Give them with `--labels`, or save them with the weights under "labels".
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Identity, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("labels-unknown", Level.NOTE, (Intent.REPLACE,), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    sides = [i for i in (case.a, case.b) if i is not None]
    silent = [i for i in sides if not i.labels.known]
    if silent:
        who = "neither file names" if len(silent) == 2 else f"{_short(silent[0])} does not name"
        yield finding(
            RULE,
            f"{who} its labels; --labels gives them",
            facts={"files": [i.manifest.path for i in silent]},
        )


def _short(identity: Identity) -> str:
    return identity.manifest.path.rpartition("/")[2]
