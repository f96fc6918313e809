"""The three verdicts, on real checkpoints in the forms in which people have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Intent, Level, Report
from interop.identity import metadata

Verdicts = tuple[str, str, str]


def verdicts(report: Report) -> Verdicts:
    reload, transfer, replace = (str(v.answer) for v in report.verdicts)
    return reload, transfer, replace


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


CONVERTED = ("wrapper-changed", "weights-unchanged-from-base")


@pytest.mark.parametrize(
    ("b", "wanted", "found"),
    [
        ("retrained.pth", ("yes", "yes", "yes"), set()),
        ("five-classes.pth", ("no", "yes", "no"), {"head-width-changed", "label-count-mismatch"}),
        ("relabelled.pth", ("yes", "yes", "no"), {"label-order-changed"}),
        ("training.pth", ("no", "yes", "yes"), {"wrapper-changed", "key-prefix-shifted"}),
        ("half.pth", ("yes", "yes", "yes"), {"tensor-dtype-narrowed"}),
        ("nan.pth", ("no", "no", "no"), {"tensor-not-finite"}),
        ("mlp-head.pth", ("no", "yes", "yes"), {"key-missing", "key-unexpected"}),
        ("model.safetensors", ("no", "yes", "yes"), {*CONVERTED, "container-changed"}),
        (
            "plain.pth",
            ("no", "yes", "unknown"),
            {*CONVERTED, "labels-unknown", "preprocessing-unknown"},
        ),
    ],
)
def test_what_can_become_of_one_model(
    digits: Path, derived: Path, b: str, wanted: Verdicts, found: set[str]
) -> None:
    report = check(digits / "shufflenet.pth", derived / b, CheckOptions(values=True))
    assert verdicts(report) == wanted
    assert rules(report) == found


def test_another_backbone_can_replace_but_not_reload(digits: Path) -> None:
    report = check(
        digits / "shufflenet.pth", digits / "squeezenet.pth", CheckOptions(intent=Intent.REPLACE)
    )
    assert verdicts(report) == ("no", "no", "yes")
    assert "backbone-mismatch" in rules(report)
    assert report.exit_code == 0


def test_the_trap_of_strict_false(digits: Path, derived: Path) -> None:
    """What `strict=False` accepts without a word is a plain no, with the figure."""
    report = check(
        digits / "shufflenet.pth", digits / "autoencoder.pth", CheckOptions(intent=Intent.TRANSFER)
    )
    low = next(f for f in report.findings if f.rule == "loaded-fraction-low")
    assert low.facts["tensors"] == 0 and low.facts["bytes"] == 0 and low.facts["of"] == 280
    assert report.exit_code == 1
    # The very recipe, to show that torch says nothing: no error, and not one tensor is loaded.
    from fixtures.make import shufflenet

    net = shufflenet(10)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(torch.load(digits / "autoencoder.pth", weights_only=True), strict=False)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_the_base_can_start_the_fine_tuned_one(digits: Path) -> None:
    report = check(
        digits / "shufflenet.pth", digits / "base.pth", CheckOptions(intent=Intent.TRANSFER)
    )
    assert verdicts(report) == ("no", "yes", "no")
    assert report.exit_code == 0
    assert "280 of 280 backbone tensors" in report.summary


@pytest.mark.parametrize("a", ["plain.pth", "legacy.pth", "model.safetensors"])
@pytest.mark.parametrize("b", ["plain.pth", "legacy.pth", "model.safetensors"])
def test_any_pair_of_containers_is_the_same_state_dict(derived: Path, a: str, b: str) -> None:
    report = check(derived / a, derived / b)
    assert verdicts(report)[:2] == ("yes", "yes")
    assert ("container-changed" in rules(report)) == (a != b)


def test_onnx_is_held_against_a_checkpoint_by_its_initialisers(
    digits: Path, tmp_path: Path
) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    state = torch.load(digits / "shufflenet.pth", weights_only=True)["state_dict"]
    kept = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1024])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    node = helper.make_node("Gemm", ["image", "fc.weight", "fc.bias"], ["logits"], transB=1)
    tensors = [numpy_helper.from_array(v.numpy(), k) for k, v in kept.items()]
    graph = helper.make_graph([node], "head", [image], [logits], tensors)
    save(helper.make_model(graph, ir_version=10), tmp_path / "model.onnx")
    report = check(digits / "shufflenet.pth", tmp_path / "model.onnx")
    # All weights are there under their names; what loads a state dict does not read a graph.
    assert verdicts(report) == ("n/a", "yes", "unknown")
    assert not {"key-missing", "loaded-fraction-low"} & rules(report)


def test_reload_of_a_graph_without_names_has_no_meaning(digits: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    save(helper.make_model(graph, ir_version=10), tmp_path / "relu.onnx")
    report = check(digits / "shufflenet.pth", tmp_path / "relu.onnx")
    assert verdicts(report) == ("n/a", "n/a", "no")
    assert report.exit_code == 3


def test_facts_that_a_person_gives_count_where_the_files_are_silent(
    digits: Path, derived: Path
) -> None:
    given = {
        "labels": metadata.read_labels("zero,one,two,three,four,five,six,seven,eight,nine"),
        "preprocessing": metadata.read_preprocessing(
            '{"resize": [64, 64], "mean": [0.31, 0.31, 0.31], "std": [0.38, 0.38, 0.38]}'
        ),
    }
    report = check(digits / "shufflenet.pth", derived / "plain.pth", CheckOptions(**given))
    assert verdicts(report) == ("no", "yes", "yes")
    # What a file states itself is not overruled.
    other = {"labels": metadata.read_labels("a,b,c,d,e,f,g,h,i,j")}
    report = check(digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(**other))
    assert "label-order-changed" in rules(report)


def test_a_model_without_labels_by_nature(digits: Path) -> None:
    one = {
        "labels": metadata.read_labels("none"),
        "preprocessing": metadata.read_preprocessing(
            '{"resize": [64, 64], "mean": [0, 0, 0], "std": [1, 1, 1]}'
        ),
    }
    report = check(digits / "autoencoder.pth", digits / "autoencoder.pth", CheckOptions(**one))
    assert verdicts(report) == ("yes", "yes", "yes")
    assert "no labels by nature" in report.verdicts[2].why


def test_a_hostile_file_is_named_and_never_run(
    derived: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for a, b in (("shufflenet.pth", "hostile.pth"), ("hostile.pth", "shufflenet.pth")):
        folders = {"shufflenet.pth": digits, "hostile.pth": derived}
        report = check(
            folders[a] / a, folders[b] / b, CheckOptions(intent=Intent.REPLACE, values=True)
        )
        assert verdicts(report) == ("no", "no", "no")
        unsafe = report.findings[0]
        assert unsafe.rule == "pickle-unsafe-global", "the gravest comes first"
        assert "system" in unsafe.what and unsafe.level is Level.ERROR
    assert list(tmp_path.iterdir()) == []


def test_levels_of_a_policy_change_the_answer(digits: Path, derived: Path) -> None:
    levels = {"wrapper-changed": Level.WARN, "key-prefix-shifted": Level.OFF}
    report = check(digits / "shufflenet.pth", derived / "training.pth", CheckOptions(levels=levels))
    assert report.outcome is Answer.YES
    assert rules(report) == {"wrapper-changed"}


def saved(folder: Path, value: object) -> Path:
    torch.save(value, folder / "b.pth")
    return folder / "b.pth"


def test_what_cannot_be_served_is_not_called_a_replacement(digits: Path, tmp_path: Path) -> None:
    a = digits / "shufflenet.pth"
    good = torch.load(a, weights_only=True)
    state = good["state_dict"]
    int8 = {k: v.to(torch.int8) if v.is_floating_point() else v for k, v in state.items()}
    int64 = {k: v.to(torch.int64) for k, v in state.items()}
    meta = {k: v.to("meta") for k, v in state.items()}
    sparse = {**state, "fc.weight": state["fc.weight"].to_sparse()}
    grey = {**good["preprocess"], "color": "L", "mean": [0.5], "std": [0.5]}
    for change, rule in (
        ({"state_dict": int8}, "tensor-dtype-narrowed"),
        ({"state_dict": int64}, "tensor-dtype-narrowed"),
        ({"state_dict": meta}, "tensor-without-values"),
        ({"state_dict": sparse}, "tensor-layout-changed"),
        ({"preprocess": grey}, "preprocessing-misfit"),
    ):
        report = check(a, saved(tmp_path, {**good, **change}), CheckOptions(intent="replace"))
        assert report.outcome is Answer.NO and rule in rules(report), rule


def test_a_vision_transformer_takes_one_size(tmp_path: Path) -> None:
    from fixtures.pairs import torchvision_shapes

    how = {"resize": [64, 64], "mean": [0, 0, 0], "std": [1, 1, 1]}
    state = torchvision_shapes("vit_b_32")
    path = saved(tmp_path, {"state_dict": state, "preprocess": how})
    assert "preprocessing-misfit" in rules(check(path, path))
    how["resize"] = [224, 224]
    path = saved(tmp_path, {"state_dict": state, "preprocess": how})
    assert "preprocessing-misfit" not in rules(check(path, path))


def test_labels_that_contradict_each_other_are_unknown(digits: Path, tmp_path: Path) -> None:
    good = torch.load(digits / "shufflenet.pth", weights_only=True)
    other = {n: i for i, n in enumerate(sorted(good["labels"]))}
    path = saved(tmp_path, {**good, "class_to_idx": other})
    report = check(digits / "shufflenet.pth", path, CheckOptions(intent="replace"))
    assert report.outcome is Answer.UNKNOWN
    assert "key 'labels' and key 'class_to_idx' disagree" in report.summary


def test_an_empty_state_dict_is_the_trap_too(digits: Path, tmp_path: Path) -> None:
    report = check(digits / "shufflenet.pth", saved(tmp_path, {}), CheckOptions(intent="transfer"))
    assert verdicts(report)[:2] == ("no", "no")
    assert report.exit_code == 1


def test_counters_that_torch_fills_in_are_not_missed(derived: Path, tmp_path: Path) -> None:
    state = torch.load(derived / "plain.pth", weights_only=True)
    bare = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    from fixtures.make import shufflenet

    shufflenet(10).load_state_dict(bare, strict=True)
    report = check(derived / "plain.pth", saved(tmp_path, bare))
    assert report.outcome is Answer.YES and "which torch fills in" in report.summary


def test_an_averaged_model_is_known_by_its_module(digits: Path, tmp_path: Path) -> None:
    from fixtures.make import shufflenet

    averaged = torch.optim.swa_utils.AveragedModel(shufflenet(10)).state_dict()
    report = check(
        digits / "shufflenet.pth", saved(tmp_path, averaged), CheckOptions(intent="transfer")
    )
    assert report.outcome is Answer.YES


def test_what_weights_only_refuses_does_not_reload(digits: Path, tmp_path: Path) -> None:
    import argparse

    good = torch.load(digits / "shufflenet.pth", weights_only=True)
    path = saved(tmp_path, {**good, "args": argparse.Namespace(rate=0.1)})
    report = check(digits / "shufflenet.pth", path)
    assert verdicts(report) == ("no", "yes", "yes")
    assert "weights-only-refused" in rules(report)
    # Where A needs the same leave, its code gives it.
    assert check(path, path).outcome is Answer.YES


def test_a_torchscript_archive_is_no_state_dict(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    torch.save(net.state_dict(), tmp_path / "a.pth")
    torch.jit.trace(net, torch.zeros(1, 4)).save(str(tmp_path / "b.pt"))
    assert verdicts(check(tmp_path / "a.pth", tmp_path / "b.pt"))[0] == "no"
