"""The graph gives other outputs.

What
    Two ONNX graphs differ in the names, types or shapes of their outputs, or in what their last
    nodes make of them: values (logits), probabilities, log-probabilities, classes, normalised
    vectors. If the last nodes differ and one of them is not understood, the answer is unknown. So
    it is for a graph that ends in one of these against a checkpoint, which states none.

Why
    A caller of ONNX Runtime passes arrays by name and of a type: one that changed is an error in
    production, not in a test. Logits where there were probabilities are no error at all: every
    threshold is wrong, and nothing says so.

Example
    image float32 (batch, 3, 224, 224) -> pixel_values float32 (1, 3, 224, 224)

Fix
    Export with the names and axes of the model that is served.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Identity, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import contract

RULE = Rule("output-contract-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    yield from contract(RULE, case, "outputs")
    assert case.a is not None and case.b is not None
    yield from _beside_a_checkpoint(case.a, case.b)
    sides = [_meanings(case.a), _meanings(case.b)]
    if len(sides[0]) == len(sides[1]) == 1:  # whatever the two are called
        sides[1] = dict(zip(sides[0], sides[1].values(), strict=True))
    old, new = sides
    if not (changed := [name for name in old if new.get(name, old[name]) != old[name]]):
        return
    yield finding(
        RULE,
        "; ".join(f"output {name}: {old[name]} -> {new[name]}" for name in changed[:2]),
        hint="export with the last layer of the model that is served",
        facts={"meanings": {name: [old[name], new[name]] for name in changed}},
        answer=Answer.UNKNOWN if all("unknown" in (old[n] + new[n]) for n in changed) else None,
    )


def _beside_a_checkpoint(a: Identity, b: Identity) -> Iterator[Finding]:
    """A graph that makes something of its values, against weights that do not say what they give.

    The first output alone: a detector's boxes are often between 0 and 1 by its own class.
    """
    graphs = [i for i in (a, b) if i.manifest.graph is not None]
    first = next(iter(_meanings(graphs[0]).items()), None) if len(graphs) == 1 else None
    if first is None or first[1].startswith(("values", "unknown")):
        return
    weights, graph = ("A", "B") if graphs[0] is b else ("B", "A")
    what = f"{graph}'s output {first[0]} is {first[1]}; {weights} does not say what its output is"
    meanings, hint = {"meanings": dict([first])}, "compare two exported graphs"
    yield finding(RULE, what, hint=hint, facts=meanings, answer=Answer.UNKNOWN)


def _meanings(identity: Identity) -> dict[str, str]:
    graph = identity.manifest.graph
    return dict(graph.meanings) if graph is not None else {}
