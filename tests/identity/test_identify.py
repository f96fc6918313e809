"""What a file is of: wrapper, architecture, head, labels, preprocessing, and where each is from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from interop.errors import ConfigError, ReadError
from interop.facts import Labels, TensorSpec
from interop.identity import identify_file
from interop.identity import metadata as keys
from interop.identity.prefix import strip_prefix


def test_a_fine_tuned_checkpoint_tells_all(digits: Path) -> None:
    seen = identify_file(digits / "shufflenet.pth")
    assert seen.architecture == "torchvision/shufflenet_v2_x0_5"
    assert seen.head is not None and (seen.head.path, seen.head.outputs) == ("fc", 10)
    assert seen.labels.names is not None and seen.labels.names[:2] == ("zero", "one")
    assert seen.labels.source == "key 'labels'"
    assert seen.preprocessing is not None and seen.preprocessing.size == (64, 64)
    assert (seen.place, seen.prefix) == ("state_dict", "")


@pytest.mark.parametrize(
    ("file", "place", "prefix", "outputs", "labels"),
    [
        ("plain.pth", "", "", 10, None),
        ("training.pth", "model", "module.", 10, 10),
        ("five-classes.pth", "state_dict", "", 5, 5),
        ("legacy.pth", "", "", 10, None),
        ("model.safetensors", "", "", 10, 10),
        ("half.pth", "state_dict", "", 10, 10),
    ],
)
def test_the_forms_in_which_people_have_it(
    derived: Path, file: str, place: str, prefix: str, outputs: int, labels: int | None
) -> None:
    seen = identify_file(derived / file)
    assert seen.architecture == "torchvision/shufflenet_v2_x0_5"
    assert (seen.place, seen.prefix) == (place, prefix)
    assert seen.head is not None and seen.head.outputs == outputs
    assert (seen.labels.names and len(seen.labels.names)) == labels


def test_a_head_of_several_layers_is_not_taken_for_one(derived: Path) -> None:
    seen = identify_file(derived / "mlp-head.pth")
    assert seen.architecture == "torchvision/shufflenet_v2_x0_5"
    assert seen.head is not None
    assert (seen.head.kind, seen.head.in_width, seen.head.outputs) == ("several layers", 1024, 10)


def test_ema_or_raw_is_never_chosen_silently(derived: Path) -> None:
    with pytest.raises(ReadError, match="2 state dicts") as caught:
        identify_file(derived / "ema.pth")
    assert caught.value.rule == "several-state-dicts"
    assert "ema.pth#state_dict_ema" in caught.value.fix
    seen = identify_file(f"{derived / 'ema.pth'}#state_dict_ema")
    assert seen.place == "state_dict_ema"
    with pytest.raises(ReadError, match="no state dict at 'teacher'"):
        identify_file(f"{derived / 'ema.pth'}#teacher")


def test_an_autoencoder_is_unknown_and_has_no_head(digits: Path) -> None:
    seen = identify_file(digits / "autoencoder.pth")
    assert (seen.architectures, seen.head) == ((), None)


def test_an_unknown_classifier_gets_its_head_from_definition_order(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    seen = identify_file(tmp_path / "net.pth")
    assert seen.head is not None
    assert (seen.head.path, seen.head.in_width, seen.head.outputs) == ("2", 8, 3)
    assert seen.head.evidence == "the last weight in definition order"


def test_a_stated_architecture_that_the_tensors_contradict_is_not_believed(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    torch.save({"state_dict": net.state_dict(), "arch": "resnet18"}, tmp_path / "net.pth")
    seen = identify_file(tmp_path / "net.pth")
    assert seen.architectures == ()
    assert "'resnet18', which its tensors do not bear out" in seen.ambiguity


@pytest.mark.parametrize(
    ("names", "prefix", "bare"),
    [
        (["module.a.w", "module.b.w"], "module.", ["a.w", "b.w"]),
        (["model._orig_mod.module.a.w"], "model._orig_mod.module.", ["a.w"]),
        (["features.a", "features.b"], "", ["features.a", "features.b"]),
        (["module.a", "b"], "", ["module.a", "b"]),
        (["a._orig_mod.w", "b.w"], "…_orig_mod.", ["a.w", "b.w"]),
        (["module"], "", ["module"]),
    ],
)
def test_prefixes_are_stripped_until_stable(names: list[str], prefix: str, bare: list[str]) -> None:
    found, tensors = strip_prefix([TensorSpec(n, "float32", (1,)) for n in names])
    assert (found, [t.name for t in tensors]) == (prefix, bare)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": ["cat", "dog"]},
        {"labels": json.dumps(["cat", "dog"])},
        {"class_to_idx": {"dog": 1, "cat": 0}},
        {"config.json": {"id2label": {"1": "dog", "0": "cat"}}},
        {"hyper_parameters": {"class_names": ["cat", "dog"]}},
    ],
)
def test_labels_are_read_from_the_keys_of_the_table(metadata: dict[str, object]) -> None:
    assert keys.labels(metadata).names == ("cat", "dog")


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": "cat"},
        {"labels": [1, 2]},
        {"id2label": {"0": "cat", "2": "dog"}},
        {"class_to_idx": {}},
        {"label": ["cat"]},
    ],
)
def test_what_has_not_the_form_of_labels_is_unknown(metadata: dict[str, object]) -> None:
    assert not keys.labels(metadata).known


def test_labels_may_be_stated_not_to_apply() -> None:
    assert keys.labels({"labels": "not applicable"}) == Labels(None, "key 'labels'", False)
    assert keys.read_labels("none").known


def test_labels_and_preprocessing_from_a_person(tmp_path: Path) -> None:
    lines = tmp_path / "labels.txt"
    lines.write_text("cat\ndog\n")
    assert keys.read_labels(str(lines)).names == ("cat", "dog")
    assert keys.read_labels("cat, dog").names == ("cat", "dog")
    many = tuple(f"class {n}" for n in range(1000))  # longer than a file's name may be
    assert keys.read_labels(",".join(many)).names == many
    assert keys.read_labels('["cat", "dog"]').names == ("cat", "dog")
    stated = '{"resize": 8, "crop": [6, 6], "mean": [0, 0, 0], "std": [1, 1, 1]}'
    how = keys.read_preprocessing(stated)
    assert (how.resize, how.crop, how.size) == ((8,), (6, 6), (6, 6))
    assert keys.parse_preprocessing(keys.preprocessing_json(how), "again") == how


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("labels.txt", "cannot be read"),
        ("cat,cat", "'cat' twice"),
        ("[", "not JSON"),
        ("{}", "no labels"),
    ],
)
def test_bad_labels_end_in_one_line(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        keys.read_labels(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": [0.5]}, "need 3 number"),
        ({"std": [0, 1, 1]}, "a zero"),
        ({"resize": [1, 2, 3]}, "one or two numbers"),
        ({"color": "HSV"}, "not one of RGB, BGR, L"),
        ({"scale": 0}, "scale must be above 0"),
        ({"antialias": 1}, "true or false"),
        ({"kind": "video"}, "unknown kind"),
        ({"evidence": "heard"}, "cannot be read"),
        ({"interpolation": "magic"}, "unknown interpolation"),
        ({"size": 3}, "unknown field 'size'"),
        ({"resize": 0}, "must be positive"),
        ({"mean": None}, "cannot be read"),
    ],
)
def test_bad_preprocessing_ends_in_one_line(change: dict[str, object], said: str) -> None:
    good = {"resize": [8, 8], "mean": [0.5] * 3, "std": [0.5] * 3}
    keys.parse_preprocessing(good, "here")
    with pytest.raises(ConfigError, match=said):
        keys.parse_preprocessing({**good, **change}, "here")


class Resize:
    """What a person's own transform may be: an object that only its class can read."""


PREPARED = {"resize": [64, 64], "mean": [0.3] * 3, "std": [0.4] * 3}


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"resize": [64, 64], "std": [1.0]}, "has no mean"),
        ('{"resize": [2', "is no description of preprocessing"),
        ({**PREPARED, "resize": "big"}, "cannot be read"),
        (Resize(), "is kept as tests.identity.test_identify.Resize, not as plain"),
        ({**PREPARED, "crop": Resize()}, "crop is kept as tests.identity.test_identify.Resize"),
        ({**PREPARED, "mean": torch.tensor([0.3] * 3)}, "mean is kept as Tensor, not as plain"),
    ],
)
def test_a_broken_statement_of_preprocessing_says_why_it_was_not_taken(
    tmp_path: Path, stated: object, said: str
) -> None:
    from interop.tasks.infer import need_interface

    path = tmp_path / "m.pth"
    torch.save({"state_dict": {"a.weight": torch.zeros(3, 2)}, "preprocess": stated}, path)
    found = identify_file(path)
    assert found.preprocessing is None
    assert found.preprocessing_fault.startswith("key 'preprocess': ")
    assert said in found.preprocessing_fault
    with pytest.raises(ConfigError, match=re.escape(found.preprocessing_fault)):
        need_interface(found, "image-classification")
    good = {"state_dict": {"a.weight": torch.zeros(3, 2)}, "preprocess": PREPARED}
    torch.save(good, path)
    assert identify_file(path).preprocessing_fault == ""
    assert identify_file(path).preprocessing is not None
