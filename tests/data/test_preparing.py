"""What prepares a model's inputs is in its own files, and where it is not that is loud."""

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures import speech, text
from fixtures.make import DIGITS, HOW, LABELS
from interop.data import Folder, open_data, preparation
from interop.data.base import Record
from interop.errors import ConfigError, DataError
from interop.facts import Identity, Manifest, Preprocessing


def model(path="model.pth", how=None, fault=""):
    manifest = Manifest(str(path), str(path), "pytorch", 0, "", ())
    return Identity(manifest, "", "", (), preprocessing=how, preprocessing_fault=fault)


def a_record(raw):
    return Record("a", "", raw, None)


def test_pictures_are_what_the_folder_makes_of_them():
    data = open_data(DIGITS / "heldout", "image-classification", LABELS)
    prepare = preparation(model(how=HOW), "image-classification", ["input"])
    batches = list(prepare.batches(data, 64))
    old = list(Folder(DIGITS / "heldout", LABELS).batches(HOW, 64))
    assert len(batches) == len(old) == 5
    for new, was in zip(batches, old, strict=True):
        assert np.array_equal(new.inputs["input"], was.pictures)
        assert [r.truth for r in new.records] == was.labels.tolist()
        assert tuple(r.sha256 for r in new.records) == was.hashes
    assert batches[0].rows == tuple(range(64))
    assert batches[0].about[0]["size"] == (8, 8)
    assert prepare.said["resize"] == [64, 64]


def test_pictures_of_their_own_shape_go_one_at_a_time():
    follows = Preprocessing(resize=(4,), mean=(0.0,), std=(1.0,))
    prepare = preparation(model(how=follows), "image-segmentation", ["x"])
    assert prepare.most == 1
    wide, high = (a_record(Image.new("RGB", s)) for s in ((16, 8), (8, 16)))
    assert prepare([wide]).inputs["x"].shape == (1, 3, 4, 8)
    with pytest.raises(DataError, match="one batch needs one shape"):
        prepare([wide, high])


def test_a_detector_is_given_the_picture_as_it_is():
    prepare = preparation(model(), "object-detection", ["images"])
    made = prepare([a_record(Image.new("L", (5, 4), 51))])
    assert (prepare.most, made.about) == (1, ({"size": (4, 5), "scaled": (4, 5)},))
    assert made.inputs["images"].shape == (1, 3, 4, 5)
    assert np.unique(made.inputs["images"]).tolist() == [np.float32(0.2)]


def test_arrays_go_in_as_they_are(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(6).reshape(3, 2), b=np.ones((3, 1)), labels=[0, 1, 0])
    data = open_data(tmp_path / "x.npz", "regression", None)
    (made,) = preparation(model(), "regression", ["b", "a"], kind=data.kind).batches(data, 8)
    assert list(made.inputs) == ["b", "a"]
    assert made.inputs["a"].tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(DataError, match="has no array 'c', only 'a', 'b'"):
        list(preparation(model(), "regression", ["c"], kind=data.kind).batches(data, 8))


@pytest.mark.parametrize(
    "task", ["image-classification", "text-classification", "audio-classification", "regression"]
)
def test_where_nothing_tells_it_is_said(tmp_path, task):
    with pytest.raises(ConfigError) as error:
        preparation(model(tmp_path / "model.pth"), task, ["x"])
    assert error.value.rule == "preprocessing-unknown"
    assert error.value.fix


def test_a_description_that_was_not_understood_is_told():
    with pytest.raises(ConfigError, match="it pads pictures"):
        preparation(model(fault="it pads pictures"), "image-classification", ["x"])


def test_a_record_of_another_kind_is_an_error():
    with pytest.raises(DataError, match="is a str, and the model takes pictures"):
        preparation(model(how=HOW), "image-classification", ["x"])([a_record("text")])
    with pytest.raises(ConfigError, match="takes 2 inputs"):
        preparation(model(how=HOW), "image-classification", ["x", "y"])


# ---------------------------------------------------------------- the whole way, real models


@pytest.mark.parametrize("folder", [None, text.TEXT / "model"])
def test_the_text_classifier_is_as_good_as_its_training_said(folder):
    from transformers import AutoModelForSequenceClassification

    place = text.TEXT / "model"
    net = AutoModelForSequenceClassification.from_pretrained(place).eval()
    data = open_data(text.TEXT / "heldout.csv", "text-classification", text.LABELS)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    where = model(place / "model.safetensors")
    prepare = preparation(where, "text-classification", names, folder=folder)
    right = 0
    for batch in prepare.batches(data, 32):
        given = {k: torch.from_numpy(v) for k, v in batch.inputs.items()}
        said = net(**given).logits.argmax(1).tolist()
        right += sum(a == r.truth for a, r in zip(said, batch.records, strict=True))
    assert right / len(data) > 0.85
    assert right < len(data)


def test_the_speech_classifier_is_as_good_as_its_training_said():
    from transformers import AutoModelForAudioClassification

    place = speech.SPEECH / "model"
    net = AutoModelForAudioClassification.from_pretrained(place).eval()
    data = open_data(speech.SPEECH / "heldout", "audio-classification", speech.LABELS)
    prepare = preparation(
        model(place / "model.safetensors"), "audio-classification", ["input_values"]
    )
    right = 0
    for batch in prepare.batches(data, 8):
        assert len(batch.records) == 1
        said = int(net(torch.from_numpy(batch.inputs["input_values"])).logits.argmax())
        right += said == batch.records[0].truth
    assert 0.85 < right / len(data) < 1
