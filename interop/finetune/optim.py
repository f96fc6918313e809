"""A module's parameters -> groups with a learning rate each, and the optimizer's schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from math import ceil, cos, pi
from typing import Any

import torch
from torch import nn

from interop.finetune.options import FinetuneOptions

MOMENTUM = 0.9
Group = dict[str, Any]


def stages(module: nn.Module, names: Collection[str]) -> list[list[str]]:
    """The parameters `names` by block, from the input to the output.

    A block is an item of a list or sequence of modules, else a child of the module (of the child
    that holds more than half of everything, where there is one). Norms by themselves belong to
    what comes before them.
    """
    parameters = {n: p for n, p in module.named_parameters() if n in names}
    tops = Counter(n.partition(".")[0] for n in parameters)
    large = {top for top, count in tops.items() if 2 * count > len(parameters)}
    blocks: dict[str, list[str]] = {}
    for name in parameters:
        blocks.setdefault(_block(name, large), []).append(name)
    stages: list[list[str]] = []
    for own in blocks.values():
        if stages and all(parameters[n].ndim < 2 for n in own):
            stages[-1] += own
        else:
            stages.append(own)
    return stages


def _block(name: str, large: Collection[str]) -> str:
    parts = name.split(".")[:-1]
    for i, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: i + 1])
    return ".".join(parts[: 2 if parts and parts[0] in large else 1])


def groups(
    module: nn.Module,
    names: Collection[str],
    head: Collection[str],
    rate: float,
    how: FinetuneOptions,
) -> list[Group]:
    """Parameter groups of the parameters `names`, with "base" the highest rate of each.

    The last block of the backbone has `rate`, each before it `layer_decay` times that of the next;
    the head `head_rate_factor` times `rate`. Biases and norms have no weight decay.
    """
    body = stages(module, [n for n in names if n not in head])
    rates = [rate * how.layer_decay ** (len(body) - 1 - i) for i in range(len(body))]
    levels = list(zip(rates, body, strict=True))
    if own := [n for n in names if n in head]:
        levels.append((rate * how.head_rate_factor, own))
    named = dict(module.named_parameters())
    return [
        {"params": params, "lr": level, "base": level, "weight_decay": decay}
        for level, members in levels
        for decayed, decay in ((True, how.weight_decay), (False, 0.0))
        if (params := [named[n] for n in members if (named[n].ndim >= 2) == decayed])
    ]


def optimizer(made: list[Group], how: FinetuneOptions) -> torch.optim.Optimizer:
    if how.optimizer == "sgd":
        return torch.optim.SGD(made, momentum=MOMENTUM, nesterov=True)
    kind = torch.optim.Adam if how.optimizer == "adam" else torch.optim.AdamW
    return kind(made)


def factor(step: int, total: int, how: FinetuneOptions) -> float:
    """What all rates are multiplied by at a step (from 0): a line up to 1, then half a cosine down
    to 0 (Loshchilov and Hutter 2017, without restarts), or 1."""
    warm = ceil(how.warmup * total)
    if step < warm:
        return (step + 1) / warm
    if how.schedule == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * (step - warm) / max(total - warm, 1)))
