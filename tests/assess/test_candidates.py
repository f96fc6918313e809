"""Names, features and what is kept of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from interop.assess.candidates import CandidateSpec, names_of, see
from interop.assess.dataset import DataSpec, labelled
from interop.errors import ConfigError, DataError
from tests.conftest import DIGITS, ROOT

HELD = str(DIGITS / "heldout")


@pytest.fixture(scope="module")
def data():
    return labelled(DataSpec(HELD, "image-classification")).spec


def test_names_are_short_and_no_two_the_same():
    assert names_of(["a/x.pth", "b/y.safetensors"]) == ["x", "y"]
    assert names_of(["a/x.pth", "b/x.pth"]) == ["a/x", "b/x"]
    assert names_of(["a/x.pth", "random:a/x.pth"]) == ["x", "random x"]
    assert names_of(["x.pth", "x.pth"]) == ["x", "x (2)"]
    assert names_of(["torchvision/resnet18", "models/v1.2/"]) == ["resnet18", "v1.2"]


def test_features_are_what_the_head_is_handed_and_answers_the_heads_own(data):
    seen = see(CandidateSpec("s", str(DIGITS / "shufflenet.pth")), data, None)
    assert seen.features.shape == (320, 1024) and seen.outputs.shape == (320, 10)
    state = torch.load(DIGITS / "shufflenet.pth", weights_only=True)["state_dict"]
    with torch.inference_mode():
        head = torch.nn.functional.linear(
            torch.from_numpy(seen.features), state["fc.weight"], state["fc.bias"]
        )
    np.testing.assert_allclose(seen.outputs, head.numpy(), atol=1e-4)


def test_they_are_kept_by_content(data, tmp_path):
    spec = CandidateSpec("s", str(DIGITS / "base.pth"))
    first = see(spec, data, tmp_path)
    again = see(spec, data, tmp_path)
    assert not first.cached and again.cached
    assert (first.features == again.features).all() and again.seconds == first.seconds
    copy = tmp_path / "copy.pth"
    copy.write_bytes((DIGITS / "base.pth").read_bytes())
    assert see(CandidateSpec("c", str(copy)), data, tmp_path).cached, (
        "the same bytes under another name"
    )
    state = torch.load(copy, weights_only=True)
    state["state_dict"]["conv1.0.weight"][0] *= 1.01
    torch.save(state, copy)
    changed = see(CandidateSpec("c", str(copy)), data, tmp_path)
    assert not changed.cached and (changed.features != first.features).any()


def test_another_data_set_or_preparation_is_not_found(data, tmp_path):
    from dataclasses import replace

    from interop.facts import Preprocessing

    spec = CandidateSpec("a", str(DIGITS / "autoencoder.pth"), None,
                f"{ROOT}/fixtures/autoencoder.py:ConvAutoencoder", "encoder",
                preprocessing=Preprocessing((64, 64), (0.3,) * 3, (0.4,) * 3))  # fmt: skip
    seen = see(spec, data, tmp_path)
    assert seen.features.shape == (320, 64)
    assert not see(spec, data, tmp_path).cached, "one's own code may have changed"
    random = CandidateSpec("r", "random:torchvision/shufflenet_v2_x0_5",
                  preprocessing=Preprocessing((32, 32), (0.3,) * 3, (0.4,) * 3))  # fmt: skip
    assert not see(random, data, tmp_path).cached
    assert see(random, data, tmp_path).cached
    assert not see(replace(random, seed=1), data, tmp_path).cached
    other = replace(random, preprocessing=Preprocessing((32, 32), (0.2,) * 3, (0.4,) * 3))
    assert not see(other, data, tmp_path).cached


def test_drawn_weights_answer_nothing(data, tmp_path):
    seen = see(CandidateSpec("r", f"random:{DIGITS / 'base.pth'}"), data, None)
    assert seen.outputs is None and seen.features.shape == (320, 1024)
    again = see(CandidateSpec("r", f"random:{DIGITS / 'base.pth'}"), data, None)
    assert (seen.features == again.features).all()


def test_texts_and_sounds_have_features_too():
    text = labelled(DataSpec(str(ROOT / "fixtures/text/heldout.csv"), "text-classification"))
    seen = see(CandidateSpec("t", str(ROOT / "fixtures/text/model")), text.spec, None)
    assert seen.features.shape == (len(text.names), 32) and seen.outputs is not None
    sound = labelled(DataSpec(str(ROOT / "fixtures/speech/heldout"), "audio-classification"))
    seen = see(CandidateSpec("a", str(ROOT / "fixtures/speech/model")), sound.spec, None)
    assert seen.features.shape == (100, 48)


def test_texts_that_the_tokenizer_does_not_know_are_told(tmp_path):
    def seen(texts, cache):
        rows = [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(texts)]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        data = labelled(DataSpec(str(path), "text-classification")).spec
        return see(CandidateSpec("t", str(ROOT / "fixtures/text/model")), data, cache)

    for _ in range(2):  # what was kept tells it again
        found = seen(["Bitte", "Merci", "\u65e5", "Nein"], tmp_path / "cache")
        assert found.about["unread"].startswith("1 of the 4 texts are unknown tokens alone")
    assert found.cached and seen(["Bitte", "Merci"], None).about["unread"] == ""
    with pytest.raises(DataError, match="knows nothing of its 2 texts") as error:
        seen(["\u65e5", "\u672c"], None)
    assert "read for t" in error.value.where


def test_padding_counts_for_nothing():
    """A text alone and in a batch of longer ones has the same features."""
    from interop.data import preparation
    from interop.models.backbone import bare, find, input_names

    source = find(str(ROOT / "fixtures/text/model"))
    made = bare(source)
    text = labelled(DataSpec(str(ROOT / "fixtures/text/heldout.csv"), "text-classification"))
    records = list(text.spec.open().records(range(8)))
    prepare = preparation(source.identity, "text-classification", input_names(source, made))
    together, _ = made(prepare(records).inputs)
    alone = np.concatenate([made(prepare([r]).inputs)[0] for r in records])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_speech_is_judged_by_ones_own_answers(tmp_path):
    spec = DataSpec(str(tmp_path), "automatic-speech-recognition")
    with pytest.raises(ConfigError, match="own answers"):
        from interop.assess.candidates import _run

        class NoHead:
            answers = False

        _run(NoHead(), None, None, spec, "cpu")


def test_another_tokenizer_or_config_beside_the_same_weights_is_not_found(tmp_path):
    """What lies beside the weights changes what they make of a text."""
    import json
    import shutil

    model = tmp_path / "model"
    shutil.copytree(ROOT / "fixtures/text/model", model)
    data = labelled(DataSpec(str(ROOT / "fixtures/text/heldout.csv"), "text-classification")).spec
    spec, kept = CandidateSpec("t", str(model)), tmp_path / "kept"
    first = see(spec, data, kept)
    assert see(spec, data, kept).cached
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    other = see(spec, data, kept)
    assert not other.cached and (other.features != first.features).any()


def test_a_control_of_another_shape_is_not_found(tmp_path):
    """ "random:PATH" is called the same, whatever lies at the path by now."""
    import json
    import shutil

    model = tmp_path / "model"
    shutil.copytree(ROOT / "fixtures/text/model", model)
    data = labelled(DataSpec(str(ROOT / "fixtures/text/heldout.csv"), "text-classification")).spec
    spec, kept = CandidateSpec("t", f"random:{model}"), tmp_path / "kept"
    see(spec, data, kept)
    assert see(spec, data, kept).cached
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert not see(spec, data, kept).cached


def test_a_folder_and_a_list_stand_for_their_models(tmp_path, monkeypatch):
    from interop.assess import pipeline

    for name in ("base", "squeezenet"):
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / f"{name}.pth").symlink_to(DIGITS / f"{name}.pth")
    (tmp_path / "list.txt").write_text(f"# one\n{DIGITS / 'shufflenet.pth'}\n")
    seen = []

    def stop(spec, *_):
        seen.append(spec.name)
        return spec

    def ends(*_):
        raise StopIteration

    monkeypatch.setattr(pipeline, "_known", stop)
    monkeypatch.setattr(pipeline, "_task", ends)
    with pytest.raises(StopIteration):
        pipeline.assess([str(tmp_path / "models"), str(tmp_path / "list.txt")], "held")
    assert seen == ["base", "squeezenet", "shufflenet"]
