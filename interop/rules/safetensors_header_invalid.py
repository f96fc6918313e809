"""The header of a safetensors file breaks the rules of its format.

What
    The header is no JSON in UTF-8, names a tensor twice, is too long, or gives the tensors shapes
    and places that do not fit: overlaps, holes, numbers too great, bytes that belong to none.

Why
    The format's rules are what makes it safe. A file that breaks one hides bytes, or shows one
    reader other weights than the next.

Example
    candidate.safetensors: the bytes of 'fc.bias' leave a gap or overlap.

Fix
    Do not load the file. Save the weights again with the safetensors library.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("safetensors-header-invalid", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
