"""The architecture was assumed, of several with the same weights.

What
    Several architectures have these weights and no file says which one it is. The plain one was
    taken (not the anti-aliased one, not torchvision's quantized_ one), and everything that follows
    is about that one.

Why
    The weights load into each of them without an error, and each computes something else. The plain
    architecture is what most people train, so it is assumed instead of refused; but an assumption
    that nobody reads is how a wrong model ships.

Example
    no file states the architecture: torchvision/resnet18 is assumed; timm/resnetblur18 would fit
    too (they differ in anti-aliasing)

Fix
    Name the architecture with `--arch`, or save it with the weights (`config.json`, or a key `arch`
    in the checkpoint). `--strict` refuses every assumption; `evidence.accept` in a policy accepts
    evidence that rests on one.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("architecture-assumed", Level.NOTE, (), needs=("assumptions",))


def check(case: Case) -> Iterator[Finding]:
    for assumption in case.assumptions:
        if assumption.fact == "architecture":
            what, where = str(assumption), assumption.where
            yield finding(RULE, what, place=where, facts=assumption.json())
