"""TorchScript and .pt2 files run their own program; what that runs is said first."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Danger
from interop.identity import identify_file
from interop.models import built, would_run
from interop.models.programs import signature
from interop.reading import read
from tests.helpers.commands import here

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    """Convolution and batch normalisation, and a loop that a trace would fix."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(image))
        for _ in range(image.size(0)):
            x = torch.relu(x) + 0.5
        return self.head(x.mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    made = Net().eval()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.normal_(part.running_mean)
    return made


def scripted(tmp_path: Path, module: nn.Module | None = None) -> Path:
    torch.jit.script(module or net()).save(str(tmp_path / "script.pt"))
    return tmp_path / "script.pt"


def exported(tmp_path: Path, module: nn.Module | None = None) -> Path:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    given = (torch.zeros(3, 3, 12, 12),)
    module = module or nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    torch.export.save(
        torch.export.export(module, given, dynamic_shapes=shapes), tmp_path / "program.pt2"
    )
    return tmp_path / "program.pt2"


def answer(bundle: Path, array: Any) -> Any:
    session = onnxruntime.InferenceSession(
        bundle / "model.onnx", providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def test_a_scripted_program_is_exported_from_itself_once_it_is_trusted(tmp_path: Path) -> None:
    path = scripted(tmp_path)
    refused = here("export", path, "-o", tmp_path / "out")
    assert refused.returncode == 2 and "pass --trust" in refused.stderr
    assert not (tmp_path / "out").exists()
    size = "--input", "image=float32(batch,3,16,16)"
    done = here("export", path, "--trust", "-o", tmp_path / "out", *size)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "script.pt runs: its TorchScript program" in done.stderr
    image = np.random.default_rng(0).standard_normal((3, 3, 16, 16), dtype=np.float32)
    native = net()(torch.from_numpy(image)).detach().numpy()
    assert np.abs(answer(tmp_path / "out", image) - native).max() < 1e-5, "the loop is a loop"
    receipt = json.loads((tmp_path / "out" / "interop.json").read_text())
    same = next(p for p in receipt["proofs"] if p["name"] == "same weights")
    assert re.match(r"8 initialisers", same["what"]), "batch normalisation is not folded"


@pytest.mark.parametrize("module", [nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(),
                                                  nn.Linear(2 * 26 * 26, 3))])  # fmt: skip
def test_a_size_that_the_layers_fix_is_not_an_assumption(module: nn.Module, tmp_path: Path) -> None:
    done = here("export", scripted(tmp_path, module.eval()), "--trust", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fixed at 28" in done.stdout and "input-assumed" not in done.stdout


def test_a_size_that_nothing_fixes_is_assumed_in_the_open(tmp_path: Path) -> None:
    layers = (
        nn.Conv2d(3, 4, 7, 4),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    module = nn.Sequential(*layers, nn.Linear(4, 2)).eval()
    path = scripted(tmp_path, module)
    done = here("export", path, "--trust", "-o", tmp_path / "out")
    assert done.returncode == 0 and "input-assumed" in done.stdout
    assert "float32 (batch, 3, 224, 224) is assumed" in " ".join(done.stdout.split())
    receipt = json.loads((tmp_path / "out" / "interop.json").read_text())
    assert receipt["assumed"][0]["fact"] == "input size"
    strict = here("export", path, "--trust", "--strict", "-o", tmp_path / "no")
    assert strict.returncode == 3 and "[input-assumed]" in strict.stderr
    assert not (tmp_path / "no").exists()


def test_bench_takes_trust_as_well(tmp_path: Path) -> None:
    path = scripted(tmp_path)
    asked = "--batch", "1", "--seconds", "0.05", "--input", "image=float32(batch,3,16,16)"
    refused = here("bench", path, *asked)
    assert refused.returncode == 2 and "pass --trust" in refused.stderr
    done = here("bench", path, "--trust", *asked)
    assert done.returncode in (0, 3) and "A onnxruntime" in done.stdout, done.stderr


def test_a_torchscript_archive_needs_no_code_but_its_own(tmp_path: Path) -> None:
    seen = here("inspect", scripted(tmp_path))
    assert "checkpoint-holds-code" not in seen.stdout and seen.returncode == 0
    assert "its own TorchScript" in seen.stdout


def test_an_enumeration_in_torchscript_is_no_alarm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("vit_tiny_patch16_224", num_classes=2).eval()
    path = scripted(tmp_path, module)
    assert Danger.UNSAFE not in {i.danger for i in read(path).imports}


def test_an_exported_program_runs_as_it_is_and_says_what_it_takes(tmp_path: Path) -> None:
    path = exported(tmp_path)
    identity = identify_file(path)
    assert would_run(identity) == ()
    module, proof, _ = built(identity)
    takes = signature(identity, module)
    assert takes is not None and str(takes) == "float32 (batch, 3, 12, 12)" and proof.holds
    done = here("export", path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr


def tampered(path: Path, old: str, new: str) -> Path:
    """The program with a text of its JSON replaced."""
    out = path.with_name("tampered.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("models/model.json"):
                assert old in content.decode(), content[:400]
                content = content.decode().replace(old, new).encode()
            target.writestr(entry.filename, content)
    return out


def test_a_target_that_is_no_operator_needs_trust(tmp_path: Path) -> None:
    path = tampered(exported(tmp_path), "torch.ops.aten.relu.default", "torch.hub.load")
    code = [str(i) for i in read(path).imports if i.danger == Danger.CODE]
    assert code == ["torch.hub.load"]
    with pytest.raises(ModelError, match=r"it would run torch.hub.load.*--trust"):
        built(identify_file(path))


def test_an_expression_that_is_no_arithmetic_is_unsafe(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hostile = f"__import__('pathlib').Path('{marker}').touch()"
    path = exported(tmp_path)
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("models/model.json"))
        text = archive.read(name).decode()
    expression = re.search(r'"expr_str": ?"((?:[^"\\]|\\.)*)"', text)
    assert expression is not None
    path = tampered(path, expression[1], hostile)
    assert Danger.UNSAFE in {i.danger for i in read(path).imports}
    for trust in (False, True):
        with pytest.raises(ModelError, match="sympify"):
            built(identify_file(path), trust=trust)
    assert not marker.exists()
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(path)
    assert marker.exists(), "the reader of torch runs it"


def test_a_program_that_torch_cannot_open_is_one_line(tmp_path: Path) -> None:
    path = scripted(tmp_path)
    out = tmp_path / "broken.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            code = entry.filename.endswith(".py")
            target.writestr(entry.filename, b"def f(:" if code else source.read(entry))
    done = here("export", out, "--trust", "-o", tmp_path / "out")
    assert done.returncode == 2 and "torch cannot open the TorchScript program" in done.stderr


def test_verify_runs_the_program_again_if_it_is_trusted(tmp_path: Path) -> None:
    size = "--input", "image=float32(batch,3,16,16)"
    path = scripted(tmp_path)
    assert here("export", path, "--trust", "-o", tmp_path / "out", *size).returncode == 0
    without = here("verify", tmp_path / "out")
    assert without.returncode == 3 and "recorded answers" in without.stdout
    done = here("verify", tmp_path / "out", "--trust")
    assert done.returncode == 0 and "6 of 6 proofs hold" in done.stderr, done.stderr
    path.write_bytes(path.read_bytes() + b"\0")
    assert here("verify", tmp_path / "out", "--trust").returncode == 3, "another file is not run"


def test_a_frozen_program_is_refused_with_the_reason(tmp_path: Path) -> None:
    frozen = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()))
    frozen.save(str(tmp_path / "frozen.pt"))
    done = here("export", tmp_path / "frozen.pt", "--trust", "-o", tmp_path / "out")
    assert done.returncode == 2 and "torch.jit.freeze" in done.stderr
    assert done.stderr.count(str(tmp_path)) == 2, "named as it was given, and nothing temporary"


def test_a_program_that_takes_a_dict_is_refused_with_the_reason(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layer(batch["x"])

    program = torch.export.export(Net(), ({"x": torch.ones(2, 3)},))
    torch.export.save(program, tmp_path / "dict.pt2")
    done = here("export", tmp_path / "dict.pt2", "-o", tmp_path / "out")
    assert done.returncode == 2 and "takes more than tensors" in done.stderr
