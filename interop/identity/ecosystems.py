"""How timm and transformers describe a model's preprocessing -> the same as `facts.Preprocessing`.

Only what is understood to the last field is taken over; anything else is a fault with its reason,
since preprocessing that is nearly right costs accuracy and shows nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import floor

from interop.facts import Json, Preprocessing

Reader = Callable[[Mapping[str, Json], str], Preprocessing]
PREPROCESSOR = "preprocessor_config.json"
# Pillow's numbers for its filters, as transformers stores them.
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_SQUARE_FROM = 384  # ConvNeXt's processor stretches from this size on, instead of cropping


class NotUnderstood(Exception):
    """The description means something that `Preprocessing` cannot say, or does not say enough."""


def preprocessing(metadata: Mapping[str, Json]) -> tuple[Preprocessing | None, str]:
    """The preprocessing that the files beside the weights describe, or why it is not understood.

    (None, "") where they describe none.
    """
    fault = ""
    for source, found, read in _places(metadata):
        try:
            return read(found, source), ""
        except NotUnderstood as error:
            fault = fault or f"{source}: {error}"
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            fault = fault or f"{source}: {type(error).__name__} ({error})"
    return None, fault


def _places(metadata: Mapping[str, Json]) -> Iterator[tuple[str, Mapping[str, Json], Reader]]:
    if isinstance(found := metadata.get(PREPROCESSOR), dict) and "image_mean" in found:
        yield PREPROCESSOR, found, from_transformers
    for name, holder in (("", metadata), ("config.json ", metadata.get("config.json"))):
        if not isinstance(holder, Mapping):
            continue
        # timm wrote these fields at the top level before they had a name of their own.
        for key in ("pretrained_cfg", "default_cfg"):
            if isinstance(found := holder.get(key), dict) and "input_size" in found:
                yield f"{name}key {key!r}", found, from_timm
        if {"input_size", "crop_pct", "mean", "std"} <= holder.keys():
            yield name.strip() or "its metadata", holder, from_timm


def from_transformers(config: Mapping[str, Json], source: str) -> Preprocessing:
    """An image processor's config (transformers' preprocessor_config.json).

    Raises NotUnderstood; KeyError, TypeError or ValueError for fields of another form.
    """
    if config.get("do_resize") is not True:
        raise NotUnderstood("it does not say that it resizes")
    if config.get("do_rescale", True) is not True or not _is_255th(config):
        raise NotUnderstood("it does not scale pixels to 0..1")
    if config.get("do_pad") or config.get("rescale_offset"):
        raise NotUnderstood("it pads pictures, or shifts their values")
    if config["resample"] not in _RESAMPLE:
        raise NotUnderstood(f"its resampling filter is number {config['resample']}")
    resize, crop = _sizes(config)
    plain = config.get("do_normalize", True) is not True
    mean, std = ([0.0] * 3, [1.0] * 3) if plain else (config["image_mean"], config["image_std"])
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=_three(mean),
        std=_three(std),
        interpolation=_RESAMPLE[config["resample"]],
        source=source,
    )


def _is_255th(config: Mapping[str, Json]) -> bool:
    return abs(float(config.get("rescale_factor", 1 / 255)) * 255 - 1) < 1e-6


def _sizes(config: Mapping[str, Json]) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    """What is resized to, and what is cropped."""
    size = config["size"]
    if not isinstance(size, dict):
        raise NotUnderstood("its size is one number, which means another thing to each class")
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
    found = tuple(float(n) for n in numbers)
    if len(found) != 3:
        raise NotUnderstood(f"{len(found)} means or deviations for three channels")
    return found
