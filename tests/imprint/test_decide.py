"""What data decide of a model: its preparation, its architecture, and whether they are its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision

from interop import api
from interop.assess import AssessOptions
from interop.bench import BenchOptions
from interop.errors import ConfigError, DataError, ModelError, Unsettled
from interop.export import ExportOptions
from interop.facts import (
    Answer,
    Evidence,
    Fed,
    FedAnswer,
    Identity,
    Preprocessing,
    Report,
    Standing,
)
from interop.identity import identify_file
from interop.identity.user_facts import FromData
from interop.imprint import decide, divergence, stated_divergence
from interop.policy.policy import Policy
from interop.rules.data_unlike_training import USUAL
from tests.helpers.commands import Run

RULE = "data-unlike-training"
QUICK: dict[str, Any] = {"batches": (), "runtimes": ("pytorch",)}
STATED = Preprocessing(resize=(64, 64), mean=(0.31,) * 3, std=(0.38,) * 3, source="--preprocess")
Stub = Callable[[Fed], None]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Has `measure` give a Fed, at once."""

    def stub(fed: Fed) -> None:
        monkeypatch.setattr(decide, "measure", lambda *_, **__: fed)

    return stub


def undecided(fed: Fed) -> Fed:
    open_ = [
        replace(a, standing=Standing.UNDECIDED, others=("32x32",)) if a.question == "size" else a
        for a in fed.answers
    ]
    return replace(fed, preprocess=None, answers=tuple(open_))


def found(report: Report) -> list[str]:
    return [f.what for f in report.findings if f.rule == RULE]


# ---------------------------------------------------------------- --preprocess measured


def test_a_preparation_is_measured_back(copies: SimpleNamespace) -> None:
    how = copies.fed["bare"].preprocess
    assert how is not None and how["resize"] == [64, 64] and "scale" not in how
    assert how["mean"] == pytest.approx([0.31] * 3, rel=0.06)
    assert how["std"] == pytest.approx([0.38] * 3, rel=0.05)
    wide = copies.fed["wide"]
    scale = wide.answer("scale")
    assert (scale.standing, scale.answer) == (Standing.MEASURED, "0 to 255")
    assert wide.preprocess["scale"] == 1.0


def test_bench_says_that_it_was_measured(
    copies: SimpleNamespace, few: Path, measured: Stub
) -> None:
    model, options = copies.folder / "unstated.pth", BenchOptions(**QUICK)
    with pytest.raises(ConfigError):
        api.bench([model], few, options)
    measured(copies.fed["bare"])
    report = api.bench([model], few, replace(options, preprocessing=FromData.MEASURED))
    how = report.inputs[0].facts["preprocessing"]
    assert how["evidence"] == "measured"
    assert how["source"] == f"measured on 20 images of {few}"
    assert any("A: preprocessing measured on 20 images" in n for n in report.notes)
    (m,) = (m for m in report.measurements if m.name == "input divergence")
    assert m.value is not None and m.value < USUAL and not found(report)
    assert m.conditions["model"] == "A" and m.conditions["samples"] == 20


def test_a_stated_preparation_is_replaced_in_the_open(
    copies: SimpleNamespace, few: Path, digits: Path, measured: Stub
) -> None:
    identity = identify_file(digits / "shufflenet.pth")
    measured(copies.fed["bare"])
    how = decide.decided(identity, few).image_preprocessing
    assert how is not None and how.evidence is Evidence.MEASURED
    assert how.source.endswith(", as key 'preprocess' states")
    measured(copies.fed["wide"])
    other = decide.decided(identity, few)
    assert other.image_preprocessing is not None and other.image_preprocessing.scale == 1
    (note,) = decide.note(other)
    assert "in place of what key 'preprocess' states, RGB 64x64 mean 0.31/0.31/0.31" in note
    # What is not asked for is not replaced.
    assert decide.decided(identity, few, prepare=False) is identity
    assert decide.note(identity) == ()


def test_undecided_is_exit_3(
    copies: SimpleNamespace, few: Path, measured: Stub, interop: Run
) -> None:
    model = copies.folder / "unstated.pth"
    measured(undecided(copies.fed["bare"]))
    options = BenchOptions(preprocessing=FromData.MEASURED, **QUICK)
    with pytest.raises(Unsettled) as caught:
        api.bench([model], few, options)
    assert "size: 64x64 or 32x32" in caught.value.what and caught.value.exit_code == 3
    done = interop("bench", model, "--data", few, "--preprocess", "measured", "--batch", "none")
    assert done.returncode == 3 and "cannot be measured: size: 64x64 or 32x32" in done.stderr
    assert "[preprocessing-unknown]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "unstated.pth"),
        ("export", "unstated.pth"),
        ("inspect", "unstated.pth"),
        ("check", "bare.pth", "wide.pth"),
        ("port", "bare.pth", "--to", "timm/resnet18"),
    ],
)
def test_without_data_it_is_exit_2(
    copies: SimpleNamespace, interop: Run, words: tuple[str, ...]
) -> None:
    done = interop(*words, "--preprocess", "measured", cwd=copies.folder)
    assert done.returncode == 2 and "--preprocess measured: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_network_without_batch_normalisation_is_exit_3(
    digits: Path, few: Path, interop: Run
) -> None:
    done = interop(
        "bench", digits / "squeezenet.pth", "--data", few, "--preprocess", "measured",
        "--batch", "none",
    )  # fmt: skip
    assert done.returncode == 3 and "no BatchNorm" in done.stderr


@pytest.fixture(scope="module")
def bundle(
    copies: SimpleNamespace, few: Path, tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """An export with a measured preparation."""
    out = tmp_path_factory.mktemp("bundle") / "made"
    options = ExportOptions(preprocessing=FromData.MEASURED, data=str(few))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "measure", lambda *_, **__: copies.fed["bare"])
        report = api.export(copies.folder / "unstated.pth", out, options)
    return SimpleNamespace(out=out, report=report)


def test_receipt_card_and_config_say_measured(bundle: SimpleNamespace, few: Path) -> None:
    assert bundle.report.outcome is Answer.YES
    assert bundle.report.inputs[0].facts["preprocessing"]["evidence"] == "measured"
    assert [m.name for m in bundle.report.measurements] == ["input divergence"]
    receipt = json.loads((bundle.out / "interop.json").read_text())
    assert receipt["preprocessing"]["evidence"] == "measured"
    assert any(n.startswith("preprocessing measured on 20 images") for n in receipt["notes"])
    assert "**Preprocessing** (measured) to RGB" in (bundle.out / "README.md").read_text()
    config = json.loads((bundle.out / "config.json").read_text())
    assert config["preprocess"]["evidence"] == "measured"
    how = identify_file(bundle.out).preprocessing
    assert how is not None and how.evidence is Evidence.MEASURED


def test_verify_compares_data_with_what_the_module_remembers(
    copies: SimpleNamespace, bundle: SimpleNamespace, few: Path, measured: Stub
) -> None:
    report = api.verify(bundle.out, ExportOptions(data=str(few)))
    assert report.outcome is Answer.YES and not found(report)
    assert [m.name for m in report.measurements] == ["input divergence"]
    assert not api.verify(bundle.out).measurements
    measured(copies.fed["wide"])
    options = ExportOptions(data=str(few), preprocessing=FromData.MEASURED)
    report = api.verify(bundle.out, options)
    assert report.inputs[0].facts["preprocessing"]["evidence"] == "measured"
    assert found(report), "0 to 255 is not what this module was trained on"
    with pytest.raises(ConfigError):
        api.verify(bundle.out, replace(options, data=None))


def test_verify_of_a_bundle_without_a_module_says_so(
    bundle: SimpleNamespace, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unbuilt(*_: Any, **__: Any) -> Any:
        raise ModelError("its architecture is unknown")

    monkeypatch.setattr("interop.imprint.pipeline.built", unbuilt)
    options = ExportOptions(data=str(few), preprocessing=FromData.MEASURED)
    with pytest.raises(ModelError) as caught:
        api.verify(bundle.out, options)
    assert caught.value.exit_code == 2


def test_assess_measures_each_candidate(
    copies: SimpleNamespace, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measure(identity: Identity, *_: Any, **__: Any) -> Fed:
        asked.append(Path(identity.manifest.path).stem)
        fed: Fed = copies.fed[asked[-1]]
        return fed

    monkeypatch.setattr(decide, "measure", measure)
    models = [str(copies.folder / f"{name}.pth") for name in ("bare", "wide")]
    options = AssessOptions(
        preprocessing=FromData.MEASURED, folds=2, held=0.0, seconds=0.0, samples=()
    )
    report = api.assess(models, few, options)
    assert asked == ["bare", "wide"]
    hows = [i.facts["preprocessing"] for i in report.inputs if i.role != "data"]
    assert [h["evidence"] for h in hows] == ["measured", "measured"]
    assert "scale" not in hows[0] and hows[1]["scale"] == 1
    assert sum("preprocessing measured on 20 images" in n for n in report.notes) == 2
    with pytest.raises(ConfigError, match="drawn at random"):
        api.assess([f"random:{models[0]}"], few, options)


def test_the_gate_reads_the_evidence(copies: SimpleNamespace, few: Path, measured: Stub) -> None:
    from interop.check import CheckOptions, check
    from interop.gate import gate

    measured(copies.fed["bare"])
    models = [copies.folder / f"{name}.pth" for name in ("unstated", "bare")]
    options = BenchOptions(
        preprocessing=FromData.MEASURED, labels=identify_file(models[0]).labels, **QUICK
    )
    report = api.bench(models, few, options)
    assert [i.facts["preprocessing"]["evidence"] for i in report.inputs[:2]] == ["measured"] * 2
    facts = CheckOptions(content_hash=True, labels=options.labels, preprocessing=STATED)
    checked = check(*models, facts)
    budgets = {"negative-flips": 50.0, "input-divergence": 0.02}
    for accept, outcome in (
        ((Evidence.STATED,), Answer.UNKNOWN),
        ((Evidence.STATED, Evidence.MEASURED), Answer.YES),
    ):
        made = gate(Policy(bench=True, budgets=budgets, accept=accept), [checked, report])
        assert made.outcome is outcome, made.summary
        assert ("its preprocessing is measured" in made.summary) is (outcome is Answer.UNKNOWN)
    made = gate(Policy(bench=True, budgets={"input-divergence": 1e-5}), [checked, report])
    assert made.outcome is Answer.NO and made.summary.startswith(f"{RULE}: B: these inputs")
    assert [m.name for m in made.measurements if m.name == "input divergence"]
    less = replace(report, measurements=())
    made = gate(Policy(bench=True, budgets={"input-divergence": 0.02}), [checked, less])
    assert made.outcome is Answer.UNKNOWN and "'input divergence'" in made.summary


# ---------------------------------------------------------------- data-unlike-training


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"mean": [0.0] * 3, "std": [1.0] * 3, "scale": 1.0},
    ],
)
def test_the_bench_of_a_wrong_preparation_warns_with_a_figure(
    digits: Path, few: Path, tmp_path: Path, interop: Run, wrong: dict[str, Any]
) -> None:
    stored = torch.load(digits / "shufflenet.pth", weights_only=True)
    torch.save({**stored, "preprocess": {**stored["preprocess"], **wrong}}, tmp_path / "wrong.pth")
    words = ("--data", few, "--batch", "none", "--runtime", "pytorch")
    done = interop("bench", tmp_path / "wrong.pth", *words)
    text = " ".join(done.stdout.split())
    assert done.returncode == 0 and f"warn {RULE}" in text
    assert "A: these inputs have a divergence of" in text and "at most 0.02 is usual" in text
    done = interop("bench", digits / "shufflenet.pth", *words)
    assert RULE not in done.stdout and "input divergence A pytorch" in " ".join(done.stdout.split())


def test_inspect_compares_the_stated_preparation(copies: SimpleNamespace) -> None:
    fed = replace(copies.fed["bare"], stated=0.31)
    (m,) = fed.measurements("a.pth")
    assert (m.value, m.unit, m.conditions["group"]) == (0.31, "nats", "inputs")
    assert not copies.fed["bare"].measurements("a.pth"), "this one states no preparation"


def test_only_images_of_a_network_with_statistics_are_compared(digits: Path) -> None:
    images = torch.rand(16, 3, 32, 32)
    net = torchvision.models.shufflenet_v2_x0_5(num_classes=10).eval()
    assert not divergence(net, {"x": images.numpy()}, "untrained")
    net.load_state_dict(torch.load(digits / "shufflenet.pth", weights_only=True)["state_dict"])
    (m,) = divergence(net, {"x": images.numpy()}, "A", model="A")
    assert m.value == stated_divergence(net, images)
    assert not divergence(net, {"x": images[:4].numpy()}, "too few")
    assert not divergence(net, {"x": images.double().numpy()}, "float64")
    assert not divergence(net, {"x": images[0].numpy()}, "no batch")
    assert not divergence(net, {"x": images.numpy(), "y": images.numpy()}, "two inputs")
    squeeze = torchvision.models.squeezenet1_1(num_classes=10).eval()
    assert not divergence(squeeze, {"x": images.numpy()}, "no BatchNorm")


# ---------------------------------------------------------------- which architecture


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("resnet") / "bare.pth"
    torch.save(torchvision.models.resnet18(num_classes=10).state_dict(), path)
    return path


def of_architecture(fed: Fed, standing: Standing) -> Fed:
    blurred = "timm/resnetblur18"
    answer = FedAnswer("architecture", standing, blurred, (), 71.0, 1.5)
    return replace(fed, answers=(*(a for a in fed.answers if a.question != "architecture"), answer))


def test_export_takes_the_architecture_that_the_data_decide(
    copies: SimpleNamespace, few: Path, resnet: Path, tmp_path: Path, measured: Stub
) -> None:
    options = ExportOptions(data=str(few), preprocessing=STATED)
    measured(of_architecture(copies.fed["bare"], Standing.MEASURED))
    report = api.export(resnet, tmp_path / "made", replace(options, strict=True))
    facts = report.inputs[0].facts
    assert [a["name"] for a in facts["architectures"]] == ["timm/resnetblur18"]
    assert facts["architectures"][0]["evidence"] == f"measured on 20 images of {few}"
    assert "assumed" not in facts
    card = (tmp_path / "made" / "README.md").read_text()
    assert "timm/resnetblur18 (measured on 20 images" in card
    receipt = json.loads((tmp_path / "made" / "interop.json").read_text())
    assert any(n.startswith("architecture measured on 20 images") for n in receipt["notes"])
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert config["architecture"] == "resnetblur18" and "assumed" not in config
    # A person's word counts before it.
    named = replace(options, arch="torchvision/resnet18")
    report = api.export(resnet, tmp_path / "named", named)
    assert report.inputs[0].facts["architectures"][0]["name"] == "torchvision/resnet18"


def test_where_the_data_do_not_decide_it_is_assumed_or_refused(
    copies: SimpleNamespace, few: Path, resnet: Path, tmp_path: Path, measured: Stub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    measured(of_architecture(copies.fed["bare"], Standing.UNDECIDED))
    options = ExportOptions(data=str(few), preprocessing=STATED)
    with pytest.raises(Unsettled):
        api.export(resnet, tmp_path / "strict", replace(options, strict=True))
    report = api.export(resnet, tmp_path / "made", options)
    assert report.inputs[0].facts["assumed"][0]["value"] == "torchvision/resnet18"

    def unfit(*_: Any, **__: Any) -> Fed:
        raise DataError("holds texts")

    monkeypatch.setattr(decide, "measure", unfit)
    identity = identify_file(resnet)
    assert decide.decided(identity, few, prepare=False, architecture=True) is identity
    with pytest.raises(DataError):
        decide.decided(identity, few)


# ---------------------------------------------------------------- two reports for the gate


def gated(copies: SimpleNamespace, interop: Run, candidate: str, *names: str) -> tuple[int, str]:
    policy = copies.folder / "interop.toml"
    labels = json.dumps([str(n) for n in range(10)])
    how = "{resize = [64, 64], mean = [0.31, 0.31, 0.31], std = [0.38, 0.38, 0.38]}"
    policy.write_text(f"[facts]\nlabels = {labels}\npreprocess = {how}\n")
    handed = [word for n in names for word in ("--evidence", copies.reports[n])]
    done = interop(
        "gate", copies.folder / candidate, "--baseline", copies.folder / "bare.pth",
        "--policy", policy, *handed,
    )  # fmt: skip
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def alike(copies: SimpleNamespace) -> Path:
    """The bare copy with another head's bias: it was fed alike."""
    state = torch.load(copies.folder / "bare.pth", weights_only=True)
    path: Path = copies.folder / "alike.pth"
    torch.save({**state, "fc.bias": state["fc.bias"] + 0.01}, path)
    return path


@pytest.mark.parametrize(("candidate", "code"), [("alike", 0), ("wide", 3)])
def test_bare_copies_are_told_apart_by_their_files_alone(
    copies: SimpleNamespace, interop: Run, candidate: str, code: int
) -> None:
    alike(copies)
    how = {"resize": [64, 64], "mean": [0.31] * 3, "std": [0.38] * 3}
    done = interop(
        "check", "bare.pth", f"{candidate}.pth", "--values", "--for", "replace",
        "--labels", ",".join(map(str, range(10))), "--preprocess", json.dumps(how),
        cwd=copies.folder,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert ("preprocessing-contradicts-statistics" in done.stdout) is (code == 3)


def test_a_copy_trained_on_0_to_255_fails_with_both_reports(
    copies: SimpleNamespace, interop: Run
) -> None:
    rule = "preprocessing-contradicts-statistics"
    code, text = gated(copies, interop, "wide.pth")
    assert code == 3 and f"INCONCLUSIVE {rule}" in text
    code, text = gated(copies, interop, "wide.pth", "bare", "wide")
    assert code == 1 and f"FAIL {rule}: trained on other inputs" in text
    assert f"warn {rule}" not in text, "the error stands in place of the warning"


def test_reports_of_other_files_do_not_count(copies: SimpleNamespace, interop: Run) -> None:
    alike(copies)
    code, text = gated(copies, interop, "alike.pth", "wide")
    assert code == 0 and "foreign: the report is of neither the baseline nor the" in text
    code, text = gated(copies, interop, "alike.pth", "bare")
    assert code == 0 and "only one of the two models was measured" in text


def test_a_report_of_inspect_without_data_is_refused(
    copies: SimpleNamespace, interop: Run, tmp_path: Path
) -> None:
    bare = copies.folder / "bare.pth"
    assert interop("inspect", bare, "--report", f"json:{tmp_path / 'i.json'}").returncode == 0
    done = interop("gate", bare, "--baseline", bare, "--evidence", tmp_path / "i.json")
    assert done.returncode == 2 and "--data DIR" in done.stderr
