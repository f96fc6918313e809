"""A zip archive says one thing in its directory and another before its entries.

What
    A zip archive names each entry twice. The two accounts differ here in name, size, method, flags
    or checksum; or entries overlap; or bytes belong to no entry; or the directory is another one
    for who counts its entries and for who goes by its length.

Why
    Readers differ in which account they believe. The one that checks the file and the one that
    loads it then see different files, or the first gives up and the second does not
    (CVE-2025-1944).

Example
    candidate.pth: its entry 'archive/data.pkl' is 'archive/notes.txt' by another account.

Fix
    Do not load the file. Ask its author to save the checkpoint again.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("zip-headers-disagree", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
