"""The graph is not sound.

What
    An ONNX file has no opset import, uses a value that nothing defines or that comes later, defines
    one twice, or has an operator that does not exist at its opset or takes other inputs. Or
    onnx.checker or ONNX Runtime refuses an exported graph, its outputs are not as wide as the head
    has rows, or they are not finite.

Why
    No runtime loads a graph that breaks ONNX's rules. An export of 91 classes from a head of 9
    loads everywhere and is wrong everywhere.

Example
    node 'add' (Add) uses 'scale', which nothing before it defines

Fix
    Export again; of a module of your own, with `--model` naming the one that was trained.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, ProofName, Rule
from interop.rules import finding
from interop.rules._shared import failed_proof

RULE = Rule("graph-invalid", Level.ERROR, (Intent.REPLACE,), needs=())

_MOST = 8  # faults of a graph that are told


def check(case: Case) -> Iterator[Finding]:
    yield from failed_proof(RULE, case, ProofName.STRUCTURE)
    manifest = case.b.manifest if case.b is not None else None
    if manifest is None or manifest.graph is None:
        return
    faults = manifest.graph.faults
    for n, fault in enumerate(faults[:_MOST]):
        more = f" ({len(faults) - _MOST} more faults)" if n == _MOST - 1 < len(faults) - 1 else ""
        yield finding(RULE, fault + more, place=manifest.path, hint="export the model again")
