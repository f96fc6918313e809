"""An ONNX graph takes its weights from outside its own folder.

What
    The location of a tensor's external data is absolute, climbs with "..", or is a link that leads
    out of the model's folder.

Why
    Whoever loads the graph then reads a file of its author's choosing, and the model does not
    survive being moved.

Example
    model.onnx: tensor w lies in ../../etc/passwd.

Fix
    Save the model again with its data beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("external-data-escapes-folder", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
