"""Each loss against the library's own, and what the figures make of outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from interop.data.base import Prepared, Record
from interop.errors import DataError, ModelError
from interop.finetune.objectives import AsWritten, Classes, Numbers, Speech, Tags
from interop.tasks import task


def batch(truths: list[Any], about: tuple[Any, ...] = (), raw: Any = None) -> Prepared:
    records = tuple(Record(str(i), "", raw, t) for i, t in enumerate(truths))
    return Prepared({}, records, tuple(range(len(truths))), about or ({},) * len(truths))


def test_classes() -> None:
    goal = Classes(task("image-classification", ("a", "b", "c")), None, None)  # type: ignore[arg-type]
    logits, truth = torch.randn(5, 3), [0, 2, 1, 1, 0]
    given = batch(truth)
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(truth))
    assert float(goal.loss(logits, given)) == pytest.approx(5 * float(wanted), rel=1e-5)
    right = (logits.argmax(1) == torch.tensor(truth)).float().mean()
    figure = goal.figure(goal.answers(logits, given), given.records)
    assert figure == pytest.approx(float(right)) and goal.better == 1
    with pytest.raises(ModelError, match=r"gives \(5, 2\) where \(5, 3\) is needed"):
        goal.loss(torch.randn(5, 2), given)


@pytest.mark.parametrize("centred", [True, False])
def test_numbers_are_learned_in_their_spread(centred: bool) -> None:
    truths = [990.0, 1000.0, 1010.0, 1040.0]
    given = batch(truths)
    goal = Numbers(task("regression"), None, given.records)  # type: ignore[arg-type]
    goal.centre(centred)
    scaled = (np.array(truths) - goal.mean) / goal.scale
    if centred:
        assert scaled.mean() == pytest.approx(0) and scaled.std() == pytest.approx(1)
    else:
        assert np.all(goal.mean == 0) and (scaled**2).mean() == pytest.approx(1)
    exact = torch.tensor(scaled, dtype=torch.float32)[:, None]
    assert float(goal.loss(exact, given)) == pytest.approx(0, abs=1e-6)
    assert float(goal.loss(exact + 1, given)) == pytest.approx(4, rel=1e-4)
    assert goal.figure(goal.answers(exact, given), given.records) == pytest.approx(0, abs=1e-3)
    off = goal.figure(goal.answers(exact + 1, given), given.records)
    assert off == pytest.approx(float(goal.scale[0]), rel=1e-4) and goal.better == -1
    plain = AsWritten(goal)
    raw = torch.tensor(truths)[:, None]
    assert plain.figure(plain.answers(raw, given), given.records) == 0


def test_tags_are_learned_at_the_first_token_of_a_word() -> None:
    names = ("O", "B-X")
    goal = Tags(task("token-classification", names), None, None)  # type: ignore[arg-type]
    about = ({"words": [None, 0, 0, 1, None]}, {"words": [None, 0, None]})
    given = batch([("B-X", "O"), ("O",)], about)
    logits = torch.randn(2, 5, 2)
    wanted = torch.tensor([[-100, 1, -100, 0, -100], [-100, 0, -100, -100, -100]])
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), reduction="sum"
    )
    assert goal.count(given) == 3
    assert float(goal.loss(logits, given)) == pytest.approx(float(expected), rel=1e-5)


def test_speech_has_the_librarys_loss(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    fixture = Path(__file__).resolve().parents[2] / "fixtures" / "speech" / "model"
    model = transformers.Wav2Vec2ForCTC.from_pretrained(
        fixture, vocab_size=8, pad_token_id=0, ctc_loss_reduction="sum", ctc_zero_infinity=True,
        ignore_mismatched_sizes=True,
    ).eval()  # fmt: skip
    letters = {c: i for i, c in enumerate(["<pad>", "<unk>", "|", "O", "N", "E", "T", "W"])}
    (tmp_path / "vocab.json").write_text(json.dumps(letters))
    given = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(given))
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    prepare: Any = SimpleNamespace(tokenizer=tokenizer, blank=0)
    said = batch(["one", "TWO"], ({"samples": 4000}, {"samples": 4000}))
    goal = Speech(task("automatic-speech-recognition", tuple(letters)), prepare, said.records[0],
                  model._get_feat_extract_output_lengths)  # fmt: skip
    x = torch.randn(2, 4000)
    labels = torch.tensor([[3, 4, 5], [6, 7, 3]])
    assert [goal.written(r) for r in said.records] == labels.tolist()  # whatever the case
    with torch.no_grad():
        found = model(x, labels=labels)
    assert float(goal.loss(found.logits, said)) == pytest.approx(float(found.loss) / 3, rel=1e-4)
    with pytest.raises(DataError, match="nothing of its transcript '77' is in the vocabulary"):
        goal.written(batch(["77"]).records[0])
    shutil.rmtree(tmp_path)
