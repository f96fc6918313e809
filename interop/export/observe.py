"""One native run of a module -> what it does there that decides how it can be exported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

from interop.errors import ModelError
from interop.models.signature import BATCH, Forward, Signature, drawn
from interop.runtimes.pytorch import dtype_of, tensors

_POOLS = tuple(f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3))


@dataclass(slots=True)
class Observed:
    """`attention` says that torch's fused operator ran. `pools` are adaptive poolings to more than
    one place ("adaptive_avg_pool2d to (6, 6)"). `walked` are the inputs that Python code iterated
    along their batch axis."""

    attention: bool = False
    pools: dict[str, None] = field(default_factory=dict)
    walked: dict[str, None] = field(default_factory=dict)


@contextlib.contextmanager
def observing(signature: Signature, given: Sequence[torch.Tensor]) -> Iterator[Observed]:
    """Observe a native run on the inputs `given` within the block."""
    seen = Observed()
    names = _names(signature, given)
    iterate: Any = torch.Tensor.__iter__

    def iterated(tensor: torch.Tensor) -> Any:
        if id(tensor) in names:
            seen.walked[names[id(tensor)]] = None
        return iterate(tensor)

    def attended(original: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            seen.attention = True
            return original(*args, **options)

        return call

    def pooled(name: str, original: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            with contextlib.suppress(Exception):  # it is the original's to complain
                _note_pool(seen, name, *args, **options)
            return original(*args, **options)

        return call

    functional: Any = torch.nn.functional
    instead = {name: pooled(name, getattr(functional, name)) for name in _POOLS}
    instead["scaled_dot_product_attention"] = attended(functional.scaled_dot_product_attention)
    with (
        mock.patch.multiple(functional, **instead),
        mock.patch.object(torch.Tensor, "__iter__", iterated),
    ):
        yield seen


def _note_pool(seen: Observed, name: str, input: torch.Tensor, output_size: Any, *_: Any) -> None:
    """Note an adaptive pooling to more than one place: how much each takes in depends on the
    size of its input."""
    sizes = output_size if isinstance(output_size, Sequence) else (output_size,) * int(name[-2])
    if any(n not in (1, None) for n in sizes):
        seen.pools[f"{name} to {tuple(sizes)}"] = None


class _Indexing(TorchFunctionMode):
    """Notes which tensors are indexed by a number along their first axis."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.names = names
        self.found: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__ and type(args[1]) is int and id(args[0]) in self.names:
            self.found[self.names[id(args[0])]] = None
        return func(*args, **(kwargs or {}))


def indexed(forward: Forward, given: Sequence[torch.Tensor]) -> list[str]:
    """Return the inputs of which a run that fails took a row of the batch by its number."""
    watch = _Indexing(_names(forward.signature, given))
    with contextlib.suppress(Exception), torch.inference_mode(), watch:
        forward(*given)
    return list(watch.found)


def _names(signature: Signature, given: Sequence[torch.Tensor]) -> dict[int, str]:
    """The inputs that have a batch axis in front, by the identity of their tensors."""
    return {
        id(tensor): argument.name
        for tensor, argument in zip(given, signature.arguments, strict=True)
        if argument.axes[:1] == (BATCH,)
    }


def lists(walked: Sequence[str]) -> str:
    """Return what to do about a tensor that stands for a list of tensors."""
    name = next(iter(walked))
    each = " ".join(f"--input '{name}[{i}]=…'" for i in range(2))
    return f"if {name} is a list of tensors, describe each: {each}"


def check_lists(forward: Forward, seen: Observed, where: str) -> None:
    """Raise ModelError if a tensor is taken for a list: its batch is walked, and the outputs are
    not a row for each sample."""
    if not seen.walked:
        return
    counts: dict[int, int] = {}
    rows = []
    for batch in (1, 2, 3):
        given = tensors(drawn(forward.signature, batch), dtype_of(forward))
        with contextlib.suppress(Exception), torch.inference_mode():
            outputs = forward(*given)
            counts[batch] = len(outputs)
            rows.append(any(o.shape[:1] == (batch,) for o in outputs))
    if len(set(counts.values())) == 1 and all(rows):
        return
    said = ", ".join(f"{n} at batch {b}" for b, n in counts.items())
    what = (
        f"forward walks {', '.join(seen.walked)} along the batch axis, and its outputs are no rows "
        f"of a batch (number of outputs: {said})"
    )
    raise ModelError(what, where=where, fix=lists(list(seen.walked)))
