"""The weights are codes of a quantization, not the numbers themselves.

What
    The state dict holds packed integers with scales: torch.ao's, GPTQ's, AWQ's or bitsandbytes'.

Why
    A float model cannot be given them: names and shapes are those of the quantized layers. No
    architecture is inferred from them, and no export or comparison with float weights is made.

Example
    quantized state dict (GPTQ or AWQ codes)

Fix
    Work with the float checkpoint, and quantise what comes out at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding

RULE = Rule("weights-quantized", Level.NOTE, ())


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        if identity is not None and identity.kind.startswith("quantized"):
            yield finding(RULE, identity.kind, place=identity.manifest.path)
