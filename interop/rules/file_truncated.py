"""A file ends before the tensors that it announces.

What
    The directory or header of the file names more bytes than there are, or a storage is smaller
    than the tensors that view it.

Why
    An upload or a disk that was full cuts a file without changing its name. What is left often
    still opens, and fails, or serves rubbish, only when the missing tensor is read.

Example
    candidate.pth: cut off, the zip directory at its end is missing.

Fix
    Copy or save the file again, and compare its size with the source's.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("file-truncated", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
