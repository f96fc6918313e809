"""A frozen backbone under a head -> the features of all samples, computed once.

That is the same training only where the head is a function of the features alone: it is held
against a whole forward first, and where the two do not agree nothing is cached.
"""

from __future__ import annotations

from collections.abc import Collection
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from interop.data.base import Prepared
from interop.facts import Proof, ProofName
from interop.finetune.forward import ModuleRunner
from interop.finetune.samples import Samples, Say, SplitPart, whole

NAME = ProofName.CACHED_FEATURES
# Of the largest output: two orders of the same sums differ by rounding.
CLOSE = 1e-5
_TRIED = 8
_MORE = "more than the head makes the outputs"


class _Tap:
    """What a part of a module is handed while the module runs."""

    def __init__(self, part: nn.Module) -> None:
        self.seen: list[Any] = []
        self._hook = part.register_forward_pre_hook(self._take, with_kwargs=True)

    def _take(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.seen.append(given[0] if len(given) == 1 and not named else None)

    def __enter__(self) -> _Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def handed(runner: ModuleRunner, part: nn.Module, batch: Prepared) -> tuple[Any, torch.Tensor]:
    """What `part` is handed in a forward, None where that is not one tensor, and the output."""
    with _Tap(part) as tap:
        outputs = runner(batch.inputs)[0]
    return (tap.seen[0] if len(tap.seen) == 1 else None), outputs


def prove(
    runner: ModuleRunner, head: str, names: Collection[str], samples: Samples
) -> tuple[Proof | None, str]:
    """The proof that the head of cached features gives what the module gives, or why it does not.

    `names` are the parameters that the head's training changes.
    """
    began = perf_counter()
    batch = samples.take(whole(samples).batches(_TRIED)[0])
    runner.module.eval()
    rest = [n for n in names if n != head and not n.startswith(f"{head}.")]
    if not head or (rest and _matters(runner, rest, batch)):
        return None, "more than the last layer is new"
    apart, largest, width = 0.0, 1.0, 0
    # Once more with the head's weights negated: what cuts off at zero shows on one side alone.
    for _ in range(2):
        comparison = _compared(runner, runner.module.get_submodule(head), batch)
        if isinstance(comparison, str):
            return None, comparison
        found, most, width = comparison
        apart, largest = max(apart, found), max(largest, most)
        _negate(runner.module, names)
    if not apart <= CLOSE * largest:
        return None, _MORE
    sentence = f"head(features) is the whole forward to {apart:.1g} on {len(batch.records)} samples"
    facts = {"largest_difference": apart, "largest_output": largest, "width": width}
    return Proof(NAME, True, sentence, facts, perf_counter() - began), ""


def _compared(
    runner: ModuleRunner, part: nn.Module, batch: Prepared
) -> tuple[float, float, int] | str:
    """The largest difference and output, and the features' width, or why there are none."""
    with torch.no_grad():
        features, outputs = handed(runner, part, batch)
        if not isinstance(features, torch.Tensor) or features.ndim != 2:
            return "the head is not handed one vector a sample"
        if len(features) != len(batch.records):
            return "the head is not handed one vector a sample"
        with runner.precise():
            again = part(features)
    if not isinstance(again, torch.Tensor) or again.shape != outputs.shape:
        return _MORE
    apart = float((again.float() - outputs.float()).abs().max())
    return apart, float(outputs.float().abs().max()), features.shape[1]


def _matters(runner: ModuleRunner, names: Collection[str], batch: Prepared) -> bool:
    """Whether the output hangs on these parameters; side heads have no part in it."""
    with torch.no_grad():
        before = runner(batch.inputs)[0]
        _negate(runner.module, names)
        after = runner(batch.inputs)[0]
        _negate(runner.module, names)
    return not torch.equal(before, after)


def _negate(module: nn.Module, names: Collection[str]) -> None:
    with torch.no_grad():
        for name in names:
            module.get_parameter(name).neg_()


def features(runner: ModuleRunner, head: str, samples: Samples, size: int, say: Say) -> Samples:
    """The same samples, prepared as the features that the head is handed, float32."""
    part = runner.module.get_submodule(head)
    rows: list[Any] = []
    runner.module.eval()
    with torch.no_grad():
        for picks in whole(samples).batches(size):
            vectors, _ = handed(runner, part, samples.take(picks))
            rows.append(vectors.float().cpu().numpy())
            say(f"features of {sum(map(len, rows))} of {len(samples)} samples")
    return Samples(samples.records, samples.prepare, arrays={"features": np.concatenate(rows)})


def cached(
    runner: ModuleRunner, head: str, parts: tuple[SplitPart, SplitPart], size: int, say: Say
) -> tuple[SplitPart, SplitPart]:
    """Both parts with features for inputs; a data set that both are of is gone over once."""
    by_id = {id(p.samples): p.samples for p in parts}
    prepared = {key: features(runner, head, own, size, say) for key, own in by_id.items()}
    first, second = (SplitPart(prepared[id(p.samples)], p.picks) for p in parts)
    return first, second
