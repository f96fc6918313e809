"""An Identity and its module -> the inputs on which an export is traced and proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import ModelError
from interop.facts import Identity
from interop.proof.parity import seeded

_CHANNELS: Mapping[str, int] = {"RGB": 3, "L": 1}


def pictures(
    identity: Identity, module: nn.Module, samples: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], str]:
    """Inputs (n, ...) in float32, and what they are: "real" or "seeded".

    The samples where there are any; else seeded noise of the shape that, in this order, the
    preprocessing, the module's own `example_input_array` or torchvision's default tells. Raises
    ModelError where none of them does.
    """
    if samples is not None and len(samples):
        return np.ascontiguousarray(samples, dtype=np.float32), "real"
    return seeded(_shape(identity, module)), "seeded"


def _shape(identity: Identity, module: nn.Module) -> tuple[int, ...]:
    how = identity.preprocessing
    if how is not None and how.size is not None:
        return (_CHANNELS[how.color], *how.size)
    example: Any = getattr(module, "example_input_array", None)
    if isinstance(example, torch.Tensor) and example.ndim > 1:
        return tuple(example.shape[1:])
    library, _, name = (identity.architecture or "").partition("/")
    size = _torchvisions(name, module) if library == "torchvision" else None
    if size is None:
        raise ModelError(
            "the size of its input is in no file",
            where=identity.manifest.path,
            fix="give --preprocess or --data, or set example_input_array on the module",
        )
    return (3, size, size)


def _torchvisions(name: str, module: nn.Module) -> int | None:
    """The picture size that an architecture was made for: its own, else its weights'."""
    own = getattr(module, "image_size", None)
    if isinstance(own, int):
        return own
    from torchvision.models import get_model_weights

    try:
        made_for = list(get_model_weights(name))
    except ValueError:
        return None
    # The first weights: later ones were often tuned at another size than the architecture's.
    return int(made_for[0].transforms.keywords["crop_size"]) if made_for else None
