"""A zip entry's name leads out of the folder in which it is unpacked.

What
    The name of an entry is absolute, climbs with "..", names a drive, or holds backslashes.

Why
    Whoever unpacks the archive, as some loaders do, writes a file where the archive's author wants
    it: a start-up script, a key, a library. No writer of checkpoints makes such names.

Example
    candidate.pth: unpacked, its entry '../../.bashrc' would be written outside of the folder.

Fix
    Do not load or unpack the file. Ask its author for safetensors.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("zip-entry-escapes", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
