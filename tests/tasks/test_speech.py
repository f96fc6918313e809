"""Transcripts against torchmetrics and frames made by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from interop.errors import ModelError
from interop.tasks import task
from interop.tasks.speech import Said
from tests.tasks.made import Plain, batch, by_name

LABELS = ("<pad>", "<s>", "|", "A", "B", "L", "E")
TASK = "automatic-speech-recognition"


def frames(text: str, labels: tuple[str, ...] = LABELS) -> np.ndarray:
    """One frame a character, "_" for the blank."""
    ids = [0 if c == "_" else labels.index(c) for c in text]
    return np.eye(len(labels), dtype=np.float32)[ids][None]


def said(text: str, *, prepare: Plain | None = None, samples: int = 10, length: int = 10) -> str:
    given = batch([""], about=[{"samples": samples}], x=np.zeros((1, length), np.float32))
    (found,) = task(TASK, LABELS).answers({"logits": frames(text)}, given, prepare or Plain())
    return found.text


def test_repeats_are_one_and_blanks_part_them() -> None:
    assert said("AA_BEE_L__LL|A") == "ABELL A"
    assert said("____") == ""
    assert said("||A||") == "A"


def test_frames_of_padding_do_not_count() -> None:
    assert said("AB_LE", samples=6, length=10) == "AB"
    assert said("AB_LE", samples=10, length=10) == "ABLE"


def test_the_preparation_makes_the_text_where_it_can() -> None:
    decode = Plain(decode=lambda ids: "-".join(map(str, ids)))
    assert said("AA_A|B", prepare=decode) == "3-3-2-4", "repeats and blanks are out already"
    assert said("AA_A|B", prepare=Plain(blank=3, decode=lambda ids: str(ids))) == "[0, 2, 4]"


def test_the_blank_is_found_by_its_label() -> None:
    labels = ("A", "B", "-")
    logits = np.eye(3, dtype=np.float32)[[0, 0, 2, 0, 1, 2]][None]
    given = batch([""], about=[{"samples": 1}])
    (found,) = task(TASK, labels).answers({"logits": logits}, given, Plain())
    assert found.text == "AAB"


def test_figures_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    rng = np.random.default_rng(0)
    words = ["one", "two", "three", "four", "five"]
    truths = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(40)]
    texts = [
        " ".join(w for w in [*t.split(), "six"] if rng.random() < 0.8).replace("five", "fife")
        for t in truths
    ]
    kind = task(TASK)
    found = by_name(kind.scores([Said(t, None) for t in texts], truths))
    assert next(iter(found)) == kind.headline == "WER"
    assert found["WER"].value == pytest.approx(float(word_error_rate(texts, truths)), rel=1e-5)
    assert found["CER"].value == pytest.approx(float(char_error_rate(texts, truths)), rel=1e-5)
    exact = np.mean([a == b for a, b in zip(texts, truths, strict=True)])
    assert found["exact match"].value == pytest.approx(exact)
    assert found["WER"].better == -1 and found["WER"].interval is not None


def test_figures_by_hand() -> None:
    kind = task(TASK)
    # One word of three changed; one put in where there is silence.
    answers = [Said("a b c", None), Said("x", None)]
    found = by_name(kind.scores(answers, ["a B d", ""]))
    assert found["WER"].value == pytest.approx(2 / 3)
    assert found["CER"].value == pytest.approx(2 / 5)
    assert kind.right(answers[0], " A b  C ") is True and kind.right(answers[0], "a b") is False
    assert kind.key(Said("A b", None)) == kind.key(Said("a B", None)) != kind.key(answers[0])
    assert by_name(kind.between(answers, answers))["word difference"].value == 0
    assert by_name(kind.between(answers, answers[::-1]))["word difference"].value == 6 / 4


def test_the_margin_is_that_of_the_least_sure_frame() -> None:
    logits = frames("AB")
    logits[0, 1] *= 0.4
    kind = task(TASK, LABELS)
    (found,) = kind.answers({"logits": logits}, batch([""], about=[{"samples": 1}]), Plain())
    assert kind.margin(found) == pytest.approx(0.2)


@pytest.mark.parametrize("shape", [(1, 7), (1, 4, 6), (2, 4, 7)])
def test_outputs_of_another_task_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"where one output \(1, frames, 7\) is needed"):
        task(TASK, LABELS).answers(
            {"logits": np.zeros(shape, np.float32)}, batch([""], about=[{"samples": 1}]), Plain()
        )


def test_two_hundred_long_utterances_are_scored_in_seconds() -> None:
    rng = np.random.default_rng(1)
    truths = ["".join(rng.choice(list("abcde "), 150)) for _ in range(200)]
    answers = [Said(t[:70] + "x" + t[72:], None) for t in truths]
    start = time.perf_counter()
    by_name(task(TASK).scores(answers, truths))
    assert time.perf_counter() - start < 20


def test_a_tokenizer_that_need_not_group_gives_what_its_own_decoding_gives(tmp_path: Path) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    vocabulary = {"<pad>": 0, "<s>": 1, "|": 2, "A": 3, "B": 4, "L": 5, "E": 6, "<unk>": 7}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    prepare = Plain(blank=0, decode=lambda ids: tokenizer.decode(ids, group_tokens=False))
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = rng.choice([0, 2, 3, 4, 5, 6], 30)
        logits = np.eye(7, dtype=np.float32)[ids][None]
        given = batch([""], about=[{"samples": 1}])
        (found,) = task(TASK, LABELS).answers({"logits": logits}, given, prepare)
        assert found.text == " ".join(tokenizer.decode(ids).split())
