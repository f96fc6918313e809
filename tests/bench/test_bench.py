"""bench on the real fixtures, with true metrics, and its refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.bench import bench
from interop.data import Folder
from interop.errors import ConfigError, DataError
from interop.facts import Answer, Measurement, Report
from interop.identity import identify_file, keys


@pytest.fixture(scope="module")
def two(digits: Path) -> Report:
    models = [
        identify_file(digits / f, content_hash=True) for f in ("shufflenet.pth", "squeezenet.pth")
    ]
    return bench(models, digits / "heldout", batches=(1, 2), threads=1, seconds=0.5)


def found(report: Report, name: str, **conditions: object) -> Measurement:
    (m,) = (
        m
        for m in report.measurements
        if m.name == name and all(m.conditions.get(k) == v for k, v in conditions.items())
    )
    return m


def test_the_accuracy_is_the_one_that_torch_itself_gives(two: Report, digits: Path) -> None:
    from fixtures.make import shufflenet

    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    net = shufflenet(10)
    net.load_state_dict(stored["state_dict"])
    how = keys.parse_preprocessing(stored["preprocess"], "")
    right = 0
    with torch.inference_mode():
        for batch in Folder(digits / "heldout", stored["labels"]).batches(how, 64):
            answers = net.eval()(torch.from_numpy(batch.pictures)).argmax(1).numpy()
            right += int((answers == batch.labels).sum())
    for of in ("A pytorch", "A onnxruntime"):
        assert found(two, "top-1", of=of).value == right / 320
    assert right / 320 > 0.95


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
    change = found(two, "accuracy change")
    assert change.value == pytest.approx(top[1] - top[0])
    assert 0 <= found(two, "McNemar's exact test").value <= 1
    flips = found(two, "flips", between="models")
    assert len(flips.conditions["flipped"]) == flips.value
    stored = {p["of"]: p["samples"] for p in two.details["predictions"]}
    assert len(stored["A pytorch"]) == len(stored["B onnxruntime"]) == 320


def test_the_report_says_under_which_conditions(two: Report) -> None:
    conditions = two.details["conditions"]
    assert conditions["device"] == "cpu" and conditions["provider"] == "CPUExecutionProvider"
    assert conditions["threads"] == 1
    assert two.outcome in (Answer.YES, Answer.UNKNOWN)
    assert all(i.facts["content_sha256"] for i in two.inputs if i.role != "data")


def test_without_batch_sizes_it_is_accuracy_alone(digits: Path, derived: Path) -> None:
    models = [identify_file(digits / "shufflenet.pth"), identify_file(derived / "relabelled.pth")]
    report = bench(models, digits / "heldout", batches=())
    assert {m.conditions["group"] for m in report.measurements} == {
        "accuracy", "change of runtime", "change of model",
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
        bench([identify_file(derived / "plain.pth", preprocessing=how)], digits / "heldout")
    assert caught.value.rule == "labels-unknown"
    nine = keys.read_labels("a,b,c,d,e,f,g,h,i")
    with pytest.raises(ConfigError, match="9 labels for 10 outputs"):
        bench([identify_file(derived / "plain.pth", preprocessing=how, labels=nine)], "x")


def test_folders_are_matched_by_name(digits: Path, tmp_path: Path) -> None:
    heldout = tmp_path / "heldout"
    shutil.copytree(digits / "heldout", heldout)
    (heldout / "nine").rename(heldout / "9")
    with pytest.raises(DataError, match="'9' is no label"):
        bench([identify_file(digits / "shufflenet.pth")], heldout, batches=())
