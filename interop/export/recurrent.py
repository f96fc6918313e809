"""torch's recurrent layers -> what the exporters need of them, for as long as they trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.modules import rnn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

FRONT = "whole."  # in front of all names that are exported of a WithPacked


class _Shapes:
    """Stands for torch's recurrent operators: values of the right shape, and nothing computed."""

    def lstm(self, given: torch.Tensor, hx: Sequence[torch.Tensor], *options: Any) -> Any:
        return _answer(given, hx[0], options), hx[0], hx[1]

    def gru(self, given: torch.Tensor, hx: torch.Tensor, *options: Any) -> Any:
        return _answer(given, hx, options), hx

    rnn_tanh = rnn_relu = gru


def _answer(given: torch.Tensor, hx: torch.Tensor, options: Sequence[Any]) -> torch.Tensor:
    bidirectional = options[-2]
    return given.new_zeros((*given.shape[:-1], hx.shape[-1] * (1 + bool(bidirectional))))


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Let recurrent layers have outputs of the right shape alone: torch.export takes the
    operators apart at the example's length, and its conditions would say that no other is right."""
    with mock.patch.object(rnn, "_VF", _Shapes()):
        yield


class WithPacked(nn.Module):
    """A module that also gives each packed sequence that a recurrent layer made, padded.

    TorchScript's exporter crashes on one whose last states alone are used.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole
        self.train(whole.training)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        packed: list[torch.Tensor] = []

        def keep(layer: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output[0], PackedSequence):
                packed.append(pad_packed_sequence(output[0])[0])

        layers = [m for m in self.whole.modules() if isinstance(m, nn.RNNBase)]
        hooks = [layer.register_forward_hook(keep) for layer in layers]
        try:
            outputs = self.whole(*given)
        finally:
            for hook in hooks:
                hook.remove()
        return (*outputs, *packed)
