"""A torchvision name and a file's shapes -> torchvision's module, for every task it has.

How many classes, anchors and keypoints there are, and whether an auxiliary branch is there, the
shapes and names tell; what they do not (thresholds, an input's size) is the library's default, and
the notes say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from interop.errors import ExtraMissing, ModelError
from interop.facts import Head, HeadKind, HeadRole, Identity
from interop.models.heads import (
    OWN,
    fit_head,
    fit_layer,
    refuse_around,
    refuse_several_layers,
    shapes_of,
    uninitialised,
)
from interop.models.libraries.torchvision.imported import torchvision

Shapes = Mapping[str, tuple[int, ...]]
Options = dict[str, Any]
# Layers of side branches that are no part of the answer and may keep another width than the head.
_SIDE = ("aux1.fc2", "aux2.fc2", "AuxLogits.fc")
_DETECTORS = ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos", "ssd")
_SEGMENTERS = ("fcn", "deeplabv3", "lraspp")
DEFAULTS = (
    "thresholds, the number of detections and the size that pictures are brought to are "
    "torchvision's defaults: no state dict tells them"
)
# Published weights of the first generation run with an epsilon of 0 in their frozen norms.
_ZERO_EPSILON = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn",
                 "retinanet_resnet50_fpn")  # fmt: skip


def build(identity: Identity, name: str, *, own_head: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The module and what is to be said of it. Raises ModelError where the file does not tell."""
    refuse_around(identity, name)
    plain = name.removeprefix("quantized_")
    if plain.startswith(_DETECTORS):
        return _detector(identity, name), _said_of_detectors(plain)
    if plain.startswith(_SEGMENTERS):
        return _segmenter(identity, name), ()
    if plain.startswith("raft"):
        return _made(identity, name, {}), ()
    return _classifier(identity, name, own_head=own_head), ()


def _classifier(identity: Identity, name: str, *, own_head: bool) -> nn.Module:
    head = identity.head
    _refuse_head(identity, head, name)
    assert head is not None
    if not own_head:
        refuse_several_layers(identity, head)
    options = _side_branches(name, shapes_of(identity))
    if not own_head:
        options["num_classes"] = head.outputs
    module = _made(identity, name, options)
    with uninitialised():
        if not own_head:
            fit_head(module, identity, head, name)
        for path in _SIDE:
            if _has(module, path):
                fit_layer(module, path, shapes_of(identity))
    return module


def _refuse_head(identity: Identity, head: Head | None, name: str) -> None:
    where = identity.manifest.path
    if head is not None and head.role not in ("", HeadRole.CLASSES):
        raise ModelError(f"its head gives {head.role}, which {name} does not", where=where, fix=OWN)
    if head is None or head.kind == HeadKind.REMOVED:
        fix = "give the module that takes these weights with --model package.module:factory"
        raise ModelError(f"the file holds {name} without a head", where=where, fix=fix)


def _side_branches(name: str, shapes: Shapes) -> Options:
    """Of constructors that fill the weights themselves, or whose side branch a file may lack."""
    if "googlenet" in name:
        return {"aux_logits": _any(shapes, "aux"), "init_weights": False}
    if "inception_v3" in name:
        return {"aux_logits": _any(shapes, "AuxLogits"), "init_weights": False}
    return {}


def _segmenter(identity: Identity, name: str) -> nn.Module:
    shapes = shapes_of(identity)
    lraspp = name.startswith("lraspp")
    heads = ("classifier.high_classifier", "classifier.low_classifier") if lraspp else (
        "classifier.4", "aux_classifier.4")  # fmt: skip
    options: Options = {"num_classes": _rows(identity, shapes, f"{heads[0]}.weight", name)}
    if not lraspp:
        options["aux_loss"] = _any(shapes, "aux_classifier.")
    module = _made(identity, name, options)
    with uninitialised():
        for path in heads:
            if _has(module, path):
                fit_layer(module, path, shapes)
    return module


def _detector(identity: Identity, name: str) -> nn.Module:
    shapes = shapes_of(identity)
    options: Options = {"num_classes": _classes(identity, shapes, name)}
    if name.startswith("keypointrcnn"):
        scores = "roi_heads.keypoint_predictor.kps_score_lowres.weight"
        # A transposed convolution: its outputs are its second axis.
        options["num_keypoints"] = _rows(identity, shapes, scores, name, axis=1)
    module = _made(identity, name, options)
    with uninitialised():
        for path, layer in list(module.named_modules()):
            if isinstance(layer, nn.BatchNorm2d) and _is_frozen(path, shapes):
                module.set_submodule(path, _frozen(layer))  # type: ignore[no-untyped-call]
    _refuse_other_anchors(identity, module, shapes)
    return module


def _classes(identity: Identity, shapes: Shapes, name: str) -> int:
    """How many classes a detector tells apart, its background included."""
    if "rcnn" in name:
        return _rows(identity, shapes, "roi_heads.box_predictor.cls_score.weight", name)
    if name.startswith("ssd"):
        # One convolution a feature map: ssd300's are bare, ssdlite's the second of a pair.
        tail = ".0.weight" if name.startswith("ssd300") else ".0.1.weight"
        scores = f"head.classification_head.module_list{tail}"
        boxes = f"head.regression_head.module_list{tail}"
    else:
        scores = "head.classification_head.cls_logits.weight"
        boxes = "head.regression_head.bbox_reg.weight"
    anchors = _rows(identity, shapes, boxes, name) // 4  # a box has four numbers
    return _rows(identity, shapes, scores, name) // max(anchors, 1)


def _rows(identity: Identity, shapes: Shapes, key: str, name: str, axis: int = 0) -> int:
    shape = shapes.get(key, ())
    if len(shape) < 2:
        what = f"has no {key}, which tells how many outputs {name} has"
        raise ModelError(what, where=identity.manifest.path, fix=OWN)
    return shape[axis]


def _is_frozen(path: str, shapes: Shapes) -> bool:
    """Whether a normalisation was frozen when the file was saved: those count no steps."""
    return f"{path}.running_mean" in shapes and f"{path}.num_batches_tracked" not in shapes


def _frozen(layer: nn.BatchNorm2d) -> nn.Module:
    from torchvision.ops import FrozenBatchNorm2d

    frozen: nn.Module = FrozenBatchNorm2d(layer.num_features, eps=layer.eps)
    return frozen


def _refuse_other_anchors(identity: Identity, module: nn.Module, shapes: Shapes) -> None:
    """ModelError where a file has another number of anchors: their sizes are in no file."""
    for key, tensor in module.state_dict().items():
        shape = shapes.get(key, ())
        boxes = "bbox_reg" in key or "regression_head.module_list" in key or "rpn.head" in key
        if boxes and shape and shape != tuple(tensor.shape):
            what = (
                f"{key} is {shape} where torchvision's anchors make it {tuple(tensor.shape)}: "
                "the sizes of other anchors are in no file"
            )
            raise ModelError(what, where=identity.manifest.path, fix=OWN)


def _said_of_detectors(name: str) -> tuple[str, ...]:
    if name not in _ZERO_EPSILON:
        return (DEFAULTS,)
    return (
        DEFAULTS,
        "the frozen norms have the bare constructor's epsilon (1e-5); a model that was fine-tuned "
        "from torchvision's own COCO weights has 0 there, and no state dict tells",
    )


def _made(identity: Identity, name: str, options: Options) -> nn.Module:
    """The constructor's module, neither its weights nor its backbone's fetched."""
    try:
        models = torchvision().models
    except ImportError:
        what = f"{name} is torchvision's, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[run]'") from None
    where = identity.manifest.path
    with uninitialised():
        try:
            given = {"weights": None, **_no_backbone(models.get_model_builder(name))}
            module: nn.Module = models.get_model(name, **given, **options)
        except ValueError as error:
            fix = "install a newer torchvision, or give --model package.module:factory"
            what = f"the torchvision here has no {name} ({error})"
            raise ModelError(what, where=where, fix=fix) from None
    return module


def _no_backbone(builder: Callable[..., Any]) -> Options:
    import inspect

    takes = inspect.signature(builder).parameters
    return {"weights_backbone": None} if "weights_backbone" in takes else {}


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


def _any(names: Shapes, start: str) -> bool:
    return any(name.startswith(start) for name in names)
