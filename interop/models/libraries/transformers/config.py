"""A model's name in torchvision or timm -> the config of transformers' class that is the same.

Sizes and the settings that no weight shows: epsilons, activations, attention heads. The values are
the libraries' own; a proof says whether they are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from interop.facts import Json

Config = Mapping[str, Json]

_BASIC, _DEEP = [64, 128, 256, 512], [256, 512, 1024, 2048]
_RESNET: Mapping[str, Config] = {
    name: {"depths": depths, "hidden_sizes": sizes, "layer_type": kind}
    for name, depths, sizes, kind in (
        ("resnet18", [2, 2, 2, 2], _BASIC, "basic"),
        ("resnet34", [3, 4, 6, 3], _BASIC, "basic"),
        ("resnet50", [3, 4, 6, 3], _DEEP, "bottleneck"),
        ("resnet101", [3, 4, 23, 3], _DEEP, "bottleneck"),
        ("resnet152", [3, 8, 36, 3], _DEEP, "bottleneck"),
    )
}
# torchvision's name, timm's name, widths, depths, group width
_REGNETS: tuple[tuple[str, str, list[int], list[int], int], ...] = (
    ("x_400mf", "x_004_tv", [32, 64, 160, 400], [1, 2, 7, 12], 16),
    ("x_800mf", "x_008", [64, 128, 288, 672], [1, 3, 7, 5], 16),
    ("x_1_6gf", "x_016", [72, 168, 408, 912], [2, 4, 10, 2], 24),
    ("x_3_2gf", "x_032", [96, 192, 432, 1008], [2, 6, 15, 2], 48),
    ("x_8gf", "x_080", [80, 240, 720, 1920], [2, 5, 15, 1], 80),
    ("x_16gf", "x_160", [256, 512, 896, 2048], [2, 6, 13, 1], 128),
    ("x_32gf", "x_320", [336, 672, 1344, 2520], [2, 7, 13, 1], 168),
    ("y_400mf", "y_004", [48, 104, 208, 440], [1, 3, 6, 6], 8),
    ("y_800mf", "y_008_tv", [64, 144, 320, 784], [1, 3, 8, 2], 16),
    ("y_1_6gf", "y_016", [48, 120, 336, 888], [2, 6, 17, 2], 24),
    ("y_3_2gf", "y_032", [72, 216, 576, 1512], [2, 5, 13, 1], 24),
    ("y_8gf", "y_080_tv", [224, 448, 896, 2016], [2, 4, 10, 1], 56),
    ("y_16gf", "y_160", [224, 448, 1232, 3024], [2, 4, 11, 1], 112),
    ("y_32gf", "y_320", [232, 696, 1392, 3712], [2, 5, 12, 1], 232),
)
_REGNET: Mapping[str, Config] = {
    name: {
        "hidden_sizes": widths,
        "depths": depths,
        "groups_width": group,
        "layer_type": own[0],
        "embedding_size": 32,
    }
    for own, other, widths, depths, group in _REGNETS
    for name in (f"regnet_{own}", f"regnet{other}")
}
# width, layers, attention heads, width of the perceptron
_VIT_SIZES = {
    "tiny": (192, 12, 3, 768),
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
}
_SWIN_SIZES = {
    "tiny": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "small": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "base": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
    "large": (192, [2, 2, 18, 2], [6, 12, 24, 48]),
}
_CONVNEXT: Mapping[str, Config] = {
    f"convnext_{size}": {"depths": depths, "hidden_sizes": widths, "layer_norm_eps": 1e-6}
    for size, depths, widths in (
        ("tiny", [3, 3, 9, 3], [96, 192, 384, 768]),
        ("small", [3, 3, 27, 3], [96, 192, 384, 768]),
        ("base", [3, 3, 27, 3], [128, 256, 512, 1024]),
        ("large", [3, 3, 27, 3], [192, 384, 768, 1536]),
    )
}
# width, depth, picture size, features; the blocks whose padding transformers leaves alone
_EFFICIENTNET = {
    "b0": (1.0, 1.0, 224, 1280, []),
    "b1": (1.0, 1.1, 240, 1280, [16]),
    "b2": (1.1, 1.2, 260, 1408, [5, 8, 16]),
    "b3": (1.2, 1.4, 300, 1536, [5, 18]),
    "b4": (1.4, 1.8, 380, 1792, [6]),
    "b5": (1.6, 2.2, 456, 2048, [13, 27]),
    "b6": (1.8, 2.6, 528, 2304, [31]),
    "b7": (2.0, 3.1, 600, 2560, [18]),
}
_VIT = re.compile(r"(?:vit|deit3?)_(tiny|small|base|large|huge)(?:_distilled)?_patch(\d+)_(\d+)")
_TORCHVISION_VIT = re.compile(r"vit_([blh])_(\d+)")
_SWIN = re.compile(r"swin_(tiny|small|base|large)_patch4_window(\d+)_(\d+)")
_TORCHVISION_SWIN = re.compile(r"swin_([tsb])")
_EFFICIENT = re.compile(r"(tf_)?efficientnet_(b[0-7])")
_LETTERS = {"t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}


def config_for(source: str, kind: str) -> Config | None:
    """The fields with which transformers' class `kind` computes what `source` does.

    `source` is "library/name"; None where the table does not have it.
    """
    library, _, name = source.partition("/")
    name = name.partition(".")[0]
    for family, table in {"ResNet": _RESNET, "RegNet": _REGNET, "ConvNext": _CONVNEXT}.items():
        if kind.startswith(family):
            return table.get(name)
    if kind.startswith(("ViT", "DeiT")):
        return _vit(library, name)
    if kind.startswith("Swin"):
        return _swin(library, name)
    if kind.startswith("EfficientNet"):
        return _efficientnet(library, name)
    return None


def _vit(library: str, name: str) -> Config | None:
    if library == "torchvision" and (match := _TORCHVISION_VIT.fullmatch(name)):
        size, patch, side = _LETTERS[match[1]], int(match[2]), 224
    elif match := _VIT.fullmatch(name):
        size, patch, side = match[1], int(match[2]), int(match[3])
    else:
        return None
    width, layers, heads, inner = _VIT_SIZES[size]
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "patch_size": patch,
        "image_size": side,
        "layer_norm_eps": 1e-6,
    }


def _swin(library: str, name: str) -> Config | None:
    if library == "torchvision" and (match := _TORCHVISION_SWIN.fullmatch(name)):
        size, window, side = _LETTERS[match[1]], 7, 224
    elif match := _SWIN.fullmatch(name):
        size, window, side = match[1], int(match[2]), int(match[3])
    else:
        return None
    width, depths, heads = _SWIN_SIZES[size]
    return {
        "embed_dim": width,
        "depths": depths,
        "num_heads": heads,
        "window_size": window,
        "image_size": side,
        "layer_norm_eps": 1e-5,
    }


def _efficientnet(library: str, name: str) -> Config | None:
    match = _EFFICIENT.fullmatch(name)
    if match is None:
        return None
    width, depth, side, features, padding = _EFFICIENTNET[match[2]]
    padded = match[1] or (library == "torchvision" and match[2] in ("b5", "b6", "b7"))
    return {
        "width_coefficient": width,
        "depth_coefficient": depth,
        "image_size": side,
        "hidden_dim": features,
        "depthwise_padding": padding,
        "batch_norm_eps": 1e-3 if padded else 1e-5,
    }
