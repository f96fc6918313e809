"""A file asks for more than any model of its size needs.

What
    Reading the file's structure takes more processor time or memory than a file of its size may,
    or ran into a bound on depth, on the memo, or on the length of one value.

Why
    A file of a hundred bytes can ask for all memory, or for years of work. Files that a library
    wrote stay below the bounds: each tensor that has bytes of its own adds to what may be spent.

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
