"""A bare file that several architectures fit goes through, and says what was assumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
import torchvision

from tests.helpers.commands import here

NAME = "torchvision/resnet18"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A bare resnet18, exported with no flag."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("assumed")
    torch.save(torchvision.models.resnet18(num_classes=4).state_dict(), folder / "bare.pth")
    done = here("export", "bare.pth", "--report", "json:export.json", cwd=folder)
    return SimpleNamespace(folder=folder, done=done)


def test_the_first_try_goes_through_and_says_what_is_assumed(ran: SimpleNamespace) -> None:
    assert ran.done.returncode == 0, ran.done.stderr
    assert f"of the assumed {NAME}" in ran.done.stderr
    text = " ".join(ran.done.stdout.split())
    assert f"no file states the architecture: {NAME} is assumed; timm/resnetblur18" in text
    report = json.loads((ran.folder / "export.json").read_text())
    (finding,) = (f for f in report["findings"] if f["rule"] == "architecture-assumed")
    assert finding["level"] == "note" and finding["facts"]["others"] == ["timm/resnetblur18"]
    assert report["inputs"][0]["facts"]["assumed"][0]["value"] == NAME
    loaded = next(p for p in report["proofs"] if p["name"] == "loaded fraction")
    assert f"of the assumed {NAME}" in loaded["what"]


def test_receipt_card_and_config_say_so_and_the_bundle_states_nothing_more(
    ran: SimpleNamespace,
) -> None:
    bundle = ran.folder / "bare"
    receipt = json.loads((bundle / "interop.json").read_text())
    assert [a["value"] for a in receipt["assumed"]] == [NAME]
    assert json.loads((bundle / "config.json").read_text())["assumed"] == ["architecture"]
    assert "Assumed: no file states the architecture" in (bundle / "README.md").read_text()
    seen = here("inspect", bundle)
    assert "timm/resnetblur18" in seen.stdout, "an assumption is not a statement of the bundle's"
    again = here("verify", bundle)
    assert again.returncode == 0 and "architecture-assumed" in again.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("export", "bare.pth", "-o", "refused", "--strict"),
        ("verify", "bare", "--strict"),
        ("bench", "bare.pth", "--strict", "--batch", "1"),
        ("port", "bare.pth", "--to", "timm/resnet18", "-o", "refused", "--strict"),
        ("finetune", "bare.pth", "--data", "none", "-o", "refused", "--strict"),
        ("assess", "bare.pth", "--data", "none", "--strict"),
    ],
)
def test_strict_is_exit_3_with_nothing_written(ran: SimpleNamespace, words: Sequence[str]) -> None:
    done = here(*words, cwd=ran.folder)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1 and "[architecture-assumed]" in done.stderr
    assert not (ran.folder / "refused").exists()


def test_a_named_architecture_is_not_an_assumption(ran: SimpleNamespace) -> None:
    done = here("port", "bare.pth", "--to", "timm/resnet18", "-o", "t.safetensors",
                "--arch", NAME, "--strict", cwd=ran.folder)  # fmt: skip
    assert done.returncode == 0 and "assumed" not in done.stdout + done.stderr
    words = ("--to", "timm/resnet18", "-o", "assumed.safetensors")
    assumed = here("port", "bare.pth", *words, "--prove", cwd=ran.folder)
    assert "architecture-assumed" in assumed.stdout
    assert f"proved of the assumed {NAME}" in assumed.stderr


def test_inspect_says_which_would_be_assumed(ran: SimpleNamespace) -> None:
    seen = " ".join(here("inspect", "bare.pth", cwd=ran.folder).stdout.split())
    assert f"--arch says which; {NAME} is assumed to build one" in seen


def test_what_unpickling_the_source_would_run_is_said(ran: SimpleNamespace) -> None:
    state = torchvision.models.squeezenet1_1(num_classes=2).state_dict()
    torch.save({"state_dict": state, "x": exec}, ran.folder / "odd.pth")
    done = here("export", "odd.pth", cwd=ran.folder)
    assert done.returncode == 0, done.stderr
    assert "unpickling the source would run builtins.exec" in " ".join(done.stdout.split())


def test_check_changes_no_verdict(ran: SimpleNamespace) -> None:
    report = here("check", "bare.pth", "bare.pth", "--format", "json", cwd=ran.folder)
    document = json.loads(report.stdout)
    assert "assumed" not in document["inputs"][0]["facts"]
    assert document["inputs"][0]["summary"].startswith(f"{NAME} or timm/resnetblur18")


POLICY = """
[evidence]
export = true
[facts]
labels = ["a", "b", "c", "d"]
preprocess = { resize = [224, 224], mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }
"""


def gated(ran: SimpleNamespace, policy: str, *more: str) -> tuple[int, str]:
    (ran.folder / "interop.toml").write_text(policy)
    old = ran.folder / "old.pth"
    if not old.exists():
        torch.manual_seed(1)
        torch.save(torchvision.models.resnet18(num_classes=4).state_dict(), old)
    done = here("gate", "bare.pth", "--baseline", "old.pth", "--policy", "interop.toml", *more,
                cwd=ran.folder)  # fmt: skip
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_the_gate_refuses_evidence_that_rests_on_an_assumption(ran: SimpleNamespace) -> None:
    code, text = gated(ran, POLICY, "--evidence", "export.json")
    assert code == 3 and f"the architecture {NAME} would be an assumption" in text
    code, text = gated(ran, POLICY)
    assert code == 3 and f"the architecture {NAME} would be an assumption" in text
    accepting = POLICY.replace("true", 'true\naccept = ["stated", "measured", "assumed"]')
    code, text = gated(ran, accepting, "--evidence", "export.json")
    assert code == 0, text


def test_the_gate_makes_evidence_of_a_stated_architecture(ran: SimpleNamespace) -> None:
    code, text = gated(ran, POLICY.replace("[facts]", f'[facts]\narch = "{NAME}"'))
    assert code == 0 and "assumption" not in text, text
