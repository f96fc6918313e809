"""A pickle asks for more than any checkpoint needs.

What
    Reading the file's structure ran into a bound on depth, size, memo or number of objects.

Why
    A file of a hundred bytes can ask for all memory, or for years of work. Real checkpoints stay
    far below the bounds.

Example
    nested.pth: tuples nested 100,000 deep.

Fix
    Do not load the file. If it is yours, save its state dict alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("pickle-over-limit", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
