"""Which task a model is measured at, from what its files say, and what it must say for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interop.errors import ConfigError
from interop.facts import Architecture, Head, Identity, Labels, Manifest, Preprocessing
from interop.tasks import TASKS
from interop.tasks.infer import NAMED, need_interface, task_name

CLASSES = Head("fc", "linear", 8, 3, ("fc.weight",), "its name", role="classes")
NAMES = Labels(("cat", "dog", "eel"), "given")
HOW = Preprocessing((8, 8), (0.0,), (1.0,), color="L")


def of(name: str = "", **more: object) -> Identity:
    manifest = Manifest("model.pth", "model.pth", "zip", 1, "0" * 64, ())
    known = (Architecture(name, "the index"),) if name else ()
    return replace(Identity(manifest, "", "", (), known), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("transformers/BertForSequenceClassification", "text-classification"),
        ("transformers/BertForTokenClassification", "token-classification"),
        ("transformers/BertForQuestionAnswering", "question-answering"),
        ("transformers/ViTForImageClassification", "image-classification"),
        ("transformers/Wav2Vec2ForSequenceClassification", "audio-classification"),
        ("transformers/Wav2Vec2ForCTC", "automatic-speech-recognition"),
        ("transformers/GPT2LMHeadModel", "text-generation"),
    ],
)
def test_a_class_of_transformers_tells_its_task(name: str, wanted: str) -> None:
    assert task_name(of(name)) == wanted
    assert wanted in TASKS


@pytest.mark.parametrize(
    ("role", "wanted"),
    [
        ("classes", "image-classification"),
        ("pixel classes", "image-segmentation"),
        ("box classes", "object-detection"),
    ],
)
def test_a_head_tells_it(role: str, wanted: str) -> None:
    assert task_name(of("torchvision/some", head=replace(CLASSES, role=role))) == wanted


def test_what_is_given_goes_before_what_the_files_say() -> None:
    model = of("transformers/BertForSequenceClassification")
    assert task_name(model, "regression") == "regression"


def test_outputs_that_have_no_labels_by_nature_are_numbers() -> None:
    none = Labels(None, "given", applicable=False)
    bert = "transformers/BertForSequenceClassification"
    assert task_name(of(bert, labels=none)) == "regression"
    assert task_name(of("torchvision/resnet18", head=CLASSES, labels=none)) == "regression"
    assert task_name(of(labels=none)) == "regression"
    # Unknown is not the same as having none.
    assert task_name(of(bert, labels=Labels())) == "text-classification"
    # Speech recognition has no labels either, and stays what it is.
    assert task_name(of("transformers/Wav2Vec2ForCTC", labels=none)) != "regression"


def test_an_unknown_module_with_labels_and_pictures_classifies_them() -> None:
    assert task_name(of(labels=NAMES, preprocessing=HOW)) == "image-classification"
    for less in (of(labels=NAMES), of(preprocessing=HOW), of()):
        with pytest.raises(ConfigError, match="cannot tell which task") as caught:
            task_name(less)
        assert "--task" in caught.value.fix and caught.value.where == "model.pth"


def test_the_data_say_the_task_if_nothing_else_does() -> None:
    assert task_name(of(), None, "image-classification") == "image-classification"
    assert task_name(of(), "regression", "image-classification") == "regression"


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"prepared is unknown; its labels are unknown") as caught:
        need_interface(of(), "image-classification")
    assert "--preprocess" in caught.value.fix and "--labels" in caught.value.fix


def test_ready_inputs_and_class_numbers_need_nothing_more() -> None:
    need_interface(of(), "image-classification", ready=True, numbered=True)
    for lacking in ({"ready": True}, {"numbered": True}):
        with pytest.raises(ConfigError, match="its labels are unknown"):
            need_interface(of(), "image-classification", **lacking)


def test_every_task_with_names_is_a_task() -> None:
    assert set(NAMED) < set(TASKS)


def test_what_classifies_must_say_its_labels() -> None:
    for task in NAMED:
        with pytest.raises(ConfigError) as caught:
            need_interface(of("transformers/Any"), task)
        assert caught.value.rule == "labels-unknown"
        need_interface(of("transformers/Any", labels=NAMES), task)
    for task in set(TASKS) - set(NAMED):
        need_interface(of("transformers/Any"), task)


def test_what_takes_pictures_must_say_how_they_are_prepared() -> None:
    for task in ("image-classification", "image-segmentation"):
        with pytest.raises(ConfigError) as caught:
            need_interface(of("torchvision/some", labels=NAMES), task)
        assert caught.value.rule == "preprocessing-unknown"
        need_interface(of("torchvision/some", labels=NAMES, preprocessing=HOW), task)
    # A detector of torchvision scales what it is given by itself.
    need_interface(of("torchvision/some", labels=NAMES), "object-detection")


def test_there_are_as_many_labels_as_outputs() -> None:
    model = of("torchvision/some", labels=NAMES, preprocessing=HOW, head=CLASSES)
    need_interface(model, "image-classification")
    need_interface(replace(model, head=replace(CLASSES, outputs=0)), "image-classification")
    four = replace(model, head=replace(CLASSES, outputs=4))
    with pytest.raises(ConfigError, match="3 labels for 4 outputs") as caught:
        need_interface(four, "image-classification")
    assert caught.value.rule == "label-count-mismatch"
    need_interface(four, "token-classification")  # its tags are counted when it runs


def test_a_real_checkpoint_says_all_of_it(digits: Path) -> None:
    from interop.identity import identify_file

    model = identify_file(digits / "shufflenet.pth")
    assert task_name(model) == "image-classification"
    need_interface(model, "image-classification")
