"""The file needs somebody's classes to be loaded.

What
    Whole objects were pickled (a module, a configuration), not just tensors. Loading imports the
    classes by name and fills them.

Why
    It loads only where the same code is installed in a version that fits, and
    `torch.load(weights_only=True)`, the default since torch 2.6, refuses it.

Example
    candidate.pth holds a pickled models.yolo.Model.

Fix
    Save `model.state_dict()` instead of the model.
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
    yield finding(
        RULE,
        f"loading it needs {listed(new or needed)}" + ("" if new else ", as A does"),
        place=case.b.manifest.path,
        hint="save model.state_dict() instead",
        facts={"imports": needed},
        breaks=None if new else (),
        level=None if new else Level.NOTE,
    )
