"""One schema for how images, texts and sounds are prepared, and where each fact comes from."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ConfigError
from interop.facts import AudioPreprocessing, Evidence, Labels, Preprocessing, TextPreprocessing
from interop.identity import identify_file, metadata
from interop.identity.preprocessing import preprocessing
from interop.identity.user_facts import UserFacts
from interop.policy.policy import parse_policy

IMAGE = {"resize": [8, 8], "mean": [0.5] * 3, "std": [0.5] * 3}
AUDIO = {"kind": "audio", "sampling_rate": 16000}
HASH = "0" * 64


def parsed(value: Any) -> Any:
    return metadata.parse_preprocessing(value, "here", base=Path())


@pytest.mark.parametrize(
    ("value", "record"),
    [
        (IMAGE, Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)),
        ({**IMAGE, "kind": "image", "color": "BGR", "scale": 1, "antialias": False},
         Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, color="BGR", scale=1.0, antialias=False)),
        ({"tokenizer": HASH, "max_length": 5, "padding": "left", "lowercase": True},
         TextPreprocessing(HASH, 5, "left", True)),
        ({"kind": "text"}, TextPreprocessing()),
        ({"sampling_rate": 8000}, AudioPreprocessing(8000)),
        ({**AUDIO, "mono": False, "normalise": True, "window": [400, 160]},
         AudioPreprocessing(16000, False, True, (400, 160))),
    ],
)  # fmt: skip
def test_what_is_given_is_what_is_written(value: dict[str, Any], record: Any) -> None:
    found = parsed(value)
    assert found == record and found.evidence is Evidence.STATED
    written = metadata.preprocessing_json(found)
    assert written["kind"] == found.kind
    assert parsed(json.loads(json.dumps(written))) == found


def test_where_a_fact_comes_from_is_kept() -> None:
    found = parsed({**IMAGE, "evidence": "measured"})
    assert found.evidence is Evidence.MEASURED
    assert metadata.preprocessing_json(found)["evidence"] == "measured"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({**AUDIO, "kind": "smell"}, "unknown kind 'smell'"),
        ({**AUDIO, "resize": 3}, "unknown field 'resize'"),
        ({**AUDIO, "sampling_rate": "fast"}, "samples a second"),
        ({**AUDIO, "window": [400]}, "length, step"),
        ({**AUDIO, "mono": 1}, "true or false"),
        ({"kind": "audio"}, "has no sampling_rate"),
        ({"tokenizer": 3}, "path of a tokenizer"),
        ({"tokenizer": "no/such/file"}, "cannot be read"),
        ({"max_length": 0, "kind": "text"}, "above 0"),
        ({"padding": "up", "kind": "text"}, "left or right"),
        ({"lowercase": "yes", "kind": "text"}, "true or false"),
    ],
)
def test_what_means_nothing_ends_in_one_line(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parsed(value)


def test_a_file_may_give_a_hash_and_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not the sha256"):
        metadata.parse_preprocessing({"tokenizer": str(tmp_path / "tokenizer.json")}, "a file")


def test_the_path_of_a_tokenizer_is_hashed_from_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    digest = sha256(b"{}").hexdigest()
    (tmp_path / "how.json").write_text('{"tokenizer": "tokenizer.json"}')
    assert metadata.read_preprocessing(str(tmp_path / "how.json")) == TextPreprocessing(digest)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        given = json.dumps({"tokenizer": str(path)})
        assert metadata.read_preprocessing(given) == TextPreprocessing(digest)
    facts = {"facts": {"preprocess": {"kind": "text", "tokenizer": "./tokenizer.json"}}}
    assert parse_policy(facts, tmp_path / "interop.toml").preprocessing == TextPreprocessing(digest)


def test_a_bare_name_may_be_the_file_beside_the_model(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2, 2)}, tmp_path / "m.safetensors", {"format": "pt"})
    (tmp_path / "mine.json").write_text("{}")
    given = metadata.read_preprocessing('{"tokenizer": "mine.json"}')
    found = identify_file(tmp_path / "m.safetensors", UserFacts(preprocessing=given)).preprocessing
    assert found == TextPreprocessing(sha256(b"{}").hexdigest())
    with pytest.raises(ConfigError, match="no tokenizer"):
        other = metadata.read_preprocessing('{"tokenizer": "other.json"}')
        identify_file(tmp_path / "m.safetensors", UserFacts(preprocessing=other))


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_feature_extractors_are_read(name: str) -> None:
    stated = {"sampling_rate": 16000, "do_normalize": True, "n_fft": 400, "hop_length": 160}
    nested = {"feature_extractor": stated} if name.startswith("processor") else stated
    how, fault = preprocessing({name: nested})
    assert how == AudioPreprocessing(16000, True, True, (400, 160)) and not fault


def test_channels_may_be_turned_around_and_pixels_left_alone() -> None:
    plain = {"do_resize": True, "size": {"height": 8, "width": 8}, "resample": 2}
    how, _ = preprocessing({"preprocessor_config.json": {**plain, "do_flip_channel_order": True}})
    assert isinstance(how, Preprocessing) and how.color == "BGR" and how.mean == (0.0,) * 3
    still = {**plain, "do_rescale": False, "image_mean": [1] * 3, "image_std": [2] * 3}
    how, _ = preprocessing({"preprocessor_config.json": still})
    assert isinstance(how, Preprocessing) and how.scale == 1.0


def saved(path: Path, how: object) -> str:
    torch.save({"state_dict": {"fc.weight": torch.ones(2, 2)}, "preprocess": how}, path)
    return str(path)


@pytest.mark.parametrize(
    ("a", "b", "answer", "said"),
    [
        (AUDIO, AUDIO, "yes", ""),
        (AUDIO, {**AUDIO, "sampling_rate": 8000}, "no", "sampling_rate 16000 -> 8000"),
        (AUDIO, {**AUDIO, "window": [400, 160]}, "unknown", "window None -> (400, 160)"),
        (AUDIO, IMAGE, "no", "inputs were audio and are image"),
        (IMAGE, {**IMAGE, "scale": 1}, "no", "scale"),
        (IMAGE, {**IMAGE, "color": "BGR"}, "no", "color RGB -> BGR"),
        (IMAGE, {**IMAGE, "antialias": False}, "no", "antialias True -> False"),
        ({"tokenizer": HASH}, {"tokenizer": "1" * 64}, "no", "tokenizer"),
        ({"tokenizer": HASH}, {"tokenizer": HASH}, "yes", ""),
        ({"tokenizer": HASH}, {"kind": "text"}, "unknown", "tokenizer"),
    ],
)
def test_two_descriptions(a: object, b: object, answer: str, said: str, tmp_path: Path) -> None:
    sides = saved(tmp_path / "a.pth", a), saved(tmp_path / "b.pth", b)
    report = check(*sides, options=CheckOptions(intent="replace", labels=Labels(("x", "y"))))
    assert (str(report.outcome), said in report.summary) == (answer, True)


def test_two_places_that_disagree_state_nothing(tmp_path: Path) -> None:
    how = {"preprocess": IMAGE, "config.json": {"preprocess": {**IMAGE, "color": "BGR"}}}
    assert metadata.preprocessing(how)[0] is None
    assert "disagree" in metadata.preprocessing(how)[1]
    assert metadata.preprocessing({"preprocess": IMAGE, "config.json": {"preprocess": IMAGE}})[0]


def test_one_number_for_a_size_means_what_it_means_to_the_class() -> None:
    """ViT makes a square of it, CLIP the shorter side; of an unknown class nothing is said."""
    plain = {
        "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip

    def of(size: object, kind: str) -> object:
        stated = {**plain, "size": size, "image_processor_type": kind}
        return preprocessing({"preprocessor_config.json": stated})[0]

    square, edge = {"height": 32, "width": 32}, {"shortest_edge": 32}
    assert of(32, "ViTImageProcessor") == of(square, "ViTImageProcessor") != of(edge, "ViT")
    assert of(32, "CLIPImageProcessorFast") == of(edge, "CLIPImageProcessor")
    assert of(32, "SomebodysImageProcessor") is None


@pytest.mark.parametrize(
    ("name", "shape", "how", "fits"),
    [
        ("embed.patch.weight", (8, 3, 4, 4), {"kind": "text"}, False),
        ("embed.patch.weight", (8, 3, 4, 4), {"kind": "audio", "sampling_rate": 16000}, False),
        ("embed.patch.weight", (8, 3, 4, 4), IMAGE, True),
        ("embeddings.word_embeddings.weight", (50, 8), IMAGE, False),
        ("embeddings.word_embeddings.weight", (50, 8), {"kind": "text"}, True),
        ("embeddings.word_embeddings.weight", (50, 8), AUDIO, False),
    ],
)
def test_what_is_stated_of_another_kind_of_input_does_not_fit(tmp_path, name, shape, how, fits):
    save_file({name: torch.zeros(shape)}, tmp_path / "a.safetensors")
    path = str(tmp_path / "a.safetensors")
    report = check(
        path, path, CheckOptions(preprocessing=metadata.parse_preprocessing(how, "--preprocess"))
    )
    found = [f for f in report.findings if f.rule == "preprocessing-misfit"]
    assert (not found) == fits


@pytest.mark.parametrize("kind", [["image"], {"a": 1}, 3, None])
def test_a_kind_that_is_no_word_is_refused_in_one_line(kind):
    with pytest.raises(ConfigError, match="unknown kind"):
        metadata.parse_preprocessing({"kind": kind}, "--preprocess")
