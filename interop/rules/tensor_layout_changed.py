"""A tensor is laid out in another way than the code that loads it expects.

What
    A tensor of B is sparse, nested or a subclass where A's is plain, or the other way round.

Why
    `load_state_dict` copies values into parameters that exist already: from a sparse or nested
    tensor it cannot, and fails in the middle of loading.

Example
    fc.weight is sparse_coo, strided in A.

Fix
    Make the tensors plain before they are saved: `tensor.to_dense()`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Layout, Level, Rule, TensorSpec
from interop.rules import finding, listed

RULE = Rule("tensor-layout-changed", Level.ERROR, tuple(Intent), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.pairing is not None
    layouts = {p.b.name: (_layout(p.a), _layout(p.b)) for p in case.pairing.matched}
    changed = {name: pair for name, pair in layouts.items() if pair[0] != pair[1]}
    if changed:
        yield finding(
            RULE,
            listed([f"{name} is {new}, {old} in A" for name, (old, new) in changed.items()]),
            hint="save it as a plain tensor: tensor.to_dense()",
            facts={"tensors": {name: list(pair) for name, pair in changed.items()}},
        )


def _layout(spec: TensorSpec) -> str:
    # A tensor cut into pieces, or one rank's piece, is plain; what it lacks is another rule's.
    return Layout.STRIDED if spec.layout in (Layout.SHARDED, Layout.SHARD) else spec.layout
