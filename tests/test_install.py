"""The light install: what works there, and what says why not.

`make test-install` tries the same in an environment of its own, into which pip has installed it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import light_install
from tests.helpers.installing import asked_for
from tests.helpers.light_install import Light


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Light:
    """What holds the light install and nothing else."""
    made = light_install.installed if asked_for() else light_install.linked
    return made(tmp_path_factory.mktemp("light"))


def test_it_brings_no_torch_and_no_numpy(light: Light) -> None:
    for module in ("torch", "numpy", "onnx"):
        assert light.run(code=f"import {module}").returncode == 1
    assert "light install" in light.run("doctor").stdout


def test_files_are_checked_there(light: Light, digits: Path, derived: Path) -> None:
    shufflenet = digits / "shufflenet.pth"
    done = light.run("check", shufflenet, derived / "relabelled.pth", "--for", "replace")
    assert done.returncode == 1 and "label-order-changed" in done.stdout, done.stderr
    done = light.run("inspect", derived / "model.safetensors")
    assert done.returncode == 0 and "torchvision/shufflenet_v2_x0_5" in done.stdout
    html = light.folder / "report.html"
    done = light.run("check", shufflenet, shufflenet, "--report", f"html:{html}")
    assert done.returncode == 0 and html.stat().st_size > 1000, done.stderr
    assert light.run("explain", "key-missing").returncode == 0


def test_the_gate_judges_there_by_the_files_alone(
    light: Light, digits: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "interop.toml"
    policy.write_text("values = false\n")
    shufflenet, squeezenet = digits / "shufflenet.pth", digits / "squeezenet.pth"
    done = light.run("gate", squeezenet, "--baseline", shufflenet, "--policy", policy)
    assert done.returncode == 0, done.stderr
    policy.write_text("values = false\n[evidence]\nbench = true\n")
    done = light.run("gate", squeezenet, "--baseline", shufflenet, "--policy", policy)
    assert done.returncode == 3 and "evidence-missing" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "export {f}",
        "port {f} --to timm/resnet18 -o x.pth",
        "bench {f} --data {d}",
        "check {f} {f} --values",
    ],
)
def test_what_needs_more_says_so_in_one_line(light: Light, digits: Path, command: str) -> None:
    words = [w.format(f=digits / "base.pth", d=digits / "heldout") for w in command.split()]
    done = light.run(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert "model-interop[run]" in done.stderr and len(done.stderr.splitlines()) == 1
