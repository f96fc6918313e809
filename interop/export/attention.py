"""torch's attention -> attention that the exporters can take, for as long as they trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.modules import transformer


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Let torch's transformer layers compute in their ordinary steps: no exporter knows the
    fused operators of their fast path, which inference alone takes.

    Whether a mask is causal is a hint, for which torch compares the mask's values; without it the
    mask itself is used.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    whole: Any = nn.TransformerEncoder.forward
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            mock.patch.object(nn.TransformerEncoder, "forward", _padded_with_zeros(whole)),
            mock.patch.object(transformer, "_detect_is_causal_mask", _as_hinted),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def nests(module: nn.Module) -> bool:
    """Say whether the fast path drops padded places in it: what it gives then depends on values."""
    encoders = (m for m in module.modules() if isinstance(m, nn.TransformerEncoder))
    return any(getattr(m, "use_nested_tensor", False) for m in encoders)


def _as_hinted(mask: Any, is_causal: bool | None = None, size: Any = None) -> bool:
    return is_causal is True


def _padded_with_zeros(whole: Any) -> Any:
    """The forward of nn.TransformerEncoder, which gives zeros at padded places as the fast path
    does: where padding is at the end of each row of the batch."""

    def forward(
        encoder: Any,
        src: torch.Tensor,
        mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> torch.Tensor:
        pad = src_key_padding_mask
        nested = getattr(encoder, "use_nested_tensor", False) and src.dim() == 3
        if pad is None or mask is not None or not nested:
            return whole(encoder, src, mask, pad, is_causal)  # type: ignore[no-any-return]
        norm, encoder.norm = encoder.norm, None  # the last step, behind the zeros
        try:
            output = whole(encoder, src, mask, pad, is_causal)
        finally:
            encoder.norm = norm
        dropped = pad if pad.dtype == torch.bool else pad != 0
        if getattr(encoder, "mask_check", True):
            gaps = (dropped[:, :-1] & ~dropped[:, 1:]).sum()
            dropped = dropped & (gaps == 0)
        output = output.masked_fill(dropped.unsqueeze(-1), 0.0)
        return norm(output) if norm is not None else output  # type: ignore[no-any-return]

    return forward


@contextlib.contextmanager
def plainly(plain: bool) -> Iterator[None]:
    """With `plain`, attention over any number of axes in single steps, as its documentation has it.

    The exporters know the fused operator for four axes alone.
    """
    if not plain:
        yield
        return

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if enable_gqa and key.shape[-3] != query.shape[-3]:
            times = query.shape[-3] // key.shape[-3]
            key, value = (t.repeat_interleave(times, -3) for t in (key, value))
        scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            allowed = torch.ones_like(scores, dtype=torch.bool).tril()
            scores = scores.masked_fill(~allowed, float("-inf"))
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return scores.softmax(-1) @ value

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend):
        yield
