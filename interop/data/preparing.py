"""What a model's files say of its inputs -> the preparation that turns records into them.

Pictures follow `Identity.preprocessing`; texts and sounds the tokenizer or feature extractor that
lies in the model's own folder. What is made is numpy, the same bytes for every runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from interop.data import pictures
from interop.data.base import Array, Preparation, Prepared, Record, Sound
from interop.errors import ConfigError, DataError
from interop.facts import Identity, Preprocessing, TaskName

_OF_TEXTS = (
    TaskName.TEXT_CLASSIFICATION, TaskName.TOKEN_CLASSIFICATION,
    TaskName.QUESTION_ANSWERING, TaskName.TEXT_GENERATION,
)  # fmt: skip
_OF_SOUNDS = (TaskName.SPEECH_RECOGNITION, TaskName.AUDIO_CLASSIFICATION)
_OF_PICTURES = (
    TaskName.IMAGE_CLASSIFICATION,
    TaskName.IMAGE_SEGMENTATION,
    TaskName.OBJECT_DETECTION,
)
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
_EXTRACTOR = ("preprocessor_config.json", "processor_config.json")


def preparation(
    identity: Identity,
    task: str,
    input_names: Sequence[str],
    *,
    folder: str | Path | None = None,
    kind: str = "",
) -> Preparation:
    """How the model's inputs are made of a task's records, as its own files say.

    `input_names` are the inputs that the model takes; only they are given. `folder` is where the
    tokenizer or feature extractor lies (the model's own folder, or the file's, where None). `kind`
    is the data set's (`Data.kind`): "arrays" go in as they are, and regression needs it where the
    files do not tell. Raises ConfigError (preprocessing-unknown where nothing tells how inputs are
    prepared) and ExtraMissing.
    """
    names = tuple(input_names)
    place = _place(identity, folder)
    kind = kind or _kind(identity, task, place)
    if kind == "arrays":
        return AsTheyAre(names)
    if kind == "texts":
        from interop.data.tokens import Tokens

        _need(place, _TOKENIZER, "texts become tokens", "its tokenizer")
        return Tokens(place, task, names)
    if kind == "sounds":
        from interop.data.audio_features import Waves

        _need(place, _EXTRACTOR, "sounds are prepared", "preprocessor_config.json")
        return Waves(place, names)
    if identity.image_preprocessing is not None:
        return Pictures(identity.image_preprocessing, names)
    if task == TaskName.OBJECT_DETECTION:
        return AnySize(names)
    fault = identity.preprocessing_fault
    raise ConfigError(
        "no file says how pictures are prepared" + (f" ({fault})" if fault else ""),
        where=identity.manifest.path,
        fix="give a file with --preprocess",
        rule="preprocessing-unknown",
    )


def _place(identity: Identity, folder: str | Path | None) -> Path:
    if folder is not None:
        return Path(folder)
    path = Path(identity.manifest.path)
    return path if path.is_dir() else path.parent


def _kind(identity: Identity, task: str, place: Path) -> str:
    if task in _OF_TEXTS:
        return "texts"
    if task in _OF_SOUNDS:
        return "sounds"
    if task in _OF_PICTURES or identity.image_preprocessing is not None:
        return "pictures"
    if any((place / name).is_file() for name in _TOKENIZER):
        return "texts"
    return "sounds" if any((place / name).is_file() for name in _EXTRACTOR) else "pictures"


def _need(place: Path, names: Sequence[str], what: str, lacking: str) -> None:
    if not any((place / name).is_file() for name in names):
        fix = f"put {lacking} beside the model, as save_pretrained writes it"
        raise ConfigError(
            f"no file says how {what}", where=str(place), fix=fix, rule="preprocessing-unknown"
        )


class Pictures(Preparation):
    """Pictures by `facts.Preprocessing`: float32 (n, channels, height, width).

    Where it leaves the shape to the picture, one goes at a time. `about` has each picture's "size"
    as it was stored and "scaled", its size as it is fed, both (height, width).
    """

    def __init__(self, how: Preprocessing, names: Sequence[str]) -> None:
        pictures.check(how)
        self.how, self.name = how, _only(names)
        self.most = 1 if how.size is None else None
        self.said = {
            "by": how.source or "preprocessing", "color": how.color, "resize": list(how.resize),
            "crop": list(how.crop) if how.crop else None, "interpolation": how.interpolation,
            "mean": list(how.mean), "std": list(how.std), "scale": how.scale,
        }  # fmt: skip

    def __call__(self, records: Sequence[Record]) -> Prepared:
        images = [_picture(r) for r in records]
        arrays = [pictures.prepare(p, self.how) for p in images]
        return _pictures(self.name, arrays, images, records)


class AnySize(Preparation):
    """Pictures for a detector that resizes by itself, as torchvision's do: float32 RGB of
    (1, 3, height, width) between 0 and 1, one at a time. `about` as of Pictures.
    """

    most = 1
    said = {"by": "the detector itself", "color": "RGB", "mean": [0.0], "std": [1.0]}

    def __init__(self, names: Sequence[str]) -> None:
        self.name = _only(names)

    def __call__(self, records: Sequence[Record]) -> Prepared:
        images = [_picture(r) for r in records]
        return _pictures(self.name, [_between_0_and_1(p) for p in images], images, records)


class AsTheyAre(Preparation):
    """Arrays of an .npz file: each input's rows together, nothing done to them."""

    said = {"by": "whoever made the arrays"}

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __call__(self, records: Sequence[Record]) -> Prepared:
        inputs = {name: np.stack([self._array(r, name) for r in records]) for name in self.names}
        return Prepared(inputs, tuple(records), tuple(range(len(records))))

    def _array(self, record: Record, name: str) -> Array:
        raw = record.raw
        if not isinstance(raw, Mapping):
            raise DataError("is no array", where=record.name, fix="give an .npz file")
        if name in raw:
            return np.asarray(raw[name])
        # One array for one input needs no name.
        if len(raw) == len(self.names) == 1:
            return np.asarray(next(iter(raw.values())))
        what = f"has no array {name!r}, only {', '.join(map(repr, raw))}"
        fix = "save an array for each input, by the input's name"
        raise DataError(what, where=record.name, fix=fix)


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        what = f"the model takes {len(names)} inputs ({', '.join(names)}), and a picture is one"
        raise ConfigError(what, fix="give an .npz file with an array for each input")
    return names[0]


def _picture(record: Record) -> Image.Image:
    if not isinstance(record.raw, Image.Image):
        what = (
            f"is a {'sound' if isinstance(record.raw, Sound) else type(record.raw).__name__}, "
            "and the model takes pictures"
        )
        raise DataError(what, where=record.name, fix="give a data set of pictures")
    return record.raw


def _between_0_and_1(picture: Image.Image) -> Array:
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels / np.float32(255))


def _pictures(
    name: str, arrays: Sequence[Array], images: Sequence[Image.Image], records: Sequence[Record]
) -> Prepared:
    for array, record in zip(arrays, records, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"becomes {array.shape} where {records[0].name} becomes {arrays[0].shape}: one "
                "batch needs one shape",
                where=record.name,
                fix="add a crop to the preprocessing, or take one picture at a time",
            )
    about = tuple(
        {"size": (p.height, p.width), "scaled": array.shape[-2:]}
        for p, array in zip(images, arrays, strict=True)
    )
    return Prepared({name: np.stack(arrays)}, tuple(records), tuple(range(len(records))), about)
