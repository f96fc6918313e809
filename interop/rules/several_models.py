"""One state dict holds several models side by side.

What
    All names begin with tokens of whole models: teacher and student, generator and discriminator,
    online and momentum encoder.

Why
    Only one of them is served. Which one is a choice that has to be the same each time; interop
    never makes it silently.

Example
    teacher, student: FILE#teacher looks at one

Fix
    Name the one that you mean: `train.pth#student`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("several-models", Level.NOTE, (Intent.TRANSFER, Intent.REPLACE), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        if identity is None or not identity.kind.startswith("several models"):
            continue
        yield finding(
            RULE,
            identity.kind.removeprefix("several models (").rstrip(")"),
            place=identity.manifest.path,
            hint="FILE#PLACE looks at one of them",
            facts={"kind": identity.kind},
        )
