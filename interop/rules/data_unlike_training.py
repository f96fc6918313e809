"""The inputs are unlike those that the model was trained on.

What
    The BatchNorms of a model keep the mean and variance of what passed through them in training.
    With the inputs at hand, prepared as they are for this run, those differ by more than inputs of
    the training's kind do: the median divergence over the layers is above 0.02 nats (a warning),
    or above the policy's `input-divergence` (an error).

Why
    A wrong scale, BGR for RGB, no normalisation, another size, or other pictures than in training:
    the model answers all the same, and worse. No label is needed to see it.

Example
    these inputs have a divergence of 0.31 from what the model was trained on, at most 0.02 is
    usual: they are prepared otherwise, or of another kind

Fix
    Measure how the model was fed with `interop inspect MODEL --data DIR`. If that finds another
    preparation, state it with `--preprocess` (or give `--preprocess measured`). If it finds none,
    the inputs themselves are of another kind: use data like those of the training.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Measurement, Rule
from interop.rules import finding

RULE = Rule("data-unlike-training", Level.WARN, (Intent.REPLACE,), needs=("measurements",))
USUAL = 0.02  # as in interop.imprint.answers: inputs of the kind that was trained on are below


def check(case: Case) -> Iterator[Finding]:
    allowed = case.budgets.get("input-divergence")
    for m in case.measurements:
        if m.name != "input divergence" or m.value is None:
            continue
        # A budget is for the candidate; of the baseline it is enough to know.
        bound = allowed if m.conditions.get("model") != "A" else None
        if m.value > (USUAL if bound is None else bound):
            yield _unlike(m, m.value, bound)


def _unlike(m: Measurement, value: float, bound: float | None) -> Finding:
    of = m.conditions.get("model")
    what = f"{USUAL:g} is usual" if bound is None else f"{bound:g} is allowed"
    return finding(
        RULE,
        f"{f'{of}: ' if of else ''}these inputs have a divergence of {value:.2g} from what the "
        f"model was trained on, at most {what}: they are prepared otherwise, or of another kind",
        facts={"divergence": value, "allowed": USUAL if bound is None else bound},
        breaks=() if bound is None else RULE.breaks,
        level=Level.WARN if bound is None else Level.ERROR,
    )
