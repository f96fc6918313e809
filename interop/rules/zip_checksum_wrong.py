"""The bytes of a zip entry do not have the checksum that the archive states.

What
    The CRC-32 of an entry, in most cases of the pickle that holds the structure, is not the one in
    the archive's directory. The storages are held against theirs where values are read.

Why
    Either the file was damaged on its way, and its weights are not those that were saved, or
    somebody set the checksum wrong on purpose: careful unzippers, and the scanners built on them,
    then give the file up, while torch.load ignores checksums and runs it (CVE-2025-10156).

Example
    candidate.pth: entry 'archive/data.pkl' does not have the checksum it states.

Fix
    Copy the file again and compare its hash with the source's. If it stays, do not load it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("zip-checksum-wrong", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
