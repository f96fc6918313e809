"""Sounds become what the extractor makes of them; padding never changes an answer."""

import json

import numpy as np
import pytest

from fixtures.speech import SPEECH
from interop.data.audio_features import Waves, resampled
from interop.data.base import Record, Sound
from interop.errors import ConfigError, DataError

FOLDER = SPEECH / "model"


def a_record(seconds=0.5, rate=8000, pitch=440.0):
    t = np.arange(int(seconds * rate)) / rate
    return Record("a", "", Sound(np.sin(2 * np.pi * pitch * t).astype(np.float32), rate), None)


def an_extractor(folder, **fields):
    given = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
        "sampling_rate": 16000, "padding_value": 0.0, "do_normalize": True,
        "return_attention_mask": True, **fields,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(given))
    return folder


def test_a_model_without_a_mask_hears_one_at_a_time():
    prepare = Waves(FOLDER, ["input_values"])
    assert (prepare.most, prepare.rate, prepare.tokenizer) == (1, 8000, None)
    made = prepare([a_record(0.5, 16000)])
    heard = made.inputs["input_values"]
    assert (heard.shape, heard.dtype) == ((1, 4000), np.float32)
    assert abs(heard.mean()) < 1e-3 and abs(heard.std() - 1) < 1e-3
    assert made.about == ({"samples": 4000},)


def test_with_a_mask_sounds_are_padded_to_the_longest(tmp_path):
    prepare = Waves(an_extractor(tmp_path), ["input_values", "attention_mask"])
    assert prepare.most is None
    made = prepare([a_record(0.1), a_record(0.25)])
    assert made.inputs["input_values"].shape == (2, 4000)
    assert made.inputs["attention_mask"].dtype == np.int64
    assert made.inputs["attention_mask"].sum(1).tolist() == [1600, 4000]
    assert not made.inputs["input_values"][0, 1600:].any()
    # The extractor could give a mask, and the model does not take it.
    assert Waves(tmp_path, ["input_values"]).most == 1


def test_features_of_one_size_need_no_mask(tmp_path):
    kind = "WhisperFeatureExtractor"
    an_extractor(tmp_path, feature_extractor_type=kind, feature_size=80, hop_length=160,
                 n_fft=400, chunk_length=2, return_attention_mask=False)  # fmt: skip
    prepare = Waves(tmp_path, ["input_features"])
    assert prepare.most is None
    assert prepare([a_record(0.3), a_record(1.1)]).inputs["input_features"].shape == (2, 80, 200)


def test_another_rate_keeps_the_pitch():
    sound = a_record(1.0, 44100, 1000.0).raw
    heard = resampled(sound, 16000)
    assert heard.shape == (16000,) and heard.dtype == np.float32
    assert np.abs(np.fft.rfft(heard)).argmax() == 1000
    assert resampled(sound, 44100) is sound.samples


def test_a_model_that_writes_has_its_tokenizer(tmp_path):
    letters = {c: i for i, c in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"])}
    (tmp_path / "vocab.json").write_text(json.dumps(letters))
    given = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(given))
    prepare = Waves(an_extractor(tmp_path), ["input_values"])
    assert prepare.tokenizer.decode([5, 5, 0, 5, 4, 6]) == "AA B"
    assert prepare.blank == 0 and prepare.decode([5, 5, 4, 6]) == "AA B"


def test_what_the_extractor_does_not_give_is_said(tmp_path):
    with pytest.raises(
        ConfigError, match="takes 'input_features', and its feature extractor gives"
    ):
        Waves(FOLDER, ["input_features"])
    with pytest.raises(DataError, match="is a str, and the model takes sounds"):
        Waves(FOLDER, ["input_values"])([Record("a", "", "text", None)])
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match="transformers cannot read") as error:
        Waves(tmp_path, ["input_values"])
    assert error.value.rule == "preprocessing-unknown"
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "ViTFeatureExtractor", "image_mean": [0.5]})
    )
    with pytest.raises(ConfigError):
        Waves(tmp_path, ["input_values"])
