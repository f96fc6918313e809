"""All names of B carry a prefix that A's do not, or the other way round.

What
    A wrapper (DistributedDataParallel's "module.", torch.compile's "_orig_mod.", a Lightning
    module's "model.") stands in front of every name of one file.

Why
    Loaded strictly it fails; with `strict=False` not one tensor loads, and nothing is said.

Example
    conv1.weight of A is module.conv1.weight in B.

Fix
    Take the prefix off before saving: `model.module.state_dict()`; the finding's hint mends a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import mend

RULE = Rule("key-prefix-shifted", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    if case.a.prefix == case.b.prefix or not (case.a.tensors and case.b.tensors):
        return
    old, new = case.a.prefix, case.b.prefix
    yield finding(
        RULE,
        f"names start with {new!r} in B, with {old!r} in A",
        hint=mend(case) or "save B without its wrapper",
        facts={"a": old, "b": new},
    )
