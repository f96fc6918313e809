"""What users of today's tools report, each settled by a test that is named after the pain."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.make import shufflenet
from interop.check import check
from interop.check.options import CheckOptions
from interop.export import export
from interop.facts import Answer, Finding, Report
from interop.identity import identify_file
from tests.conftest import Run


def rule(report: Report, name: str) -> Finding:
    return next(f for f in report.findings if f.rule == name)


@pytest.fixture
def good(digits: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(digits / "shufflenet.pth", weights_only=True)
    return found


def saved(folder: Path, value: Any) -> Path:
    path = folder / "b.pth"
    torch.save(value, path)
    return path


def test_pain_01_strict_false_loads_nothing_and_says_nothing(digits: Path) -> None:
    report = check(
        digits / "shufflenet.pth", digits / "autoencoder.pth", CheckOptions(intent="transfer")
    )
    assert report.outcome is Answer.NO
    assert rule(report, "loaded-fraction-low").facts["tensors"] == 0


@pytest.mark.parametrize(
    ("pain", "prefix"), [(2, "module."), (3, "_orig_mod."), (3, "module._orig_mod."), (4, "model.")]
)
def test_pain_02_03_04_a_prefix_is_stripped_reported_and_mended_by_its_hint(
    pain: int,
    prefix: str,
    digits: Path,
    good: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = OrderedDict((prefix + k, v) for k, v in good["state_dict"].items())
    report = check(digits / "shufflenet.pth", saved(tmp_path, {**good, "state_dict": state}))
    found = rule(report, "key-prefix-shifted")
    assert found.facts["b"] == prefix and report.outcome is Answer.NO
    monkeypatch.chdir(tmp_path)
    exec(found.hint, {"torch": torch})
    assert check(digits / "shufflenet.pth", "mended.pth").outcome is Answer.YES
    mended = torch.load("mended.pth", weights_only=True)["state_dict"]
    shufflenet(10).load_state_dict(mended, strict=True)


def test_pain_05_a_training_dict_is_not_weights(
    digits: Path, derived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = check(digits / "shufflenet.pth", derived / "training.pth")
    found = rule(report, "wrapper-changed")
    assert found.facts == {"a": "state_dict", "b": "model"}
    # One command undoes wrapper and prefix together.
    assert found.hint == rule(report, "key-prefix-shifted").hint
    monkeypatch.chdir(tmp_path)
    exec(found.hint, {"torch": torch})
    assert check(digits / "shufflenet.pth", "mended.pth").outcome is Answer.YES


def test_pain_06_ema_or_raw_is_never_chosen_silently(interop: Run, derived: Path) -> None:
    done = interop("check", derived / "ema.pth", derived / "ema.pth")
    assert done.returncode == 2 and "state_dict_ema" in done.stderr
    one = f"{derived / 'ema.pth'}#state_dict_ema"
    assert interop("check", one, one).returncode == 0


def test_pain_07_backbone_and_head_are_judged_apart(digits: Path, derived: Path) -> None:
    report = check(
        digits / "shufflenet.pth", derived / "five-classes.pth", CheckOptions(intent="transfer")
    )
    assert report.outcome is Answer.YES and rule(report, "head-width-changed")


def test_pain_08_the_output_is_as_wide_as_the_head(derived: Path, tmp_path: Path) -> None:
    report = export(identify_file(derived / "five-classes.pth"), tmp_path / "out")
    assert report.outcome is Answer.YES
    assert identify_file(tmp_path / "out").manifest.graph.outputs[0].shape[1] == 5  # type: ignore[union-attr]


def test_pain_10_the_architecture_need_not_be_told(derived: Path) -> None:
    seen = identify_file(derived / "plain.pth")
    assert seen.architecture == "torchvision/shufflenet_v2_x0_5"
    assert seen.head is not None and seen.head.outputs == 10


def test_pain_12_other_preprocessing_is_seen(
    digits: Path, good: dict[str, Any], tmp_path: Path
) -> None:
    other = {**good, "preprocess": {**good["preprocess"], "mean": [0.5, 0.5, 0.5]}}
    report = check(
        digits / "shufflenet.pth", saved(tmp_path, other), CheckOptions(intent="replace")
    )
    assert report.outcome is Answer.NO and "mean" in rule(report, "preprocessing-changed").what


def test_pain_13_another_order_of_labels_is_seen(digits: Path, derived: Path) -> None:
    report = check(
        digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(intent="replace")
    )
    assert report.outcome is Answer.NO and rule(report, "label-order-changed")


def test_pain_14_an_export_that_does_not_hold_leaves_nothing(derived: Path, tmp_path: Path) -> None:
    report = export(identify_file(derived / "nan.pth"), tmp_path / "out")
    assert report.exit_code == 1 and list(tmp_path.iterdir()) == []


def test_pain_15_16_checked_and_run_at_several_batch_sizes(digits: Path, tmp_path: Path) -> None:
    report = export(identify_file(digits / "shufflenet.pth"), tmp_path / "out")
    by_name = {p.name: p for p in report.proofs}
    assert "onnx.checker passes, ONNX Runtime loads it" in by_name["structure"].what
    assert "batch 1, 2 and 3" in by_name["parity"].what


def test_pain_24_a_harmless_file_that_weights_only_refuses_is_read(
    good: dict[str, Any], tmp_path: Path
) -> None:
    import argparse

    path = saved(tmp_path, {**good, "args": argparse.Namespace(lr=0.1)})
    with pytest.raises(Exception, match="argparse"):
        torch.load(path, weights_only=True)
    seen = identify_file(path)
    assert seen.architecture == "torchvision/shufflenet_v2_x0_5"
    assert seen.manifest.metadata["args"] == {"lr": 0.1}


def test_pain_25_a_truncated_file_is_told(interop: Run, digits: Path, tmp_path: Path) -> None:
    whole = (digits / "shufflenet.pth").read_bytes()
    for share in (0.1, 0.5, 0.99):
        path = tmp_path / "cut.pth"
        path.write_bytes(whole[: int(len(whole) * share)])
        done = interop("inspect", path)
        assert done.returncode == 2 and "file-truncated" in done.stderr, share
