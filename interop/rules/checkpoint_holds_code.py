"""The file needs somebody's classes, or operators, to be loaded.

What
    Whole objects were pickled (a module, a configuration), not just tensors. Loading imports the
    classes by name and fills them. Of a TensorFlow graph: an operator that is not known to compute
    only, from a library or of a later TensorFlow.

Why
    It loads only where the same code is installed in a version that fits, and
    `torch.load(weights_only=True)`, the default since torch 2.6, refuses it.

Example
    candidate.pth holds a pickled models.yolo.Model.

Fix
    Save `model.state_dict()` instead of the model. Export a graph with TensorFlow's own operators
    for computing; reading data belongs in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Danger, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("checkpoint-holds-code", Level.ERROR, (Intent.RELOAD,))


def check(case: Case) -> Iterator[Finding]:
    if case.b is None:
        return
    manifest = case.b.manifest
    # A TorchScript archive brings the code of its own classes along.
    brought = "__torch__." if manifest.container == "torchscript" else "\0"
    code = (str(i) for i in manifest.imports if i.danger == Danger.CODE)
    needed = [name for name in code if not name.startswith(brought)]
    if not needed:
        return
    # Where the baseline needs the same classes, the code that loads it has them.
    there = {str(i) for i in case.a.manifest.imports} if case.a is not None else set()
    new = [name for name in needed if name not in there]
    loading, hint = "loading it needs", "save model.state_dict() instead"
    if manifest.graph is not None and manifest.container == "saved-model":
        loading = "running it needs code that is not known to compute only:"
        hint = "export it with TensorFlow's own operators for computing"
    yield finding(
        RULE,
        f"{loading} {listed(new or needed)}" + ("" if new else ", as A does"),
        place=manifest.path,
        hint=hint,
        facts={"imports": needed},
        breaks=None if new else (),
        level=None if new else Level.NOTE,
    )
