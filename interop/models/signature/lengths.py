"""A module and its signature -> whole numbers of the range that the module takes.

Lengths of sequences begin at 1, end at the size of an axis, and may have to fall from row to row.
Nothing states that; the module refuses other numbers, and is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from interop.models.signature.forward import Forward, runs
from interop.models.signature.types import BATCH, Argument, Signature, drawn

_ROWS = 8


def settled(forward: Forward, dtype: torch.dtype) -> Signature:
    """Return the signature with its whole numbers, one a row, drawn as the module takes them."""
    signature = forward.signature
    for argument in signature.arguments:
        if argument.draw == "whole" and set(argument.axes) <= {BATCH}:
            signature = _settled(forward, signature, argument, dtype)
    return signature


def said(signature: Signature) -> list[str]:
    """Return the notes on what was drawn otherwise than it was described."""
    notes = []
    for a in signature.arguments:
        if a.draw == "whole" and (a.low or a.within or a.falling) and set(a.axes) <= {BATCH}:
            end = f"the size of {a.within}" if a.within else str(a.high - 1)
            order = ", in falling order" if a.falling else ""
            notes.append(
                f"{a.name} was drawn from {a.low} to {end}{order}: the module refuses other numbers"
            )
    return notes


def _settled(
    forward: Forward, signature: Signature, argument: Argument, dtype: torch.dtype
) -> Signature:
    def takes(value: int, axis: str = "", size: int = 0) -> bool:
        sizes = {axis: size} if axis else {}
        batch = drawn(signature, 2, sizes)
        batch[argument.name] = np.full_like(batch[argument.name], value)
        return runs(forward, batch, dtype)

    low = next((n for n in (0, 1) if takes(n)), None)
    if low is None:
        return signature
    changed = replace(argument, low=low)
    for axis, size in _smaller(signature):
        if not takes(argument.high - 1, axis, size) and takes(size - 1 + low, axis, size):
            changed = replace(changed, within=axis)
            break
    one = _with(signature, changed)
    if signature.batched and not runs(forward, drawn(one, _ROWS), dtype):
        falling = _with(signature, replace(changed, falling=True))
        one = falling if runs(forward, drawn(falling, _ROWS), dtype) else one
    return one


def _smaller(signature: Signature) -> list[tuple[str, int]]:
    """Sizes of each named axis below the example's."""
    known: Mapping[str, int] = signature.sizes
    return [(a, n) for a in signature.varying for n in (1, max(known[a] // 2, 1)) if n < known[a]]


def _with(signature: Signature, argument: Argument) -> Signature:
    arguments = (argument if a.name == argument.name else a for a in signature.arguments)
    return replace(signature, arguments=tuple(arguments))
