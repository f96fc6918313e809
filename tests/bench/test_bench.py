"""bench on the real fixtures, with true metrics, and its refusals."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from interop.bench import BenchOptions, bench
from interop.cli.bench import command
from interop.data import Folder
from interop.errors import ConfigError, DataError, ModelError
from interop.facts import Answer, Identity, Labels, Level, Measurement, Report
from interop.identity import identify_file, metadata
from interop.identity.user_facts import UserFacts
from tests.helpers.digits import held_back

ROOT = Path(__file__).resolve().parents[2]
TEXT, SPEECH = ROOT / "fixtures/text", ROOT / "fixtures/speech"


@pytest.fixture(scope="module")
def two(digits: Path, held: Path) -> Report:
    models = [
        identify_file(digits / f, content_hash=True) for f in ("shufflenet.pth", "squeezenet.pth")
    ]
    options = BenchOptions(batches=(1, 2), threads=1, seconds=0.2)
    return bench(models, held, options=options)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 pictures, 16 of each class."""
    return held_back(tmp_path_factory.mktemp("held"), 16)


@pytest.fixture(scope="module")
def of_text() -> Identity:
    return identify_file(TEXT / "model", whole=True)


def found(report: Report, name: str, **conditions: object) -> Measurement:
    (m,) = (
        m
        for m in report.measurements
        if m.name == name and all(m.conditions.get(k) == v for k, v in conditions.items())
    )
    return m


def test_the_accuracy_is_the_one_that_torch_itself_gives(
    two: Report, digits: Path, held: Path
) -> None:
    from fixtures.make import shufflenet

    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    net = shufflenet(10)
    net.load_state_dict(stored["state_dict"])
    how = metadata.parse_preprocessing(stored["preprocess"], "")
    right = 0
    with torch.inference_mode():
        for batch in Folder(held, stored["labels"]).batches(how, 64):
            answers = net.eval()(torch.from_numpy(batch.pictures)).argmax(1).numpy()
            right += int((answers == batch.labels).sum())
    for of in ("A pytorch", "A onnxruntime"):
        assert found(two, "top-1", of=of).value == right / 160
    assert right / 160 > 0.95


def test_both_runtimes_and_both_models_are_measured(two: Report) -> None:
    for of in ("A pytorch", "A onnxruntime", "B pytorch", "B onnxruntime"):
        for batch in (1, 2):
            m = found(two, "latency", of=of, batch=batch)
            assert m.value == pytest.approx(np.median(m.samples))
            assert len(m.samples) >= 10 and min(m.samples) > 0
            assert m.conditions["p99"] >= m.conditions["p90"] >= m.value
        assert found(two, "cold start", of=of).value > 0
        assert found(two, "peak memory", of=of).value > 50e6
    # ONNX Runtime's process does not load torch, and it shows.
    native, exported = (found(two, "peak memory", of=f"A {r}") for r in ("pytorch", "onnxruntime"))
    assert exported.value < 0.7 * native.value
    assert found(two, "flips", between="runtimes", model="A").value == 0
    assert found(two, "latency noise", batch=1).interval is not None


def test_one_model_against_the_other(two: Report) -> None:
    top = [found(two, "top-1", of=f"{r} pytorch").value for r in "AB"]
    change = found(two, "accuracy change", between="models")
    assert change.value == pytest.approx(top[1] - top[0])
    assert 0 <= found(two, "McNemar's exact test", between="models").value <= 1
    flips = found(two, "flips", between="models")
    assert len(flips.conditions["flipped"]) == flips.value
    stored = {p.of: p.samples for p in two.details.predictions}
    assert len(stored["A pytorch"]) == len(stored["B onnxruntime"]) == 160
    right = [sum(one[2] for one in stored[f"{r} pytorch"].values()) for r in "AB"]
    assert right == [round(160 * t) for t in top]
    # Each sample that flipped can be shown.
    assert set(two.details.previews) == {f["sample"] for f in flips.conditions["flipped"]}
    assert all(p.png for p in two.details.previews.values())


def test_labels_in_another_order_are_found_though_no_figure_shows_them(
    two: Report, digits: Path, held: Path
) -> None:
    one = identify_file(digits / "squeezenet.pth")
    names = one.labels.names
    assert names is not None and "label-order-changed" not in {f.rule for f in two.findings}
    other = replace(one, labels=replace(one.labels, names=(names[1], names[0], *names[2:])))
    report = bench([one, other], held, BenchOptions(batches=(), threads=1))
    (order,) = (f for f in report.findings if f.rule == "label-order-changed")
    assert order.level is Level.ERROR and order.facts["moved"] == [0, 1]
    assert report.outcome is Answer.YES, "bench measures; what may replace what is check's to say"
    # The same weights under swapped names: by name, 16 of each of the two are answered otherwise.
    change = found(report, "accuracy change", between="models")
    assert change.value == pytest.approx(-0.2, abs=0.01)
    from interop.report import render

    assert "label-order-changed" in render(report, "text")


def test_throughput_and_first_runs_are_measured(two: Report) -> None:
    for of in ("A pytorch", "A onnxruntime", "B pytorch", "B onnxruntime"):
        for batch in (1, 2):
            rate = found(two, "throughput", of=of, batch=batch)
            assert rate.unit == "per second" and rate.value > 0
        first = found(two, "first run", of=of, batch=2)
        assert first.value > 0 and first.conditions["steady_ms"] > 0


def test_the_walk_says_where_its_time_went(two: Report) -> None:
    pace = two.details.pace["A"]
    assert set(pace.running_seconds) == {"pytorch", "onnxruntime"}
    assert 0 <= pace.share_waiting < 1
    assert two.details.task == "image-classification"


def test_a_user_can_read_what_is_printed(two: Report) -> None:
    from interop.report import render

    text = render(two, "text")
    assert max(map(len, text.splitlines())) <= 80
    for nonsense in ("None", "nan", "{", "[", "_samples"):
        assert nonsense not in text
    for said in ("A pytorch", "B onnxruntime", "macro F1", "throughput", "first run, batch 2"):
        assert said in text


def test_the_report_says_under_which_conditions(two: Report) -> None:
    conditions = two.details.conditions
    assert conditions["device"] == "cpu" and conditions["provider"] == "CPUExecutionProvider"
    assert conditions["threads"] == 1
    assert two.outcome in (Answer.YES, Answer.UNKNOWN)
    assert all(i.facts["content_sha256"] for i in two.inputs if i.role != "data")


def test_without_batch_sizes_it_is_accuracy_alone(digits: Path, derived: Path, held: Path) -> None:
    models = [identify_file(digits / "shufflenet.pth"), identify_file(derived / "relabelled.pth")]
    report = bench(models, held, BenchOptions(batches=()))
    assert {m.conditions["group"] for m in report.measurements} == {
        "accuracy", "change of runtime", "change of model", "inputs",
    }  # fmt: skip
    # The labels stand in another order; by name, the two answer alike.
    assert found(report, "agreement", between="models").value == 1
    assert report.outcome is Answer.YES


def test_unknown_facts_are_loud(digits: Path, derived: Path) -> None:
    plain = identify_file(derived / "plain.pth")
    with pytest.raises(ConfigError) as caught:
        bench([plain], digits / "heldout")
    assert caught.value.rule == "preprocessing-unknown"
    how = identify_file(digits / "shufflenet.pth").preprocessing
    with pytest.raises(ConfigError) as caught:
        bench(
            [identify_file(derived / "plain.pth", UserFacts(preprocessing=how))], digits / "heldout"
        )
    assert caught.value.rule == "labels-unknown"
    nine = metadata.read_labels("a,b,c,d,e,f,g,h,i")
    with pytest.raises(ConfigError, match="9 labels for 10 outputs"):
        bench(
            [identify_file(derived / "plain.pth", UserFacts(preprocessing=how, labels=nine))], "x"
        )


def test_a_module_of_ones_own_is_built_and_measured(
    digits: Path, held: Path, tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    root = Path(__file__).resolve().parents[2]
    file.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(root)!r})\n"
        "from fixtures.make import squeezenet\n"
        "def make():\n"
        "    return squeezenet(10)\n"
    )
    model = identify_file(digits / "squeezenet.pth")
    report = bench([model], held, BenchOptions(batches=(), factory=f"{file}:make"))
    assert found(report, "top-1", of="A onnxruntime").value > 0.95
    wrong = BenchOptions(batches=(), factory=f"{file}:nothing")
    with pytest.raises(ModelError, match="no attribute 'nothing'"):
        bench([model], held, wrong)


OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(30, 8), nn.Linear(8 + 3, 2)

    def forward(self, tokens, extra):
        return self.head(torch.cat([self.words(tokens).mean(1), extra], 1))
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A module that takes two inputs, which no library knows, and its weights."""
    (tmp_path / "own.py").write_text(OWN)
    space: dict[str, Any] = {}
    exec(OWN, space)
    torch.manual_seed(0)
    torch.save(space["Net"]().state_dict(), tmp_path / "own.pth")
    return tmp_path


def test_arrays_tell_what_a_module_of_ones_own_takes(own: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {  # in another order than forward names them
        "extra": draw.standard_normal((40, 3)),
        "tokens": draw.integers(0, 30, (40, 7)),
        "labels": draw.integers(0, 2, 40),
    }
    np.savez(own / "data.npz", **arrays)
    model = identify_file(own / "own.pth", UserFacts(labels=Labels(("no", "yes"), "--labels")))
    given = {
        "task": "text-classification", "factory": f"{own / 'own.py'}:Net", "threads": 1
    }  # fmt: skip
    report = bench([model], own / "data.npz", BenchOptions(batches=(2,), seconds=0.1, **given))
    space: dict[str, Any] = {}
    exec(OWN, space)
    net = space["Net"]()
    net.load_state_dict(torch.load(own / "own.pth", weights_only=True))
    tokens, extra = torch.from_numpy(arrays["tokens"]), torch.from_numpy(arrays["extra"]).float()
    right = (net(tokens, extra).argmax(1).numpy() == arrays["labels"]).mean()
    for of in ("A pytorch", "A onnxruntime"):
        assert found(report, "top-1", of=of).value == right
        assert found(report, "latency", of=of, batch=2).value > 0
    without = {k: v for k, v in arrays.items() if k != "extra"}
    np.savez(own / "less.npz", **without)
    with pytest.raises(ConfigError, match="forward takes tokens, extra, and is given tokens"):
        bench([model], own / "less.npz", BenchOptions(batches=(), **given))


def test_input_says_what_a_module_of_ones_own_takes_where_there_are_no_data(own: Path) -> None:
    given = [str(own / "own.pth"), "--model", f"{own / 'own.py'}:Net", "--batch", "1"]
    given += ["--seconds", "0.1", "--threads", "1", "--format", "json"]
    done = CliRunner().invoke(command, given)
    assert isinstance(done.exception, ModelError) and "--input 'tokens=" in str(done.exception)
    given += ["--input", "tokens=int64<30(batch,7)", "--input", "extra=float32(batch,3)"]
    done = CliRunner().invoke(command, given)
    report = json.loads(done.stdout)
    assert {m["name"] for m in report["measurements"]} >= {"latency", "throughput"}


def test_what_is_asked_for_must_make_sense(digits: Path) -> None:
    model = identify_file(digits / "shufflenet.pth")
    for models, data, options, said in (
        ([], None, BenchOptions(), "0 models"),
        ([model] * 3, None, BenchOptions(), "3 models"),
        ([model], None, BenchOptions(batches=()), "neither accuracy nor latency"),
        ([model], None, BenchOptions(batches=(0,)), "at least 1"),
        ([model], None, BenchOptions(runtimes=("tensorrt",)), "is no runtime"),
        ([model], digits / "heldout", BenchOptions(task="poetry"), "is no task"),
    ):
        with pytest.raises(ConfigError, match=said):
            bench(models, data, options=options)


def test_models_for_different_tasks_are_not_compared(of_text: Identity, tmp_path: Path) -> None:
    none = replace(of_text.labels, names=None, applicable=False)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label,value\nhallo,German,1\nhola,Spanish,2\n")
    columns = {"text": "text"}
    with pytest.raises(ConfigError, match="different tasks"):
        bench(
            [of_text, replace(of_text, labels=none)],
            rows,
            BenchOptions(columns=columns, batches=()),
        )


def test_folders_are_matched_by_name(digits: Path, tmp_path: Path) -> None:
    heldout = tmp_path / "heldout"
    shutil.copytree(digits / "heldout", heldout)
    (heldout / "nine").rename(heldout / "9")
    with pytest.raises(DataError, match="'9' is no label"):
        bench([identify_file(digits / "shufflenet.pth")], heldout, BenchOptions(batches=()))


# ---------------------------------------------------------------- texts and speech


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_transformers(folder: Path, auto: str, inputs: list[dict[str, Any]]) -> np.ndarray:
    """Logits of the model as transformers itself loads it, one input after the other."""
    import transformers

    model = getattr(transformers, auto).from_pretrained(folder).eval()
    with torch.inference_mode():
        return np.concatenate([model(**one).logits.numpy() for one in inputs])


def agrees(report: Report, logits: np.ndarray, truth: list[int]) -> None:
    """Each figure of both runtimes is the one that these logits give."""
    from sklearn.metrics import f1_score, log_loss

    chosen = logits.argmax(1)
    for of in ("A pytorch", "A onnxruntime"):
        assert found(report, "top-1", of=of).value == (chosen == truth).mean()
        f1 = f1_score(truth, chosen, average="macro")
        assert found(report, "macro F1", of=of).value == pytest.approx(f1)
        exact = logits.astype(np.float64)
        softmax = np.exp(exact) / np.exp(exact).sum(1, keepdims=True)
        loss = log_loss(truth, softmax, labels=range(logits.shape[1]))
        assert found(report, "negative log likelihood", of=of).value == pytest.approx(loss, 1e-4)
    assert found(report, "flips", between="runtimes").value == 0
    assert report.outcome is Answer.YES


def shuffled(items: list[str]) -> list[str]:
    return [items[i] for i in np.random.default_rng(0).permutation(len(items))]


def test_a_text_classifier_scores_what_transformers_says(of_text: Identity) -> None:
    from transformers import AutoTokenizer

    report = bench([of_text], TEXT / "heldout.csv", BenchOptions(batches=()))
    rows = rows_of(TEXT / "heldout.csv")
    prepare = AutoTokenizer.from_pretrained(TEXT / "model")
    inputs = [dict(prepare(r["text"], truncation=True, return_tensors="pt")) for r in rows]
    logits = by_transformers(TEXT / "model", "AutoModelForSequenceClassification", inputs)
    names = list(of_text.labels.names or ())
    agrees(report, logits, [names.index(r["label"]) for r in rows])
    assert 0.8 < found(report, "top-1", of="A pytorch").value < 1
    assert report.details.task == "text-classification"
    assert report.inputs[-1].summary == "300 texts"
    assert report.details.split is None


def test_texts_that_the_tokenizer_does_not_know_are_told(of_text: Identity, tmp_path: Path) -> None:
    from interop.report import render

    path = tmp_path / "rows.csv"
    path.write_text("text,label\n\u65e5,German\nBitte,German\n\u672c,French\n", encoding="utf-8")
    report = bench([of_text], path, BenchOptions(batches=(), runtimes=["pytorch"]))
    assert report.details.notes[0].startswith("A: 2 of the 3 texts are unknown tokens alone")
    assert "row 1: '\u65e5'" in render(report, "text")
    path.write_text("text,label\n\u65e5,German\n\u672c,French\n", encoding="utf-8")
    with pytest.raises(DataError, match="knows nothing of its 2 texts"):
        bench([of_text], path, BenchOptions(batches=(), runtimes=["pytorch"]))


def test_a_report_tells_the_split(of_text: Identity, tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = rows_of(TEXT / "heldout.csv")[:6]
    part = Dataset.from_list([{"text": r["text"], "label": r["label"]} for r in rows])
    DatasetDict({"test": part, "train": part}).save_to_disk(str(tmp_path / "saved"))
    report = bench([of_text], tmp_path / "saved", BenchOptions(batches=(), split="train"))
    assert report.details.split == "train"


def test_shuffled_labels_show(of_text: Identity, tmp_path: Path) -> None:
    rows = rows_of(TEXT / "heldout.csv")
    labels = shuffled([r["label"] for r in rows])
    with (tmp_path / "shuffled.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sentence", "class"))
        writer.writerows((r["text"], label) for r, label in zip(rows, labels, strict=True))
    columns = {"text": "sentence", "label": "class"}
    report = bench([of_text], tmp_path / "shuffled.csv", BenchOptions(batches=(), columns=columns))
    top = found(report, "top-1", of="A pytorch")
    assert top.value < 0.35, "of five languages, by chance"
    assert top.interval[0] < 0.2 + 0.06 and top.conditions["samples"] == 300
    with pytest.raises(ConfigError, match="'missing'"):
        bench(
            [of_text],
            tmp_path / "shuffled.csv",
            BenchOptions(batches=(), columns={"text": "missing"}),
        )


def test_a_speech_classifier_scores_what_transformers_says(tmp_path: Path) -> None:
    import soundfile
    from transformers import AutoFeatureExtractor

    identity = identify_file(SPEECH / "model", whole=True)
    names = list(identity.labels.names or ())
    heard, moved = tmp_path / "heard", tmp_path / "moved"
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        (heard / name).mkdir(parents=True)
        for clip in sorted((SPEECH / "heldout" / name).iterdir())[1::2]:
            shutil.copy(clip, heard / name)
        shutil.copytree(heard / name, moved / other)
    report = bench([identity], heard, BenchOptions(batches=()))
    clips = sorted(heard.glob("*/*"))
    extract = AutoFeatureExtractor.from_pretrained(SPEECH / "model")
    inputs = []
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32")
        inputs.append(dict(extract(samples, sampling_rate=rate, return_tensors="pt")))
    logits = by_transformers(SPEECH / "model", "AutoModelForAudioClassification", inputs)
    agrees(report, logits, [names.index(c.parent.name) for c in clips])
    assert 0.8 < found(report, "top-1", of="A pytorch").value < 1
    assert report.details.task == "audio-classification"
    # The same clips under another digit's name: next to none is right.
    wrong = bench([identity], moved, BenchOptions(batches=(), runtimes=["pytorch"]))
    assert found(wrong, "top-1", of="A pytorch").value < 0.1


def test_a_text_classifier_cannot_stand_in_for_a_digit_reader(
    of_text: Identity, digits: Path
) -> None:
    reader = identify_file(digits / "shufflenet.pth")
    with pytest.raises((ConfigError, ModelError, DataError)):
        bench([reader, of_text], digits / "heldout", BenchOptions(batches=()))
