"""A zip archive holds two entries under one name.

What
    Two lines of the archive's directory have the same name, or the checkpoint's pickle is there in
    two spellings that differ in capitals alone, which torch does not tell apart.

Why
    Readers differ in which of the two they take. A scanner can be shown an innocent pickle and
    torch.load another one.

Example
    candidate.pth: the zip archive holds two entries named 'archive/data.pkl'.

Fix
    Do not load the file. Ask its author to save the checkpoint again.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("zip-entry-duplicated", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
