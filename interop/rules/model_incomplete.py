"""The file holds a part of a model that is nothing by itself.

What
    Its tensors are an adapter's alone (LoRA, IA3, prompt tuning), or an optimizer's state.

Why
    Nothing can be served or trained on from it without the model that it belongs to. Loaded with
    strict=False into that model, it loads nothing and says nothing.

Example
    it holds a LoRA adapter for org/base-model, not the model itself

Fix
    Merge the adapter onto its base model and save the whole; of a trainer's folder take the model's
    file, not optimizer.pt.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule(
    "model-incomplete", Level.WARN, (Intent.TRANSFER, Intent.REPLACE), answer=Answer.UNKNOWN
)
_PARTS = ("adapter", "tuning", "optimizer")


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        if identity is None or not any(part in identity.kind for part in _PARTS):
            continue
        what = f"it holds {identity.kind}, not the model itself"
        path, facts = identity.manifest.path, {"kind": identity.kind}
        hint = "merge it onto its base model and save the whole"
        if "optimizer" in identity.kind:
            hint = "take the file that the weights are in"
        yield finding(RULE, what, place=path, hint=hint, facts=facts)
