"""B is stored in another file format than A.

What
    One is a zip checkpoint, say, the other a legacy one, safetensors, a Keras archive or ONNX.
    Where no loader reads both, B cannot be reloaded.

Why
    The weights may be the same; the call that loads them is not.

Example
    A is read by torch.load, B by safetensors.

Fix
    Nothing, where the loading code knows both; else save B in A's format.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding

RULE = Rule("container-changed", Level.NOTE, (), needs=("pair",))

# What one and the same loader takes, or a loader one word away (load_file for load): a change
# within is noted. ONNX graphs are left out, of which reloading is no question.
_ALIKE = ({"torch-zip", "torch-legacy", "pickle", "safetensors"}, {"keras", "hdf5"})


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.manifest.container, case.b.manifest.container
    if old == new:
        return
    facts = {"a": old, "b": new}
    if "onnx" in (old, new) or any({old, new} <= alike for alike in _ALIKE):
        yield finding(RULE, f"{old} became {new}", facts=facts)
    else:
        what = f"{old} became {new}, which A's loader does not read"
        yield finding(RULE, what, facts=facts, breaks=(Intent.RELOAD,), level=Level.ERROR)
