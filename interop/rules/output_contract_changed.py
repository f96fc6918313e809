"""The graph gives other outputs.

What
    Two ONNX graphs differ in the names, types or shapes of their outputs.

Why
    A caller of ONNX Runtime passes arrays by name and of a type: one that changed is an error in
    production, not in a test.

Example
    image float32 (batch, 3, 224, 224) -> pixel_values float32 (1, 3, 224, 224)

Fix
    Export with the names and axes of the model that is served.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Port, Rule
from interop.rules import finding

RULE = Rule("output-contract-changed", Level.ERROR, (Intent.REPLACE,), needs=("pair",))


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.b is not None
    old, new = case.a.manifest.graph, case.b.manifest.graph
    if old is None or new is None:
        return
    was, now = ({p.name: (p.dtype, _axes(p)) for p in g.outputs} for g in (old, new))
    if was != now:
        names = [n for n in {**was, **now} if was.get(n) != now.get(n)]
        yield finding(
            RULE,
            "; ".join(f"{n} {_text(was.get(n))} -> {_text(now.get(n))}" for n in names[:2]),
            facts={"outputs": names},
        )


def _axes(port: Port) -> tuple[int | str, ...]:
    # What a dynamic axis is called does not matter to a caller.
    return tuple(a if isinstance(a, int) else "?" for a in port.shape)


def _text(port: tuple[str, tuple[int | str, ...]] | None) -> str:
    return f"{port[0]} ({', '.join(map(str, port[1]))})" if port else "absent"
