"""The light install, in an environment of its own: what works there, and what says why not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment that holds the light install and nothing else."""
    folder = tmp_path_factory.mktemp("light")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "interop", source / "interop", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    commands = folder / "venv" / "bin"
    install = [commands / "python", "-m", "pip", "install", "-qq", source]
    subprocess.run(install, check=True, cwd=folder)
    return commands


def run(light: Path, *arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [light / "python", "-c", code] if code else [light / "interop", *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=light, check=False
    )


def test_it_brings_no_torch_and_no_numpy(light: Path) -> None:
    for module in ("torch", "numpy", "onnx"):
        assert run(light, code=f"import {module}").returncode == 1
    assert "light install" in run(light, "doctor").stdout


def test_files_are_checked_there(light: Path, digits: Path, derived: Path) -> None:
    shufflenet = digits / "shufflenet.pth"
    done = run(light, "check", shufflenet, derived / "relabelled.pth", "--for", "replace")
    assert done.returncode == 1 and "label-order-changed" in done.stdout, done.stderr
    done = run(light, "inspect", derived / "model.safetensors")
    assert done.returncode == 0 and "torchvision/shufflenet_v2_x0_5" in done.stdout
    html = light / "report.html"
    done = run(light, "check", shufflenet, shufflenet, "--report", f"html:{html}")
    assert done.returncode == 0 and html.stat().st_size > 1000, done.stderr
    assert run(light, "explain", "key-missing").returncode == 0


def test_the_gate_judges_there_by_the_files_alone(
    light: Path, digits: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "interop.toml"
    policy.write_text("values = false\n")
    shufflenet, squeezenet = digits / "shufflenet.pth", digits / "squeezenet.pth"
    done = run(light, "gate", squeezenet, "--baseline", shufflenet, "--policy", policy)
    assert done.returncode == 0, done.stderr
    policy.write_text("values = false\n[evidence]\nbench = true\n")
    done = run(light, "gate", squeezenet, "--baseline", shufflenet, "--policy", policy)
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
def test_what_needs_more_says_so_in_one_line(light: Path, digits: Path, command: str) -> None:
    words = [w.format(f=digits / "base.pth", d=digits / "heldout") for w in command.split()]
    done = run(light, *words)
    assert done.returncode == 2 and done.stdout == ""
    assert "model-interop[run]" in done.stderr and len(done.stderr.splitlines()) == 1
