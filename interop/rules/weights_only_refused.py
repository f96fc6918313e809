"""torch.load's default refuses the file, harmless as it is.

What
    The pickle imports names that can do no harm but that `torch.load` does not allow unless it is
    told to: an argparse.Namespace, a path, a NumPy value.

Why
    Since torch 2.6 `torch.load(path)` allows only what rebuilds tensors and raises on all else: the
    service that loads A as ever fails on B when it starts.

Example
    B needs argparse.Namespace, which A does not

Fix
    Save plain values beside the weights (`vars(args)`, `float(x)`, `str(path)`).
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Danger, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("weights-only-refused", Level.ERROR, (Intent.RELOAD,))


_BY_TORCH_LOAD = ("torch-zip", "torch-legacy", "pickle")


def check(case: Case) -> Iterator[Finding]:
    if case.b is None or case.b.manifest.container not in _BY_TORCH_LOAD:
        return
    needed = [str(i) for i in case.b.manifest.imports if i.danger == Danger.REFUSED]
    if not needed:
        return
    # Where A cannot be loaded by default either, the code that loads it allows more.
    before = case.a.manifest.imports if case.a is not None else ()
    lenient = any(i.danger in (Danger.REFUSED, Danger.CODE) for i in before)
    yield finding(
        RULE,
        f"torch.load refuses {listed(needed)} unless told otherwise",
        place=case.b.manifest.path,
        hint="save plain values beside the weights",
        facts={"imports": needed},
        breaks=() if lenient or case.a is None else None,
        level=Level.NOTE if lenient or case.a is None else None,
    )
