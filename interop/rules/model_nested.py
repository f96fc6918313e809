"""A model lies in an archive around it, or beside another one.

What
    An entry of a zip or tar archive is itself a pickle, a checkpoint or another model file.

Why
    Loaders unpack by rules of their own, and scanners by others: what is checked need not be what
    is loaded. Until 2.6, torch.load ran a pickle in a tar archive even with weights_only=True
    (CVE-2025-32434).

Example
    models.zip: a zip archive around 'run/best.pth', itself a zip archive.

Fix
    Unpack the archive and inspect each file in it before anything loads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("model-nested", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
