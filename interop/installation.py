"""What is installed here, what of it loads, and what is in conflict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

from interop.facts import Answer, Report
from interop.facts.sections.doctor import DoctorSection

PACKAGES = (
    "click", "jinja2", "torch", "torchvision", "onnx", "onnxscript", "onnxruntime",
    "onnxruntime-gpu", "safetensors", "numpy", "pillow", "timm", "transformers", "scikit-learn",
    "peft", "openvino", "onnxconverter-common", "torchaudio", "h5py", "fsspec", "s3fs",
    "huggingface_hub", "soundfile", "pyarrow", "datasets",
)  # fmt: skip

# Each is tried in a process of its own: a library that does not load may take the process with it.
_TRY_PROVIDERS = ("-m", "interop.runtimes.probe")
_TRY_TORCHVISION = ("-c", "import torchvision.ops; torchvision.ops.nms")


def doctor() -> Report:
    """Versions, the execution providers that really load, and conflicts (NO where one is)."""
    versions = {name: there for name in PACKAGES if (there := _version(name))}
    problems = conflicts(versions)
    providers: dict[str, Any] = {}
    gpu = None
    runtimes = {"onnxruntime", "onnxruntime-gpu"} & versions.keys()
    if {"onnx", "numpy"} <= versions.keys() and runtimes:
        tried = _try(_TRY_PROVIDERS)
        if tried.returncode == 0:
            # The libraries below write lines of their own to stdout; the answer is the last.
            answer = json.loads(tried.stdout.splitlines()[-1])
            providers, gpu = answer["providers"], answer["gpu"]
        else:
            what = "onnxruntime does not load: " + _last_line(tried)
            fix = "install it again in a new venv"
            problems.append((what, fix))
        if gpu and providers.get("CUDAExecutionProvider") is not True:
            what = "there is a GPU, and ONNX Runtime does not run on it"
            fix = "pip install onnxruntime-gpu of the CUDA version of torch; see its load error"
            problems.append((what, fix))
    if {"torch", "torchvision"} <= versions.keys():
        tried = _try(_TRY_TORCHVISION)
        if tried.returncode != 0:
            what = f"torchvision does not load: {_last_line(tried)}"
            fix = "pip install --upgrade torch torchvision (together, so that they fit)"
            problems.append((what, fix))
    count = len(problems)
    return Report(
        command="doctor",
        outcome=Answer.NO if problems else Answer.YES,
        summary=f"{count} problem{'s' * (count != 1)}" if problems else "no conflicts",
        details=DoctorSection(
            packages=versions,
            providers=providers,
            gpu=gpu,
            problems=tuple(problems),
            run="torch" in versions,
        ),
    )


def conflicts(found: dict[str, str]) -> list[tuple[str, str]]:
    """What can be told from versions alone: each problem with its fix."""
    problems = []
    if {"onnxruntime", "onnxruntime-gpu"} <= found.keys():
        what = "onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
        fix = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        problems.append((what, fix))
    if {"torch", "torchvision"} <= found.keys():
        wanted = _pinned_torch()
        have = found["torch"].partition("+")[0]
        if wanted and wanted != have:
            what = (
                f"torchvision {found['torchvision']} was built for torch {wanted}, "
                f"torch {have} is installed"
            )
            fix = "pip install --upgrade torch torchvision (together, so that they fit)"
            problems.append((what, fix))
    return problems


def _pinned_torch() -> str | None:
    """The one torch version that the installed torchvision asks for."""
    for needed in distribution("torchvision").requires or ():
        name, _, wanted = needed.partition("==")
        if name.strip() == "torch" and wanted:
            return wanted.partition(";")[0].strip()
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _try(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {done.returncode}"
