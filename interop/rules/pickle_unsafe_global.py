"""Loading the file would run a function that has no place in a checkpoint.

What
    The pickle imports a name that can run commands or reach files and network, or calls one that
    is not on the list of what rebuilding tensors needs.

Why
    A pickle is a program. `torch.load(weights_only=False)` runs it, whatever the file is called.

Example
    candidate.pth would call posix.system.

Fix
    Do not load the file. Ask for safetensors, or for a state dict from a source that you trust.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Danger, Finding, Intent, Level, Rule
from interop.rules import finding, listed

RULE = Rule("pickle-unsafe-global", Level.ERROR, tuple(Intent))


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        if identity is None:
            continue
        names = [str(i) for i in identity.manifest.imports if i.danger == Danger.UNSAFE]
        if names:
            yield finding(
                RULE,
                f"loading {identity.manifest.path.rpartition('/')[2]} would run {listed(names)}",
                place=identity.manifest.path,
                hint="do not load it; ask its author for safetensors",
                facts={"imports": names},
            )
