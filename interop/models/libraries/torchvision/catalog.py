"""torchvision's constructors -> modules and entries: all tasks, quantizable ones as floats."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.errors import ModelError
from interop.facts import HeadInput, HeadRole
from interop.identity.index.build import IndexEntry
from interop.models.libraries.torchvision.imported import torchvision

if TYPE_CHECKING:
    from torch import nn

# The layers that a person replaces for another task, by what a name starts with. Whatever is not
# here is a classifier, whose head is the last weight of two or more dimensions.
_BOX = (
    ("roi_heads.box_predictor.cls_score", HeadRole.BOX_CLASSES),
    ("roi_heads.box_predictor.bbox_pred", HeadRole.BOXES),
)
_DENSE = (
    ("head.classification_head.cls_logits", HeadRole.BOX_CLASSES),
    ("head.regression_head.bbox_reg", HeadRole.BOXES),
)
_SSD = (
    ("head.classification_head", HeadRole.BOX_CLASSES),
    ("head.regression_head", HeadRole.BOXES),
)
_PIXELS = (
    ("classifier.4", HeadRole.PIXEL_CLASSES),
    ("aux_classifier.4", HeadRole.AUXILIARY_PIXEL_CLASSES),
)
_HEADS: dict[str, tuple[tuple[str, HeadRole], ...]] = {
    "fasterrcnn": _BOX,
    "maskrcnn": (*_BOX, ("roi_heads.mask_predictor.mask_fcn_logits", HeadRole.MASKS)),
    "keypointrcnn": (*_BOX, ("roi_heads.keypoint_predictor.kps_score_lowres", HeadRole.KEYPOINTS)),
    "retinanet": _DENSE,
    "fcos": (*_DENSE, ("head.regression_head.bbox_ctrness", HeadRole.BOXES)),
    "ssd": _SSD,
    "fcn": _PIXELS,
    "deeplabv3": _PIXELS,
    "lraspp": (
        ("classifier.high_classifier", HeadRole.PIXEL_CLASSES),
        ("classifier.low_classifier", HeadRole.PIXEL_CLASSES),
    ),
    "raft": (),
}
# Side branches that serve training alone; people leave them out of what they save.
_AUXILIARY = ("AuxLogits", "aux1", "aux2", "aux_classifier")
_AUXILIARY_HEADS = ("AuxLogits.fc", "aux1.fc2", "aux2.fc2")
# What the backbone hands to the head, where that is no average over a feature map.
_TAKES = {
    "alexnet": HeadInput.FLAT,
    "vgg": HeadInput.FLAT,
    "squeezenet": HeadInput.MAP,
    "s3d": HeadInput.MAP,
    "vit": HeadInput.TOKEN,
    "mvit": HeadInput.TOKEN,
}


def names() -> list[str]:
    return list(torchvision().models.list_models())


def module(name: str, **overrides: Any) -> nn.Module:
    """The model without pretrained weights, its backbone's included."""
    import inspect

    models = torchvision().models
    try:
        takes = inspect.signature(models.get_model_builder(name)).parameters
    except ValueError:
        what = f"the torchvision here has no {name!r}"
        raise ModelError(what, fix="torchvision.models.list_models() has all") from None
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in takes:
        options["weights_backbone"] = None
    if "aux_loss" in takes:
        options["aux_loss"] = True  # as the published weights have it
    if "googlenet" in name or "inception" in name:
        options["init_weights"] = False  # a minute of drawing numbers
    try:
        built: nn.Module = models.get_model(name, **(options | overrides))
    except (TypeError, ValueError) as error:
        fix = "change the options"
        raise ModelError(str(error), where=f"torchvision/{name}", fix=fix) from None
    return built


def meta(name: str, **overrides: Any) -> nn.Module:
    from interop.models.init_modes import EmptyOnMeta

    # One constructor runs its backbone to learn its widths, which cannot be done by halves.
    real = name.startswith("ssdlite")
    with contextlib.nullcontext() if real else EmptyOnMeta():
        return module(name, **overrides)


def entries(name: str) -> list[IndexEntry]:
    shapes = {k: tuple(v.shape) for k, v in meta(name).state_dict().items()}
    float_name = name.removeprefix("quantized_")
    return [
        IndexEntry(
            f"torchvision/{name}",
            shapes,
            heads=replaced_heads(float_name, shapes),
            takes=_takes(float_name),
            optional=tuple(p for p in _AUXILIARY if any(k.startswith(f"{p}.") for k in shapes)),
        )
    ]


def hollow(name: str, entry: IndexEntry, **overrides: Any) -> nn.Module:
    # Weights that were never trained score everything low; there has to be an answer.
    options = {"box_score_thresh": -1.0, "rpn_score_thresh": -1.0} if "rcnn" in name else {}
    return module(name, **{**options, **overrides})


def outline(name: str, entry: IndexEntry) -> nn.Module:
    return meta(name)


def input_size(name: str) -> tuple[int, ...] | None:
    """Channels, height and width, behind the number of frames for videos."""
    if name in ("mc3_18", "r3d_18", "r2plus1d_18", "s3d") or name.startswith(("swin3d", "mvit")):
        return (3, 16, 112, 112)
    side = 299 if "inception" in name else 320 if _is_detector(name) else 224
    return (3, side, side)


def inputs(name: str, module: nn.Module, size: tuple[int, ...] | None) -> dict[str, Any]:
    import torch

    shape = size or input_size(name) or ()
    picture = torch.rand((1, *shape), generator=torch.Generator().manual_seed(1))
    return {"images": [picture[0]]} if _is_detector(name) else {"x": picture}


def stated(name: str, module: nn.Module) -> dict[str, Any]:
    return {}


def _is_detector(name: str) -> bool:
    return "rcnn" in name or name.startswith(("ssd", "retinanet", "fcos"))


def replaced_heads(
    name: str, shapes: dict[str, tuple[int, ...]]
) -> tuple[tuple[str, HeadRole], ...]:
    known = [heads for start, heads in _HEADS.items() if name.startswith(start)]
    if known:
        return known[0]
    last = [key for key, shape in shapes.items() if len(shape) >= 2][-1]
    sides = [(p, HeadRole.AUXILIARY_CLASSES) for p in _AUXILIARY_HEADS if f"{p}.weight" in shapes]
    return ((last.rpartition(".")[0], HeadRole.CLASSES), *sides)


def _takes(name: str) -> HeadInput:
    if any(name.startswith(start) for start in _HEADS):
        return HeadInput.UNKNOWN if name.startswith("raft") else HeadInput.MAP
    return next(
        (takes for start, takes in _TAKES.items() if name.startswith(start)), HeadInput.AVERAGE
    )
