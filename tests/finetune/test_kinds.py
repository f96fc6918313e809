"""Texts, tags and sounds: the folders that come of them, read by their own library and by bench."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.bench import BenchOptions, bench
from interop.errors import DataError
from interop.facts import Report
from interop.identity import identify_file

from .conftest import Train

transformers = pytest.importorskip("transformers")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
TEXT = FIXTURES / "text" / "model"
SPEECH = FIXTURES / "speech" / "model"


def measured(model: Path, data: Path) -> float:
    """Bench's first figure, of PyTorch, with nothing said but the model and the data."""
    identity = identify_file(model, content_hash=True, whole=True)
    report = bench([identity], data, BenchOptions(batches=(), runtimes=["pytorch"]))
    value = report.measurements[0].value
    assert value is not None
    return value


def values(report: Report) -> dict[str, float | None]:
    own = [m for m in report.measurements if m.conditions["group"] == "validation"]
    return {m.name: m.value for m in own}


def rows(path: Path, made: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def some_texts(path: Path, count: int = 60) -> Path:
    """The first rows of the held-back messages, two languages of them."""
    import csv

    with (FIXTURES / "text" / "heldout.csv").open(encoding="utf-8", newline="") as file:
        found = [r for r in csv.DictReader(file) if r["label"] in ("German", "French")][:count]
    return rows(path, [dict(r) for r in found])


def test_texts(train: Train, tmp_path: Path) -> None:
    data = some_texts(tmp_path / "two.jsonl")
    report = train(data, tmp_path / "m", backbone=TEXT, rate=1e-3, batch=16)
    assert report.proofs[0].facts["backbone_fraction"] == 1 and report.proofs[1].holds
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    assert model.config.id2label == {0: "French", 1: "German"}
    record = json.loads((tmp_path / "m" / "training.json").read_text())
    assert record["base"]["name"] == "model" and record["training"]["task"] == "text-classification"
    assert str(tmp_path) not in (tmp_path / "m" / "config.json").read_text()
    # All rows, the ones trained on too: most are right, and all that bench asked for was there.
    assert measured(tmp_path / "m", data) > 0.8


def test_numbers_of_texts(train: Train, tmp_path: Path) -> None:
    """The length of a text, as a number: a transformers model states its problem itself."""
    data = some_texts(tmp_path / "two.jsonl")
    made = [json.loads(line) for line in data.read_text().splitlines()]
    told = [{"text": r["text"], "score": 100 + len(r["text"]) / 7} for r in made]
    data, held = rows(tmp_path / "n.jsonl", told[15:]), rows(tmp_path / "held.jsonl", told[:15])
    report = train(
        data, tmp_path / "m", backbone=TEXT, rate=5e-3, probe_rate=2e-2, batch=16, epochs=8,
        task="regression", validation=str(held),
    )  # fmt: skip
    assert values(report)["MAE"] < values(report)["chance"]
    identity = identify_file(tmp_path / "m")
    assert not identity.labels.applicable  # problem_type says so
    # The numbers' scale is in the weights: bench, which knows of none, finds the same error.
    assert measured(tmp_path / "m", held) == pytest.approx(values(report)["MAE"], rel=1e-4)


def test_a_decoder_without_padding_is_given_one(train: Train, tmp_path: Path) -> None:
    base = tmp_path / "gpt2"
    tokens = transformers.AutoTokenizer.from_pretrained(TEXT)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokens), n_embd=16, n_layer=2, n_head=2, n_positions=64,
        eos_token_id=tokens.sep_token_id, bos_token_id=tokens.sep_token_id,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(base)
    made = json.loads((TEXT / "tokenizer.json").read_text())
    (base / "tokenizer.json").write_text(json.dumps({**made, "padding": None}))
    stated = json.loads((TEXT / "tokenizer_config.json").read_text())
    stated.pop("pad_token")
    stated |= {"eos_token": "[SEP]", "model_input_names": ["input_ids", "attention_mask"]}
    (base / "tokenizer_config.json").write_text(json.dumps(stated))
    assert transformers.AutoTokenizer.from_pretrained(base).pad_token_id is None
    data = some_texts(tmp_path / "two.jsonl")
    report = train(
        data, tmp_path / "m", backbone=base, task="text-classification", rate=5e-3, batch=16,
        epochs=1,
    )  # fmt: skip
    assert any("has no padding" in note for note in report.details.notes)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "m").eval()
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert again.pad_token == "[SEP]" and model.config.pad_token_id == again.pad_token_id
    # A text alone and beside a longer one have the same answer: what pads is known.
    with torch.no_grad():
        alone = model(**again(["Geben Sie"], return_tensors="pt")).logits[0]
        beside = ["Geben Sie", "Geben Sie eine Zahl ein bitte oder nicht"]
        both = model(**again(beside, padding=True, return_tensors="pt")).logits[0]
    assert torch.allclose(alone, both, atol=1e-5)
    assert measured(tmp_path / "m", data) >= 0.5


def test_tags(train: Train, tmp_path: Path) -> None:
    """Numbers among words are to be found: what a single token shows, a few epochs learn."""
    words = ["Geben", "Sie", "eine", "Zahl", "ein", "7", "42", "bitte"]
    random = np.random.default_rng(0)
    made = []
    for _ in range(48):
        said = [words[i] for i in random.integers(0, len(words), 6)]
        made.append({"words": said, "tags": ["B-N" if w.isdigit() else "O" for w in said]})
    data = rows(tmp_path / "tags.jsonl", made)
    report = train(
        data, tmp_path / "m", backbone=TEXT, task="token-classification", rate=5e-3,
        probe_rate=2e-2, batch=8, epochs=3,
    )  # fmt: skip
    assert report.measurements[0].name == "F1" and values(report)["F1"] > 0.8
    notes = " ".join(report.details.notes)
    assert "not handed one vector a sample" in notes  # but one a token
    assert measured(tmp_path / "m", data) > 0.8


def test_sounds(train: Train, tmp_path: Path) -> None:
    heard = tmp_path / "clips"
    for name in ("one", "two"):
        (heard / name).mkdir(parents=True)
        for clip in sorted((FIXTURES / "speech" / "heldout" / name).iterdir())[:5]:
            shutil.copy(clip, heard / name)
    report = train(heard, tmp_path / "m", backbone=SPEECH, mode="full", epochs=2, rate=1e-3)
    assert report.details.task == "audio-classification"
    assert measured(tmp_path / "m", heard) > 0.6


def test_speech_by_its_characters(train: Train, tmp_path: Path) -> None:
    """The classifier of clips becomes a writer of them: a vocabulary of its own, and CTC."""
    base, heard = tmp_path / "base", FIXTURES / "speech" / "heldout"
    shutil.copytree(SPEECH, base)
    letters = {c: i + 4 for i, c in enumerate("EFGHINORSTUVWXZ")}
    special = {"<pad>": 0, "<s>": 1, "<unk>": 2, "|": 3}
    (base / "vocab.json").write_text(json.dumps({**special, **letters}))
    given = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|",
             "pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>",
             "eos_token": "<s>"}  # fmt: skip
    (base / "tokenizer_config.json").write_text(json.dumps(given))
    (tmp_path / "clips").mkdir()
    made = []
    for word in ("one", "two"):
        for clip in sorted((heard / word).iterdir())[:6]:
            name = f"{word}-{clip.name}"
            shutil.copy(clip, tmp_path / "clips" / name)
            made.append({"path": f"clips/{name}", "transcript": word})
    data = rows(tmp_path / "said.jsonl", made)
    report = train(
        data, tmp_path / "m", backbone=base, task="automatic-speech-recognition", rate=2e-3,
        epochs=3, batch=4,
    )  # fmt: skip
    assert report.measurements[0].name == "WER"
    losses = [r.train_loss for r in report.details.curves]
    assert losses[-1] < 0.7 * losses[0]
    model = transformers.AutoModelForCTC.from_pretrained(tmp_path / "m")
    assert model.config.vocab_size == 19 and model.config.pad_token_id == 0
    assert measured(tmp_path / "m", data) <= 1.0
    again = train(
        data, tmp_path / "n", backbone=tmp_path / "m", mode="probe", epochs=1, probe_rate=1e-6
    )
    assert again.details.task == "automatic-speech-recognition"
    head = again.proofs[0].facts["fresh"]
    assert head == []  # the class has its head already, and keeps it


def test_texts_that_the_tokenizer_does_not_know_are_told(train: Train, tmp_path: Path) -> None:
    data = some_texts(tmp_path / "two.jsonl")
    made = [json.loads(line) for line in data.read_text().splitlines()]
    strange = [{**r, "text": chr(0x4E00 + n)} for n, r in enumerate(made)]
    mixed = rows(tmp_path / "mixed.jsonl", [*made[6:], *strange[:6]])
    report = train(mixed, tmp_path / "m", backbone=TEXT, rate=1e-3, batch=16, epochs=1)
    notes = [n for n in report.details.notes if "unknown tokens alone" in n]
    counts = [int(n.split()[0]) for n in notes]
    assert sum(counts) == 6 and "training texts" in notes[0]
    held = rows(tmp_path / "held.jsonl", strange)
    with pytest.raises(DataError, match="knows nothing of its 60 validation texts") as error:
        train(data, tmp_path / "n", backbone=TEXT, validation=str(held))
    assert error.value.where == str(held) and not (tmp_path / "n").exists()
    with pytest.raises(DataError, match="training texts"):
        train(held, tmp_path / "n", backbone=TEXT)
