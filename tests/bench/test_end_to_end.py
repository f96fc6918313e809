"""Tasks whose answers are read by what the preparation tells: the whole way, from files to figures.

The models are small and of random weights; what counts is that bench's figure is the one that the
library's own loop gives for the very same model and data.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.bench import BenchOptions, bench
from interop.facts import Answer, Report
from interop.identity import identify_file

transformers = pytest.importorskip("transformers")
TOKENIZER = Path(__file__).resolve().parents[2] / "fixtures" / "text" / "model"
WORDS = ["Geben", "Sie", "eine", "Zahl", "ein", "bitte", "oder", "nicht"]
TAGS = ["O", "B-X", "I-X"]
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2}  # fmt: skip


def saved(folder: Path, kind: str, **fields: object) -> Path:
    """A model of random weights that answer to what they see, with the fixture's tokenizer."""
    tokens = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokens), initializer_range=0.6, **SMALL, **fields
    )
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)
    return folder


def measured(model: Path, data: Path) -> Report:
    report = bench(
        [identify_file(model, content_hash=True)], data, BenchOptions(batches=(), threads=1)
    )
    assert report.outcome is Answer.YES
    return report


def figure(report: Report, name: str) -> list[float | None]:
    """A score in each runtime."""
    scored = [m for m in report.measurements if m.conditions.get("group") == "accuracy"]
    return [m.value for m in scored if m.name == name]


def test_tags_are_those_of_the_words(tmp_path: Path) -> None:
    from seqeval.metrics import f1_score

    labels = dict(enumerate(TAGS))
    model = saved(tmp_path / "m", "BertForTokenClassification", id2label=labels,
                  label2id={v: k for k, v in labels.items()})  # fmt: skip
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(24):
        words = [str(w) for w in draw.choice(WORDS, int(draw.integers(2, 7)))]
        rows.append({"words": words, "tags": [str(t) for t in draw.choice(TAGS, len(words))]})
    data = tmp_path / "tags.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    net = transformers.AutoModelForTokenClassification.from_pretrained(model).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(model)
    told = []
    for row in rows:
        made = tokens(row["words"], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            best = net(**made).logits[0].argmax(-1).tolist()
        of = made.word_ids(0)
        told.append([TAGS[best[of.index(i)]] for i in range(len(row["words"]))])
    wanted = f1_score([r["tags"] for r in rows], told)
    assert 0 < wanted < 1
    assert figure(measured(model, data), "F1") == pytest.approx([wanted, wanted])


def test_answers_are_spans_of_their_context(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", "BertForQuestionAnswering")
    draw = np.random.default_rng(1)
    rows = []
    for _ in range(12):
        words = [str(w) for w in draw.choice(WORDS, 9)]
        answers = {"text": [" ".join(words[2:4])], "answer_start": [0]}
        rows.append({"question": "Welche Zahl?", "context": " ".join(words), "answers": answers})
    data = tmp_path / "questions.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    report = measured(model, data)
    (native, exported) = figure(report, "F1")
    assert native == exported and 0 < (native or 0) < 1
    for told in report.details.predictions[0].samples.values():
        assert any(told[1].strip("… ") in r["context"] for r in rows)


def test_speech_is_scored_by_its_words(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    from torchmetrics.functional.text import word_error_rate

    letters = {c: i for i, c in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE"])}
    model = tmp_path / "m"
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters), pad_token_id=0, initializer_range=0.6, conv_dim=[16] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **SMALL,
    )  # fmt: skip
    net = transformers.Wav2Vec2ForCTC(config).eval()
    net.save_pretrained(model)
    (model / "vocab.json").write_text(json.dumps(letters))
    given = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|"}
    (model / "tokenizer_config.json").write_text(json.dumps(given))
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    extractor.save_pretrained(model)
    processor = transformers.Wav2Vec2CTCTokenizer.from_pretrained(model)
    draw = np.random.default_rng(2)
    lines, told, truths = ["path,text"], [], []
    for i in range(6):
        sound = draw.normal(0, 0.1, 4000 + 800 * i).astype(np.float32)
        soundfile.write(tmp_path / f"{i}.wav", sound, 16000, subtype="FLOAT")
        truth = " ".join(str(w) for w in draw.choice(["AB", "CD", "E"], 3))
        lines.append(f"{i}.wav,{truth}")
        made = extractor(sound, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            told.append(processor.decode(net(made.input_values).logits[0].argmax(-1)))
        truths.append(truth)
    data = tmp_path / "manifest.csv"
    data.write_text("\n".join(lines))
    wanted = float(word_error_rate(told, truths))
    assert wanted > 0
    assert figure(measured(model, data), "WER") == pytest.approx([wanted, wanted])


def test_boxes_are_read_in_the_pictures_own_pixels(tmp_path: Path) -> None:
    """The detector's own answers, by the data set, preparation and task that bench takes."""
    from PIL import Image
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    from interop.data import open_data
    from interop.data.preparing import AnySize
    from interop.tasks import task

    torch.manual_seed(0)
    net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    draw = np.random.default_rng(3)
    images, boxes = [], []
    (tmp_path / "data" / "images").mkdir(parents=True)
    for i in range(2):
        pixels = draw.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 90})
        boxes.append({"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 40, 40],
                      "area": 1600, "iscrowd": 0})  # fmt: skip
    document = {"images": images, "annotations": boxes,
                "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "box"}]}  # fmt: skip
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(document))
    labels = ["background", "ball", "box"]
    data = open_data(tmp_path / "data" / "annotations.json", "object-detection", labels)
    kind, prepare = task("object-detection", labels), AnySize(["image"])
    found, truths = [], []
    for batch in prepare.batches(data, 8):
        with torch.no_grad():
            (told,) = net.eval()([torch.from_numpy(batch.inputs["image"][0])])
        outputs = {name: tensor.numpy() for name, tensor in told.items()}
        (answer,) = kind.answers(outputs, batch, prepare)
        assert answer.boxes == pytest.approx(outputs["boxes"][: len(answer.boxes)], abs=1e-3)
        assert answer.boxes[:, 2].max() <= 120 and answer.boxes[:, 3].max() <= 90
        found.append(answer)
        truths.append(batch.records[0].truth)
    assert kind.scores(found, truths)[0].value < 0.5
    assert kind.scores(truths_as_answers(truths), truths)[0].value == pytest.approx(1)


def truths_as_answers(truths: list) -> list:
    return [replace(t, scores=np.ones(len(t.labels), np.float32), crowd=None) for t in truths]


@pytest.mark.parametrize("names", [("sentence1", "sentence2"), ("premise", "claim")])
def test_two_texts_are_judged_together(tmp_path: Path, names: tuple[str, str]) -> None:
    labels = {0: "follows", 1: "contradicts", 2: "neither"}
    model = saved(tmp_path / "m", "BertForSequenceClassification", id2label=labels,
                  label2id={v: k for k, v in labels.items()})  # fmt: skip
    draw = np.random.default_rng(0)
    first, second = names
    rows = []
    for _ in range(24):
        a, b = (" ".join(draw.choice(WORDS, int(draw.integers(2, 30)))) for _ in range(2))
        rows.append({first: a, second: b, "label": labels[int(draw.integers(3))]})
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    net = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(model)

    def loss(*sides: str) -> float:
        longest = net.config.max_position_embeddings
        told = []
        for row in rows:
            made = tokens(*(row[s] for s in sides), return_tensors="pt", truncation=True,
                          max_length=min(longest, tokens.model_max_length))  # fmt: skip
            with torch.no_grad():
                odds = torch.log_softmax(net(**made).logits[0].double(), 0)
            told.append(-float(odds[net.config.label2id[row["label"]]]))
        return float(np.mean(told))

    assert abs(loss(first, second) - loss(first)) > 1e-3, "the second text counts"
    columns = {} if first == "sentence1" else {"text": first, "text_pair": second}
    given = {"columns": columns, "batches": (), "threads": 1}
    report = bench([identify_file(model, content_hash=True)], data, BenchOptions(**given))
    wanted = loss(first, second)
    assert figure(report, "negative log likelihood") == pytest.approx([wanted] * 2, abs=1e-5)
    alone = {**given, "columns": {"text": first}}
    report = bench([identify_file(model, content_hash=True)], data, BenchOptions(**alone))
    wanted = loss(first)
    assert figure(report, "negative log likelihood") == pytest.approx([wanted] * 2, abs=1e-5)
