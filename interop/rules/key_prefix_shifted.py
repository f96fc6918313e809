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

from interop.facts import Case, Finding, Identity, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import mend

RULE = Rule("key-prefix-shifted", Level.ERROR, (Intent.RELOAD,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    if not (case.a.tensors and case.b.tensors):
        return
    if case.a.prefix == case.b.prefix:
        yield from _inside(case.a, case.b)
        return
    old, new = case.a.prefix, case.b.prefix
    what = f"names start with {new!r} in B, with {old!r} in A"
    hint = mend(case) or "save B without its wrapper"
    yield finding(RULE, what, hint=hint, facts={"a": old, "b": new})


def _inside(a: Identity, b: Identity) -> Iterator[Finding]:
    """A compiled part puts its token into the middle of names: A's may not be B's."""
    if "…" not in a.prefix:
        return
    old, new = a.file_names, b.file_names
    if moved := [name for name in old if new.get(name, old[name]) != old[name]]:
        shown = f"{old[moved[0]]} in A is {new[moved[0]]} in B"
        what = f"{len(moved)} names carry a wrapper at another place: {shown}"
        yield finding(RULE, what, hint="save B without its wrapper", facts={"tensors": moved})
