"""`interop doctor`: what is installed here, what of it loads, and what is in conflict."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

import click

from interop.cli.output import finish, report_options
from interop.facts import Answer, Report

PACKAGES = (
    "click", "jinja2", "torch", "torchvision", "onnx", "onnxscript", "onnxruntime",
    "onnxruntime-gpu", "safetensors", "numpy", "pillow", "timm", "transformers", "scikit-learn",
)  # fmt: skip

# Each is run in a process of its own: a library that does not load may take the process with it.
_TRY_PROVIDERS = """
import json, sys
import onnxruntime as ort
try:
    import torch
except Exception:
    torch = None
ort.set_default_logger_severity(4)
from onnx import TensorProto, helper
node = helper.make_node("Add", ["x", "x"], ["y"])
ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
graph = helper.make_graph([node], "g", ports[:1], ports[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
found = {}
for name in ort.get_available_providers():
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=[name])
        found[name] = name in session.get_providers()
    except Exception as error:
        found[name] = str(error).strip().splitlines()[0][:200]
cuda = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
print()
print(json.dumps({"providers": found, "gpu": cuda}))
"""
_TRY_TORCHVISION = "import torchvision.ops; torchvision.ops.nms"


@click.command(
    name="doctor",
    epilog="""\b
Example:
  interop doctor

Exit code 1 where something is in conflict; each line says the fix.""",
)
@report_options
def command(form: str, reports: tuple[str, ...]) -> None:
    """Print versions, the execution providers that really load, and conflicts."""
    found = {name: there for name in PACKAGES if (there := _version(name))}
    problems = conflicts(found)
    providers: dict[str, Any] = {}
    gpu = None
    if {"onnx", "numpy"} <= found.keys() and {"onnxruntime", "onnxruntime-gpu"} & found.keys():
        tried = _try(_TRY_PROVIDERS)
        if tried.returncode == 0:
            import json

            # The libraries below write lines of their own to stdout; the answer is the last.
            answer = json.loads(tried.stdout.splitlines()[-1])
            providers, gpu = answer["providers"], answer["gpu"]
        else:
            problems.append(
                [
                    "onnxruntime does not load: " + _last_line(tried),
                    "install it again in a new venv",
                ]
            )
        if gpu and providers.get("CUDAExecutionProvider") is not True:
            problems.append(
                [
                    "there is a GPU, and ONNX Runtime does not run on it",
                    "pip install onnxruntime-gpu of the CUDA version of torch; see its load error",
                ]
            )
    if {"torch", "torchvision"} <= found.keys():
        tried = _try(_TRY_TORCHVISION)
        if tried.returncode != 0:
            problems.append(
                [
                    f"torchvision does not load: {_last_line(tried)}",
                    "pip install --upgrade torch torchvision (together, so that they fit)",
                ]
            )
    count = len(problems)
    report = Report(
        command="doctor",
        outcome=Answer.NO if problems else Answer.YES,
        summary=f"{count} problem{'s' * (count != 1)}" if problems else "no conflicts",
        details={
            "packages": found,
            "providers": providers,
            "gpu": gpu,
            "problems": problems,
            "run": "torch" in found,
        },
    )
    finish(report, form, reports)


def conflicts(found: dict[str, str]) -> list[list[str]]:
    """What can be told from versions alone: each problem with its fix."""
    problems = []
    if {"onnxruntime", "onnxruntime-gpu"} <= found.keys():
        problems.append(
            [
                "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
                "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
            ]
        )
    if {"torch", "torchvision"} <= found.keys():
        wanted = _pinned_torch()
        have = found["torch"].partition("+")[0]
        if wanted and wanted != have:
            problems.append(
                [
                    f"torchvision {found['torchvision']} was built for torch {wanted}, "
                    f"torch {have} is installed",
                    "pip install --upgrade torch torchvision (together, so that they fit)",
                ]
            )
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


def _try(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {done.returncode}"
