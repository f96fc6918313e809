"""An index of shards names a file outside of its folder.

What
    A shard's name in the index is absolute, climbs with "..", is a path of any kind, or is a link
    that leads out of the model's folder.

Why
    Whoever loads the model then reads a file of the index's author's choosing, and the model does
    not survive being moved.

Example
    model.safetensors.index.json: the index names a file outside of its folder, '../../secrets'.

Fix
    Put the shards beside their index, and name them there by their file names alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("index-escapes-folder", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
