"""How timm and transformers describe a model's preprocessing -> the same as facts' records of it.

Only what is understood to the last field is taken over; anything else is a fault with its reason,
since preprocessing that is nearly right costs accuracy and shows nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import floor, isfinite

from interop.facts import AnyPreprocessing, AudioPreprocessing, Json, Preprocessing

Reader = Callable[[Mapping[str, Json], str], AnyPreprocessing]
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
# Pillow's numbers for its filters, as transformers stores them.
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
# What one number for a size means, by the front of the processor's class: both sides, the shorter.
_BOTH_SIDES = ("ViT", "DeiT", "Beit", "DPT", "EfficientNet", "Pvt", "Segformer", "Blip")
_SHORTER = ("CLIP", "ChineseCLIP", "ConvNext", "Bit", "Levit", "PoolFormer", "MobileNetV1",
            "MobileNetV2", "MobileViT")  # fmt: skip
_SQUARE_FROM = 384  # ConvNeXt's processor stretches from this size on, instead of cropping


class NotUnderstood(Exception):
    """The description means something that `Preprocessing` cannot say, or does not say enough."""


def preprocessing(metadata: Mapping[str, Json]) -> tuple[AnyPreprocessing | None, str]:
    """The preprocessing that the files beside the weights describe, or why it is not understood.

    (None, "") where they describe none.
    """
    fault = ""
    for source, settings, read in _places(metadata):
        try:
            return read(settings, source), ""
        except NotUnderstood as error:
            fault = fault or f"{source}: {error}"
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            fault = fault or f"{source}: {type(error).__name__} ({error})"
    return None, fault


def _within_processor(settings: Json) -> Iterator[tuple[str, Mapping[str, Json], Reader]]:
    """What a processor made of several holds, where one of them alone prepares the inputs."""
    parts = [
        (inner, read)
        for key, read in (
            ("image_processor", from_transformers),
            ("feature_extractor", from_feature_extractor),
            ("video_processor", _of_video),
        )
        if isinstance(settings, dict) and isinstance(inner := settings.get(key), dict)
    ]
    if len(parts) == 1:
        yield PROCESSOR, *parts[0]


def _of_video(_config: Mapping[str, Json], _source: str) -> AnyPreprocessing:
    raise NotUnderstood("it prepares videos")


def processor(metadata: Mapping[str, Json]) -> Preprocessing | None:
    """What an image processor beside the weights says; None where it is not understood."""
    recipe, _ = preprocessing({k: v for k, v in metadata.items() if k == PREPROCESSOR})
    return recipe if isinstance(recipe, Preprocessing) else None


def _places(metadata: Mapping[str, Json]) -> Iterator[tuple[str, Mapping[str, Json], Reader]]:
    if isinstance(settings := metadata.get(PREPROCESSOR), dict):
        if "sampling_rate" in settings:
            yield PREPROCESSOR, settings, from_feature_extractor
        elif "image_mean" in settings or "do_resize" in settings:
            yield PREPROCESSOR, settings, from_transformers
    yield from _within_processor(metadata.get(PROCESSOR))
    for name, holder in (("", metadata), ("config.json ", metadata.get("config.json"))):
        if not isinstance(holder, Mapping):
            continue
        # timm wrote these fields at the top level before they had a name of their own.
        for key in ("pretrained_cfg", "default_cfg"):
            if isinstance(settings := holder.get(key), dict) and "input_size" in settings:
                yield f"{name}key {key!r}", settings, from_timm
        if {"input_size", "crop_pct", "mean", "std"} <= holder.keys():
            yield name.strip() or "its metadata", holder, from_timm


def from_transformers(config: Mapping[str, Json], source: str) -> Preprocessing:
    """An image processor's config (transformers' preprocessor_config.json).

    Raises NotUnderstood; KeyError, TypeError or ValueError for fields of another form.
    """
    if config.get("do_resize") is not True:
        raise NotUnderstood("it does not say that it resizes")
    if config.get("do_pad") or config.get("rescale_offset"):
        raise NotUnderstood("it pads pictures, or shifts their values")
    if config["resample"] not in _RESAMPLE:
        raise NotUnderstood(f"its resampling filter is number {config['resample']}")
    resize, crop = _sizes(config)
    flipped = config.get("do_flip_channel_order") is True
    plain = config.get("do_normalize", not flipped) is not True
    if flipped and not plain:
        raise NotUnderstood("it subtracts a mean and turns the order of the channels around")
    mean, std = ([0.0] * 3, [1.0] * 3) if plain else (config["image_mean"], config["image_std"])
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=_three(mean),
        std=_three(std),
        color="BGR" if flipped else "RGB",
        interpolation=_RESAMPLE[config["resample"]],
        scale=_scale(config),
        source=source,
    )


def _scale(config: Mapping[str, Json]) -> float:
    """What pixels of 0 to 255 are multiplied by."""
    if config.get("do_rescale", True) is not True:
        return 1.0
    factor = float(config.get("rescale_factor", 1 / 255))
    if not isfinite(factor) or factor <= 0:
        raise NotUnderstood(f"its rescale_factor is {factor}")
    return 1 / 255 if abs(factor * 255 - 1) < 1e-6 else factor


def from_feature_extractor(config: Mapping[str, Json], source: str) -> AudioPreprocessing:
    """A feature extractor's config (transformers' preprocessor_config.json of a speech model).

    Raises TypeError or ValueError for fields of another form.
    """
    length, hop = config.get("win_length") or config.get("n_fft"), config.get("hop_length")
    normalise = config.get("do_normalize")
    return AudioPreprocessing(
        sampling_rate=int(config["sampling_rate"]),
        normalise=normalise if isinstance(normalise, bool) else None,
        window=(int(length), int(hop)) if length and hop else None,
        source=source,
    )


def _sizes(config: Mapping[str, Json]) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    """What is resized to, and what is cropped."""
    size = config["size"]
    if not isinstance(size, dict):
        size = _by_class(int(size), config)
    crop = None
    if config.get("do_center_crop"):
        given = config["crop_size"]
        crop = (given["height"], given["width"]) if isinstance(given, dict) else (given, given)
    if size.keys() == {"height", "width"}:
        return (size["height"], size["width"]), crop
    if size.keys() != {"shortest_edge"}:
        raise NotUnderstood(f"its size is given by {', '.join(size)}")
    edge = int(size["shortest_edge"])
    if (part := config.get("crop_pct")) is not None:
        if edge >= _SQUARE_FROM:
            return (edge, edge), None
        return (int(edge / part),), (edge, edge)
    return (edge,), crop


def _by_class(size: int, config: Mapping[str, Json]) -> dict[str, int]:
    """What one number for a size means to the class that a config names."""
    named = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    front = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", named)
    if front in _BOTH_SIDES:
        return {"height": size, "width": size}
    if front in _SHORTER:
        return {"shortest_edge": size}
    raise NotUnderstood("its size is one number, which means another thing to each class")


def from_timm(config: Mapping[str, Json], source: str) -> Preprocessing:
    """A timm model's pretrained_cfg; its evaluation transform as timm.data makes it.

    Raises NotUnderstood; KeyError, TypeError or ValueError for fields of another form.
    """
    channels, height, width = config["input_size"]
    if channels != 3 or config["interpolation"] not in _RESAMPLE.values():
        raise NotUnderstood(f"{channels} channels, {config['interpolation']} interpolation")
    mode = config.get("crop_mode") or "center"
    part = float(config.get("crop_pct") or 0.875)
    scaled = floor(height / part), floor(width / part)
    if mode == "center" and height == width:
        resize: tuple[int, ...] = scaled[:1]
    elif mode == "squash":
        resize = scaled
    else:
        raise NotUnderstood(f"crop mode {mode!r} of {height}x{width}")
    return Preprocessing(
        resize=resize,
        crop=(height, width),
        mean=_three(config["mean"]),
        std=_three(config["std"]),
        interpolation=config["interpolation"],
        source=source,
    )


def _three(numbers: Json) -> tuple[float, ...]:
    values = tuple(float(n) for n in numbers)
    if len(values) != 3:
        raise NotUnderstood(f"{len(values)} means or deviations for three channels")
    return values
