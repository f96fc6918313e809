"""timm's and transformers' descriptions of preprocessing, against what these libraries wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interop.facts import Preprocessing
from interop.identity import identify_file
from interop.identity.preprocessing import preprocessing

BENIGN = Path(__file__).resolve().parents[2] / "fixtures" / "files" / "benign"
HALF = (0.5, 0.5, 0.5)


def test_folders_that_transformers_and_timm_saved() -> None:
    found = identify_file(BENIGN / "transformers")
    assert found.preprocessing == Preprocessing((8, 8), HALF, HALF)
    assert found.labels.names == ("cat", "dog", "eel")
    found = identify_file(BENIGN / "timm-folder")
    assert found.preprocessing == Preprocessing((8,), HALF, HALF, (8, 8), interpolation="bicubic")
    assert found.labels.names == ("cat", "dog", "eel")


def test_placeholders_are_no_labels() -> None:
    found = identify_file(BENIGN / "trainer").labels
    assert found.names is None and not found.known and "placeholders" in found.source


# What CLIPImageProcessor and ConvNextImageProcessor save.
CLIP = {
    "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28],
    "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
}  # fmt: skip
CONVNEXT = {**CLIP, "do_center_crop": None, "crop_pct": 0.875, "resample": 2}
TIMM = {
    "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "mean": list(HALF),
    "std": list(HALF), "crop_mode": "center",
}  # fmt: skip


def _hf(**changed: Any) -> tuple[Preprocessing | None, str]:
    return preprocessing({"preprocessor_config.json": {**CLIP, **changed}})


def test_crops() -> None:
    how, fault = _hf()
    assert not fault and how is not None
    assert (how.resize, how.crop, how.interpolation) == ((224,), (224, 224), "bicubic")
    how, _ = preprocessing({"preprocessor_config.json": CONVNEXT})
    assert how is not None and (how.resize, how.crop) == ((256,), (224, 224))
    large = {**CONVNEXT, "size": {"shortest_edge": 384}}
    how, _ = preprocessing({"preprocessor_config.json": large})
    assert how is not None and (how.resize, how.crop) == ((384, 384), None)
    how, _ = preprocessing({"config.json": {"pretrained_cfg": TIMM}})
    assert how is not None and (how.resize, how.crop) == ((248,), (224, 224))
    how, _ = preprocessing({"pretrained_cfg": {**TIMM, "crop_mode": "squash"}})
    assert how is not None and (how.resize, how.crop) == ((248, 248), (224, 224))


@pytest.mark.parametrize(
    "changed",
    [
        {"do_resize": False},
        {"rescale_factor": 0},
        {"do_flip_channel_order": True},
        {"do_pad": True},
        {"resample": 1},
        {"size": 224},
        {"size": {"longest_edge": 1333, "shortest_edge": 800}},
        {"image_std": [1.0]},
        {"crop_size": {"height": 224}},
        {"size": {"shortest_edge": "large"}},
    ],
)
def test_what_is_not_understood_is_unknown_with_its_reason(changed: dict[str, Any]) -> None:
    how, fault = _hf(**changed)
    assert how is None and fault.startswith("preprocessor_config.json: ")


@pytest.mark.parametrize(
    "changed", [{"crop_mode": "border"}, {"interpolation": "random"}, {"input_size": [1, 8, 8]}]
)
def test_what_timm_says_and_we_cannot(changed: dict[str, Any]) -> None:
    how, fault = preprocessing({"pretrained_cfg": {**TIMM, **changed}})
    assert how is None and fault


def test_silence_is_no_fault() -> None:
    assert preprocessing({"config.json": {"model_type": "vit"}}) == (None, "")
