"""torchvision's models by task -> what they take: pictures, clips, pairs of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from interop.models.signature.types import BATCH, DETECTIONS, Argument, Signature

_DETECTORS = ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "ssd", "fcos")
_DENSE = ("fcn", "deeplabv3", "lraspp")
_CLIPS: Mapping[str, tuple[int, int]] = {
    # frames and side of a clip
    "mc3_18": (16, 112), "r3d_18": (16, 112), "r2plus1d_18": (16, 112), "s3d": (16, 224),
    "mvit": (16, 224), "swin3d": (16, 224),
}  # fmt: skip


def signature(name: str, module: nn.Module) -> Signature | None:
    """What all models but the plain classifiers of pictures take; None for those."""
    if name.startswith(_DETECTORS):
        side = 320 if "320" in name else 300 if name.startswith("ssd300") else 320
        # It resizes and normalises by itself: a picture of any size, its numbers from 0 to 1.
        axes: tuple[int | str, ...] = (3, "height", "width")
        sizes, others = {"height": side, "width": side}, {"height": 256, "width": 352}
        return Signature((Argument("image", axes, draw="unit"),), sizes, others, kind=DETECTIONS)
    if name.startswith(_DENSE):
        axes = (BATCH, 3, "height", "width")
        sizes, others = {"height": 224, "width": 224}, {"height": 256, "width": 192}
        return Signature((Argument("input", axes),), sizes, others, role="pixel classes")
    if name.startswith("raft"):
        shape = (BATCH, 3, 128, 128)
        pair = (Argument("image1", shape, draw="unit"), Argument("image2", shape, draw="unit"))
        return Signature(pair)
    clip = next((size for start, size in _CLIPS.items() if name.startswith(start)), None)
    if clip is not None:
        frames, side = clip
        return Signature((Argument("input", (BATCH, 3, frames, side, side)),))
    return None


def side(name: str, module: nn.Module) -> int | None:
    """The picture size that a classifier was made for: its own, else its weights'."""
    own: Any = getattr(module, "image_size", None)
    if isinstance(own, int):
        return own
    from torchvision.models import get_model_weights

    try:
        made_for = list(get_model_weights(name.removeprefix("quantized_")))
    except ValueError:
        return None
    # The first weights: later ones were often tuned at another size than the architecture's.
    return int(made_for[0].transforms.keywords["crop_size"]) if made_for else None
