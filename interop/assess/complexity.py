"""A candidate and one prepared sample -> what it costs: weights, operations, memory, latency."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interop.bench.latency import TimedRunner, interleave, ratio
from interop.facts import Measurement, Unit
from interop.models.backbone import Features
from interop.models.libraries.transformers.signature import is_one
from interop.runtimes.base import Array as Given
from interop.runtimes.pytorch import TorchRuntime

Array = NDArray[Any]


def complexity(made: Features, inputs: Mapping[str, Array]) -> dict[str, float | None]:
    """Of the module as it was saved, for the sample: "weights" (their number), "weight bytes",
    "FLOPs" (torch's own counter: products and convolutions, two a multiply-add) and "activation
    bytes", what a training step keeps for its backward pass, each storage once, weights left out.

    None where torch cannot run or differentiate it so.
    """
    module = made.module
    weights = [t for n, t in module.state_dict().items() if not n.endswith("num_batches_tracked")]
    given = made._given(inputs, "cpu")
    return {
        "weights": float(sum(t.numel() for t in weights)),
        "weight bytes": float(sum(t.nbytes for t in weights)),
        "FLOPs": _flops(made, given),
        "activation bytes": _kept(made, given),
    }


def _flops(features: Features, given: Mapping[str, torch.Tensor]) -> float | None:
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter, _quiet():
            features._run(given)
    except Exception:  # an operator that a counter does not take
        return None
    return float(counter.get_total_flops()) or None


def _kept(features: Features, given: Mapping[str, torch.Tensor]) -> float | None:
    own = {t.untyped_storage().data_ptr() for t in features.module.state_dict().values()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = [p.requires_grad for p in features.module.parameters()]
    features.module.requires_grad_(True)
    try:
        # What is kept is alive until the result goes: no address is used twice.
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), _quiet():
            result = features._run(given)
        del result
    except Exception:  # a module that cannot be differentiated
        return None
    finally:
        for parameter, needed in zip(features.module.parameters(), before, strict=True):
            parameter.requires_grad_(needed)
    return float(sum(storages.values()))


def _quiet() -> Any:
    return contextlib.redirect_stdout(sys.stderr)


def latencies(
    made: Sequence[tuple[str, Features, Mapping[str, Array]]],
    seconds: float,
    threads: int | None,
    device: str,
    say: Callable[[int], None],
) -> tuple[dict[str, Measurement], dict[tuple[str, str], Measurement]]:
    """One sample at a time through each candidate natively, interleaved as bench does it.

    By name the median of each in ms, and by pair the ratio of the second's to the first's with its
    bootstrap interval. The first runs twice: ("", "") is what it differs from itself by, the host's
    noise.
    """
    runners = []
    for name, features, inputs in made:
        runtime = TorchRuntime(_Called(features, tuple(inputs)), device, threads)
        runners.append(TimedRunner(name, runtime, _one(inputs)))
    again = TimedRunner(runners[0].role, runners[0].runtime, runners[0].batch, again=True)
    try:
        interleave([*runners, again], seconds, say)
        medians = {x.role: _median(x, device) for x in runners}
        value, interval = ratio(again.samples, runners[0].samples)
        pairs = {("", ""): Measurement("latency ratio", Unit.RATIO, value, interval)}
        for a, b in permutations(runners, 2):
            value, interval = ratio(b.samples, a.samples)
            pairs[a.role, b.role] = Measurement("latency ratio", Unit.RATIO, value, interval)
        return medians, pairs
    finally:
        for runner in reversed(runners):
            runner.runtime.close()


def _one(inputs: Mapping[str, Array]) -> Given | Mapping[str, Given]:
    return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)


def _median(runner: TimedRunner, device: str) -> Measurement:
    samples = np.array(runner.samples)
    return Measurement(
        "latency", Unit.MS, float(np.median(samples)), None, tuple(runner.samples),
        {"batch": 1, "runtime": "pytorch", "device": device, "runs": len(samples)},
    )  # fmt: skip


class _Called(torch.nn.Module):
    """The module under positional arguments."""

    def __init__(self, made: Features, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.names = made.module, names
        self.eval()

    def forward(self, *given: torch.Tensor) -> Any:
        if is_one(self.module):
            return self.module(**dict(zip(self.names, given, strict=True)))
        return self.module(*given)
