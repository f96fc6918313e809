"""Heads of different backbones: do they fit, do they mean the same, have classes changed places?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from interop.check import check
from interop.check.options import CheckOptions
from interop.facts import Answer, Intent

resnet18, resnet34 = torchvision.models.resnet18, torchvision.models.resnet34


def trained(build: object = resnet18, seed: int = 0, **options: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    assert callable(build)
    return dict(build(num_classes=6, **options).state_dict())


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


def retrained(state: dict[str, torch.Tensor], order: list[int]) -> dict[str, torch.Tensor]:
    """As fine-tuning leaves it: every weight a little moved, the classes in another order."""
    torch.manual_seed(9)
    moved = {
        n: v + 0.1 * v.std() * torch.randn_like(v) if v.ndim > 1 else v for n, v in state.items()
    }
    return {**moved, "fc.weight": moved["fc.weight"][order], "fc.bias": moved["fc.bias"][order]}


ORDER = [2, 0, 1, 3, 5, 4]


def test_rows_that_changed_places_are_a_suspicion_with_its_evidence(tmp_path: Path) -> None:
    state = trained()
    a = saved(tmp_path / "a.pth", state)
    b = saved(tmp_path / "b.pth", retrained(state, ORDER))
    report = check(a, b, CheckOptions(intent=Intent.REPLACE, values=True))
    (found,) = [f for f in report.findings if f.rule == "label-order-changed"]
    assert found.what.startswith("suspected: 5 of 6 rows of the head have changed places")
    assert [ORDER[j] for j in found.facts["order"]] == list(range(6))
    assert report.outcome is Answer.UNKNOWN
    rows = report.details.heads.rows
    assert rows.matched > 0.9 > 0.5 > rows.in_place


def test_rows_in_their_places_raise_none_and_are_said_to_be_there(tmp_path: Path) -> None:
    state = trained()
    a = saved(tmp_path / "a.pth", state)
    b = saved(tmp_path / "b.pth", retrained(state, list(range(6))))
    report = check(a, b, CheckOptions(values=True))
    assert "label-order-changed" not in {f.rule for f in report.findings}
    assert report.details.heads.rows.order == tuple(range(6))


@pytest.mark.parametrize("build", [resnet18, resnet34])
def test_other_features_tell_nothing_of_rows(tmp_path: Path, build: object) -> None:
    """Heads trained anew (resnet18), or on another backbone (resnet34), have nothing to compare."""
    a = saved(tmp_path / "a.pth", trained())
    b = saved(tmp_path / "b.pth", trained(build, seed=5))
    report = check(a, b, CheckOptions(values=True))
    assert report.details.heads.rows is None
    assert "label-order-changed" not in {f.rule for f in report.findings}


def test_labels_that_are_named_are_not_suspected(tmp_path: Path) -> None:
    state = trained()
    names = list("abcdef")
    torch.save({"state_dict": state, "labels": names}, tmp_path / "a.pth")
    torch.save({"state_dict": retrained(state, ORDER), "labels": names}, tmp_path / "b.pth")
    report = check(tmp_path / "a.pth", tmp_path / "b.pth", CheckOptions(values=True))
    assert "label-order-changed" not in {f.rule for f in report.findings}


@pytest.mark.parametrize(
    ("build", "fits", "why"),
    [
        (resnet34, "yes", "both take 512 features, pooled"),
        (torchvision.models.resnet50, "no", "A's backbone gives 512 features, B's head takes 2048"),
        (torchvision.models.squeezenet1_1, "no", "A's head is given pooled, B's of a feature map"),
    ],
)
def test_a_head_fits_another_backbone_by_width_and_pooling(
    tmp_path: Path, build: object, fits: str, why: str
) -> None:
    a = saved(tmp_path / "a.pth", trained())
    b = saved(tmp_path / "b.pth", trained(build))
    heads = check(a, b).details.heads
    assert (heads.fits, heads.why) == (fits, why)


def test_label_spaces_are_compared_as_sets(tmp_path: Path) -> None:
    state = trained()
    torch.save({"state_dict": state, "labels": list("abcdef")}, tmp_path / "a.pth")
    for names, said in (
        ("abcdef", ("yes", "6 labels in the same order")),
        ("bacdef", ("no", "the same labels in another order")),
        ("abcxyz", ("no", "3 of A's 6 labels are among B's 6")),
    ):
        torch.save({"state_dict": state, "labels": list(names)}, tmp_path / "b.pth")
        heads = check(tmp_path / "a.pth", tmp_path / "b.pth").details.heads
        assert (heads.labels, heads.labels_why) == said


def test_an_auxiliary_head_of_another_width_does_not_keep_from_transferring(tmp_path):
    """A fine-tuned Inception has other classes in its side branch too."""
    import torch
    from torchvision.models import get_model

    from interop.check import check

    for count in (20, 10):
        module = get_model("googlenet", weights=None, num_classes=count, init_weights=False,
                           aux_logits=True)  # fmt: skip
        torch.save(module.state_dict(), tmp_path / f"{count}.pth")
    report = check(tmp_path / "20.pth", tmp_path / "10.pth", CheckOptions(intent="transfer"))
    assert report.exit_code == 0, report.summary
    changed = torch.load(tmp_path / "10.pth", weights_only=True)
    changed["aux1.conv.conv.weight"] = torch.zeros(64, 512, 1, 1)  # no head: a layer before it
    torch.save(changed, tmp_path / "changed.pth")
    report = check(tmp_path / "20.pth", tmp_path / "changed.pth", CheckOptions(intent="transfer"))
    assert report.exit_code != 0


def test_a_second_head_of_another_width_is_found(tmp_path: Path) -> None:
    """LeViT's two heads are averaged: one of another width than the other answers nothing."""
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        state = timm.create_model("levit_128s").state_dict()
    state = {n: torch.zeros(()).expand(v.shape) for n, v in state.items()}
    torch.save(state, tmp_path / "a.pth")
    for ending, shape in (("weight", (9, 384)), ("bias", (9,))):
        state[f"head_dist.linear.{ending}"] = torch.zeros(()).expand(shape)
    torch.save(state, tmp_path / "b.pth")
    report = check(tmp_path / "a.pth", tmp_path / "b.pth")
    found = [f.what for f in report.findings if f.rule == "label-count-mismatch"]
    assert found == ["1000 outputs of head_dist.linear became 9"]
    same = check(tmp_path / "a.pth", tmp_path / "a.pth")
    assert not [f for f in same.findings if f.rule == "label-count-mismatch"]
