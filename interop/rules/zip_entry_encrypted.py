"""A zip entry is encrypted, or sets flags as if it were.

What
    The flag bits of an entry tell of encryption, of a patch, or of something that the zip format
    does not define.

Why
    What is encrypted cannot be checked. And careful unzippers, with the scanners built on them,
    refuse such an entry, while torch.load ignores the flags and runs it (CVE-2025-1945).

Example
    candidate.pth: its entry 'archive/data.pkl' is encrypted, or sets flags (0x0001) as if it were.

Fix
    Do not load the file. Ask its author for one without a password, best as safetensors.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("zip-entry-encrypted", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
