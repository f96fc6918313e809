"""Metadata of a file -> the architecture's name, the labels and the preprocessing it states.

`KEYS` is the one table of what is read. A value that does not have the form it should have is
left alone: the fact is then unknown, never guessed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

from interop.errors import ConfigError
from interop.facts import (
    AnyPreprocessing,
    AudioPreprocessing,
    Evidence,
    Json,
    Labels,
    Preprocessing,
    TextPreprocessing,
)
from interop.identity import preprocessing as of_libraries
from interop.patterns import lazy
from interop.reading.bytes import json_text, location
from interop.records import dataclass

# Where people put such keys, besides the top level.
CONTAINERS = (
    "config.json", "hyper_parameters", "hparams", "args", "config", "cfg", "meta",
    "pretrained_cfg", "default_cfg", "dataset_meta", "_hparams", "data",
    # modules that were pickled whole, by their attributes
    "module", "model", "ema", "net", "network", "model_ema",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stated:
    """A fact that a file states, and the key that states it."""

    value: Any
    source: str


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _first_text(value: Json) -> str | None:
    """["BertForSequenceClassification"]"""
    return _text(value[0]) if isinstance(value, list) and len(value) == 1 else None


def _names(value: Json) -> tuple[str, ...] | None:
    """["cat", "dog"]"""
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    return None


def _name_of_index(value: Json) -> tuple[str, ...] | None:
    """{"0": "cat", "1": "dog"}, complete from 0 on"""
    if not isinstance(value, dict) or not value:
        return None
    try:
        by_index = {int(k): v for k, v in value.items()}
    except (TypeError, ValueError):
        return None
    if sorted(by_index) != list(range(len(by_index))):
        return None
    return _names([by_index[i] for i in range(len(by_index))])


def _index_of_name(value: Json) -> tuple[str, ...] | None:
    """{"cat": 0, "dog": 1}"""
    if not isinstance(value, dict) or not all(type(v) is int for v in value.values()):
        return None
    named = {i: n for n, i in value.items()}
    # Two names of one output: which is meant, nobody can tell.
    return _name_of_index(named) if value and len(named) == len(value) else None


def _either(value: Json) -> tuple[str, ...] | None:
    return _names(value) or _name_of_index(value) or _index_of_name(value)


def _labels(value: Json) -> tuple[str, ...] | None:
    """A list, either mapping, or the words "not applicable" (an empty tuple)"""
    return () if value == NOT_APPLICABLE else _either(value)


# What a file, or a person, says where a model has no labels by nature.
NOT_APPLICABLE = "not applicable"
# Under this key a bundle lists the facts ("architecture") that were assumed when it was made.
ASSUMED = "assumed"

KEYS: tuple[tuple[str, str, Callable[[Json], Any]], ...] = (
    # fact, key, the form it must have
    ("arch", "arch", _text),
    ("arch", "architecture", _text),
    ("arch", "model_name", _text),
    ("arch", "architectures", _first_text),
    ("labels", "labels", _labels),
    ("labels", "label_names", _names),
    ("labels", "classes", _either),
    ("labels", "CLASSES", _either),
    ("labels", "names", _either),
    ("labels", "class_names", _either),
    ("labels", "class_to_idx", _index_of_name),
    ("labels", "idx_to_class", _name_of_index),
    ("labels", "id2label", _name_of_index),
    ("labels", "label2id", _index_of_name),
    ("preprocess", "preprocess", lambda v: v),
    ("preprocess", "preprocessing", lambda v: v),
)


def architecture(metadata: Mapping[str, Json]) -> Stated | None:
    """The architecture that a file names, without the library in front.

    None for a bundle whose architecture was assumed: that its files name it proves nothing.
    """
    if is_assumed(metadata, "architecture"):
        return None
    statement = next(_stated(metadata, "arch"), None)
    return Stated(statement.value.rpartition("/")[2], statement.source) if statement else None


def is_assumed(metadata: Mapping[str, Json], fact: str) -> bool:
    """Whether a bundle says that one of its facts was assumed when it was made."""
    return any(fact in str(mapping.get(ASSUMED, "")) for _, mapping in _mappings(metadata))


def labels(metadata: Mapping[str, Json]) -> Labels:
    """The labels that a file names, in the order of the outputs.

    Unknown, with the reason as their source, where two keys disagree or a label stands twice.
    """
    config = metadata.get("config.json")
    if isinstance(config, Mapping) and config.get("problem_type") == "regression":
        # transformers' own word for it; the names beside it are placeholders.
        return Labels(None, "config.json key 'problem_type'", applicable=False)
    if not (stated := list(_stated(metadata, "labels"))):
        return Labels()
    first = stated[0]
    for other in stated[1:]:
        if other.value != first.value:
            return Labels(None, f"{first.source} and {other.source} disagree")
    if first.value == ():
        return Labels(None, first.source, applicable=False)
    if all(re.fullmatch(r"LABEL_\d+", name) for name in first.value):
        return Labels(None, f"{first.source} holds placeholders, {first.value[0]} and so on")
    if len(set(first.value)) != len(first.value):
        return Labels(None, f"{first.source} names a label twice")
    return Labels(first.value, first.source)


def vocabulary(metadata: Mapping[str, Json], outputs: int, own: Labels) -> Labels:
    """The labels with fastai's `vocab` counted in: names of a head's outputs, or a tokenizer's.

    Only one of as many strings as the head has outputs counts. Callers see to it that the outputs
    are not a vocabulary's scores.
    """
    if not outputs or (own.source and not own.known) or own.applicable is False:
        return own
    for where, mapping in _mappings(metadata):
        fitting = {v for v in _vocabs(mapping.get("vocab")) if len(v) == outputs}
        if len(fitting) != 1:
            continue
        (names,) = fitting
        source = f"{where}key 'vocab'"
        if len(set(names)) != len(names):
            return own if own.known else Labels(None, f"{source} names a label twice")
        if own.names is not None and own.names != names:
            return Labels(None, f"{own.source} and {source} disagree")
        return own if own.known else Labels(names, source)
    return own


def _vocabs(value: Json, deep: int = 3) -> Iterator[tuple[str, ...]]:
    """["cat", "dog"], {"items": …}, {"cat": 0, "dog": 1}, or a list of such, one for each target"""
    if isinstance(value, dict):
        if "items" in value and deep:
            yield from _vocabs(value["items"], deep - 1)
        elif names := _index_of_name(value):
            yield names
    elif isinstance(value, list):
        if names := _names(value):
            yield names
        elif deep:
            for one in value:
                yield from _vocabs(one, deep - 1)


def preprocessing(metadata: Mapping[str, Json]) -> tuple[AnyPreprocessing | None, str]:
    """The preprocessing that a file describes, or what is wrong with its description."""
    fault = silent = broken = ""
    stated: list[AnyPreprocessing] = []
    for statement in _stated(metadata, "preprocess"):
        try:
            stated.append(parse_preprocessing(statement.value, statement.source))
        except ConfigError as error:
            complaint = f"{statement.source}: {error.what}"
            if _is_object(statement.value):  # it may say the same as the config beside it
                silent = silent or complaint
            else:
                fault = fault or complaint
                broken = broken or (complaint if isinstance(statement.value, dict) else "")
    if stated and broken:  # one of two statements is wrong: which, nobody can tell
        return None, broken
    if stated:
        own = of_libraries.processor(metadata)
        return _agreed([*stated, own] if own else stated)
    if fault:
        return None, fault
    how, fault = of_libraries.preprocessing(metadata)
    return how, fault or ("" if how else silent)


def _agreed(stated: Sequence[AnyPreprocessing]) -> tuple[AnyPreprocessing | None, str]:
    """What several places of one model say alike; two that say different things say nothing."""
    first = stated[0]
    for other in stated[1:]:
        if other != first:
            return None, f"{first.source} and {other.source} disagree"
    return first, ""


def _stated(metadata: Mapping[str, Json], fact: str) -> Iterator[Stated]:
    for where, mapping in _mappings(metadata):
        for kind, key, form in KEYS:
            if kind != fact or key not in mapping:
                continue
            value = mapping[key]
            # Headers of safetensors and ONNX hold strings alone: JSON within them.
            if isinstance(value, str) and value[:1] in '[{"':
                try:
                    value = json.loads(value)
                except (ValueError, RecursionError):
                    if fact != "preprocess" and (value := _python(value)) is None:
                        continue
            if (read := form(value)) is not None:
                yield Stated(read, f"{where}key {key!r}")


def _python(text: str) -> Json:
    """The dict or list that a Python text writes ("{0: 'cat'}" in YOLO's graphs); None if none."""
    # A mapping of labels nests nothing; what nests deeply could overflow Python's own parser.
    if len(text) > 1 << 20 or text.count("[") + text.count("{") + text.count("-") > 1000:
        return None
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _mappings(
    metadata: Mapping[str, Json], front: str = "", deep: int = 2
) -> Iterator[tuple[str, Mapping[str, Json]]]:
    yield front, metadata
    for name in CONTAINERS if deep else ():
        if isinstance(inner := metadata.get(name), dict):
            yield from _mappings(inner, f"{front}{name} ", deep - 1)


# ---------------------------------------------------------------- what a person gives instead


def read_labels(given: str) -> Labels:
    """Labels from a file (one a line, or JSON), or from "cat,dog" on the command line.

    "none" states that the model has no labels by nature. Raises ConfigError.
    """
    if given.strip().lower() in ("none", NOT_APPLICABLE):
        return Labels(None, "--labels", applicable=False)
    path = Path(given)
    text = _read(path) if path.suffix or location.exists(given) else given
    if text.lstrip()[:1] in ("[", "{"):
        names = _either(_json(text, given))
    elif text is given:
        names = tuple(part.strip() for part in text.split(","))
    else:
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise ConfigError("holds no labels", where=given, fix="give one label a line, or JSON")
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ConfigError(f"names {twice!r} twice", where=given, fix="labels must differ")
    return Labels(names, "--labels")


def read_preprocessing(given: str) -> AnyPreprocessing:
    """Preprocessing from a JSON file, or JSON on the command line. Raises ConfigError."""
    inline = given.lstrip().startswith("{")
    text = given if inline else _read(Path(given))
    value = _json(text, given)
    if isinstance(value, dict):
        value = next((value[k] for k in ("preprocess", "preprocessing") if k in value), value)
    base = Path() if inline else Path(given).parent
    return parse_preprocessing(value, "--preprocess", where=given, base=base)


# The fields of each kind; those that must be there first.
_FIELDS = {
    "image": ("resize", "mean", "std", "color", "scale", "crop", "interpolation", "antialias"),
    "text": ("tokenizer", "max_length", "padding", "lowercase"),
    "audio": ("sampling_rate", "mono", "normalise", "window"),
}
_NEEDED = {"image": 3, "text": 0, "audio": 1}
_FIX = {
    "image": 'write {"resize": [224, 224], "mean": [...], "std": [...]}',
    "text": 'write {"kind": "text", "tokenizer": "tokenizer.json", "max_length": 512}',
    "audio": 'write {"kind": "audio", "sampling_rate": 16000}',
}
_MORE = ("kind", "evidence")
HASH = lazy(r"[0-9a-f]{64}")


def parse_preprocessing(
    value: Json, source: str, *, where: str = "", base: Path | None = None
) -> AnyPreprocessing:
    """Preprocessing from its JSON form: `kind` (image, text or audio) and that record's fields.

    Without a kind it is the one whose fields are given, an image otherwise. `base` is the folder
    from which the path of a tokenizer counts; without it, only its hash is taken. Raises
    ConfigError where a field is unknown, missing or of the wrong form.
    """
    refused = partial(ConfigError, where=where or source)
    if _is_object(value):
        what = f"is kept as {value[1:-1]}, not as plain numbers and words"
        raise refused(what, fix=_FIX["image"])
    if not isinstance(value, dict):
        raise refused("is no description of preprocessing", fix=_FIX["image"])
    kind = value.get("kind", _kind_of(value))
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise refused(f"unknown kind {kind!r}", fix=f"choose {', '.join(_FIELDS)}")
    for name, item in value.items():
        if _is_object(item):
            what = f"{name} is kept as {item[1:-1]}, not as plain numbers or words"
            raise refused(what, fix=_FIX[kind])
    known = (*_FIELDS[kind], *_MORE)
    if strange := sorted(set(value) - set(known)):
        raise refused(f"unknown field {strange[0]!r}", fix=f"known: {', '.join(known)}")
    if lacking := [name for name in _FIELDS[kind][: _NEEDED[kind]] if name not in value]:
        raise refused(f"has no {' and no '.join(lacking)}", fix=_FIX[kind])
    try:
        evidence = Evidence(value.get("evidence", Evidence.STATED))
        recipe, wrong = _READERS[kind](value, source, evidence, base)
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(f"cannot be read ({error})", fix=_FIX[kind]) from error
    if wrong:
        raise refused(wrong, fix=_FIX[kind])
    return recipe


def _kind_of(value: Mapping[str, Json]) -> str:
    if not any(name in value for name in _FIELDS["image"][: _NEEDED["image"]]):
        for kind in ("text", "audio"):
            if any(name in value for name in _FIELDS[kind]):
                return kind
    return "image"


def _image(
    value: Mapping[str, Json], source: str, evidence: Evidence, _base: Path | None
) -> tuple[Preprocessing, str]:
    resize, crop = value["resize"], value.get("crop")
    scale, antialias = value.get("scale", 1 / 255), value.get("antialias", True)
    how = Preprocessing(
        resize=tuple(int(v) for v in (resize if isinstance(resize, list) else [resize])),
        mean=tuple(float(v) for v in value["mean"]),
        std=tuple(float(v) for v in value["std"]),
        crop=None if crop is None else _pair(crop),
        color=value.get("color", "RGB"),
        interpolation=value.get("interpolation", "bilinear"),
        source=source,
        scale=float(scale),
        antialias=antialias,
        evidence=evidence,
    )
    channels = {"RGB": 3, "BGR": 3, "L": 1}.get(how.color)
    wrong = (
        (channels is None and f"color {how.color!r} is not one of RGB, BGR, L")
        or (len(how.resize) not in (1, 2) and "resize takes one or two numbers")
        or (how.interpolation not in ("nearest", "bilinear", "bicubic")
        and f"unknown interpolation {how.interpolation!r}")
        or ((len(how.mean) != channels or len(how.std) != channels)
        and f"mean and std need {channels} number(s) for {how.color}")
        or (0.0 in how.std and "std holds a zero")
        or (not all(map(isfinite, how.mean + how.std)) and "mean and std must be finite")
        or (not (isfinite(how.scale) and how.scale > 0) and "scale must be above 0")
        or (not isinstance(antialias, bool) and "antialias is true or false")
        or (min(how.resize + (how.crop or ())) < 1 and "sizes must be positive")
    )  # fmt: skip
    return how, wrong or ""


def _text_how(
    value: Mapping[str, Json], source: str, evidence: Evidence, base: Path | None
) -> tuple[TextPreprocessing, str]:
    tokenizer, length = value.get("tokenizer"), value.get("max_length")
    padding, lowercase = value.get("padding"), value.get("lowercase")
    wrong = (
        (tokenizer is not None and not isinstance(tokenizer, str)
        and "tokenizer is the path of a tokenizer, or its sha256")
        or (length is not None and not _is_count(length) and "max_length is a number above 0")
        or (padding not in (None, "left", "right") and "padding is left or right")
        or (not isinstance(lowercase, bool | None) and "lowercase is true or false")
    )  # fmt: skip
    if wrong:
        return TextPreprocessing(), wrong
    if tokenizer is not None and not HASH.fullmatch(tokenizer):
        if base is None:
            return TextPreprocessing(), "tokenizer is not the sha256 of a file"
        # A bare name that is not here may be that of a file beside the model.
        there = os.path.exists(base / tokenizer)  # noqa: PTH110 - a name may be too long for a file
        bare = Path(tokenizer).name == tokenizer and not there
        tokenizer = tokenizer if bare else _tokenizer_hash(base / tokenizer)
    return TextPreprocessing(tokenizer, length, padding, lowercase, source, evidence), ""


def _audio(
    value: Mapping[str, Json], source: str, evidence: Evidence, _base: Path | None
) -> tuple[AudioPreprocessing, str]:
    rate, mono = value["sampling_rate"], value.get("mono", True)
    normalise, window = value.get("normalise"), value.get("window")
    pair = window if isinstance(window, list) and len(window) == 2 else None
    pair = pair if pair and all(map(_is_count, pair)) else None
    wrong = (
        (not _is_count(rate) and "sampling_rate is a number of samples a second")
        or (not isinstance(mono, bool) and "mono is true or false")
        or (not isinstance(normalise, bool | None) and "normalise is true or false")
        or (window is not None and pair is None and "window is [length, step], in samples")
    )
    if wrong:
        return AudioPreprocessing(0), wrong
    span = (pair[0], pair[1]) if pair else None
    return AudioPreprocessing(rate, mono, normalise, span, source, evidence), ""


_Reader = Callable[[Mapping[str, Json], str, Evidence, Path | None], tuple[AnyPreprocessing, str]]
_READERS: Mapping[str, _Reader] = {"image": _image, "text": _text_how, "audio": _audio}


def _is_count(value: Json) -> bool:
    return type(value) is int and value > 0


def _tokenizer_hash(path: Path) -> str:
    """The hash of a tokenizer's file, or of the one in a folder. Raises ConfigError."""
    from hashlib import sha256

    place = path / "tokenizer.json" if location.is_folder(str(path)) else path
    try:
        with place.open("rb") as file:
            digest = sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        fix = "give the path of a tokenizer.json or of its folder, or its sha256"
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot be read ({why})", where=str(place), fix=fix) from None
    return digest.hexdigest()


def _is_object(value: Json) -> bool:
    """What the reader of pickles leaves in place of an object."""
    return isinstance(value, str) and value[:1] == "<" and value[-1:] == ">"


def preprocessing_json(given: AnyPreprocessing) -> dict[str, Json]:
    """The JSON form that `parse_preprocessing` reads: what a checkpoint or config holds."""
    if isinstance(given, Preprocessing):
        stated = _image_json(given)
    elif isinstance(given, TextPreprocessing):
        fields = ("tokenizer", "max_length", "padding", "lowercase")
        stated = {k: v for k in fields if (v := getattr(given, k)) is not None}
    else:
        stated = {"sampling_rate": given.sampling_rate, "mono": given.mono}
        stated |= {} if given.normalise is None else {"normalise": given.normalise}
        stated |= {} if given.window is None else {"window": list(given.window)}
    assumed = {} if given.evidence is Evidence.STATED else {"evidence": str(given.evidence)}
    return {"kind": given.kind, **stated, **assumed}


def _image_json(given: Preprocessing) -> dict[str, Json]:
    return {
        "color": given.color,
        "resize": list(given.resize),
        "interpolation": given.interpolation,
        "mean": list(given.mean),
        "std": list(given.std),
        **({"crop": list(given.crop)} if given.crop else {}),
        **({"scale": given.scale} if given.scale != 1 / 255 else {}),
        **({} if given.antialias else {"antialias": False}),
    }


def _pair(value: Json) -> tuple[int, int]:
    height, width = value if isinstance(value, list) else (value, value)
    return int(height), int(width)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no text, or a path with a zero byte
        reason = error.strerror if isinstance(error, OSError) else "not text"
        what = f"cannot be read ({reason})"
        raise ConfigError(what, where=str(path), fix="give a file") from None


def _json(text: str, where: str) -> Json:
    try:
        return json_text.loads(text)
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=where, fix="mend it") from None
