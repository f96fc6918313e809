"""What an export costs against what else there is -> CPU time, memory and bytes, in one run.

    python -m benchmarks.export_vs_peers [MODEL ...] [--repeats N] [--optimum PYTHON]

Every measurement is a whole process with one thread, from its start to its exit, on random weights
saved in a checkpoint. Side by side, in turns: `interop`, the command with its five proofs; `bare`,
torch.onnx.export(module, args, file, dynamo=True) with its defaults; `verified`, the same with
verify=True, report=True; for timm's resnet50 `timm.utils.onnx.onnx_export`, which is all of timm's
export script that its package has, with the script's defaults (TorchScript, one image, the full
check) and by torch's newer exporter; for BERT transformers' own exporter, and `optimum-cli export
onnx` with its defaults and its validation. optimum-onnx asks for an older transformers, so it runs
under an interpreter of its own (`--optimum`, made with `pip install "optimum-onnx[onnxruntime]"`);
without one that row is left out.

CPU seconds hold child processes. Peak memory is the kernel's high-water mark of resident bytes:
pages of the mapped checkpoint count. `libraries` is a process that imports what the export needs
and ends: its peak is the libraries' own. Exit 1 where a goal is missed; each is in the result
beside its figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import ROOT, cost, machine, store

SIZE = 224
MEMORY_GOAL = 2.0, 300_000_000  # times the weights, and bytes beside
BYTES_GOAL = 1.02
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "onnx-ir",
            "onnxruntime-gpu", "numpy")  # fmt: skip
PEER_PACKAGES = ("optimum-onnx", "optimum", "torch", "transformers", "onnx", "onnxruntime")
Worker = Callable[[str, Path, Path], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, who exports it, and the most that `interop` may cost to each of them (None: it is
    told without a goal). `once` is for a model of which one run is enough."""

    peers: Mapping[str, float | None]
    once: bool = False


TORCH = {"bare": None, "verified": 0.8}
CASES = {
    "resnet18": Case(TORCH),
    "vit_b_16": Case(TORCH),
    "swin_t": Case(TORCH),
    "timm/resnet50": Case({"timm": 1.0, "timm, dynamo": 0.7}),
    "bert-base": Case({"transformers": 0.9, "optimum": 0.9}),
    "bert-large": Case({}, once=True),
    "bert-4GB": Case({}, once=True),
}
BERTS: dict[str, dict[str, Any]] = {
    "bert-base": {},
    "bert-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                   "intermediate_size": 4096},
    "bert-4GB": {"hidden_size": 2048, "num_hidden_layers": 20, "num_attention_heads": 16,
                 "intermediate_size": 8192},
}  # fmt: skip


# ---------------------------------------------------------------- one measurement: a process


def make(name: str, path: Path, _: Path) -> dict[str, Any]:
    """Writes the checkpoint of a random module; gives the bytes of its weights."""
    import torch

    torch.manual_seed(0)
    if name in BERTS:
        from transformers import BertConfig, BertForSequenceClassification

        module = BertForSequenceClassification(BertConfig(**BERTS[name]))
        module.save_pretrained(path)
    else:
        module = _module(name)
        for parameter in module.parameters():
            if not parameter.any():  # a head of zeros answers the same to whatever it is given
                torch.nn.init.normal_(parameter, std=0.02)
        torch.save(module.state_dict(), path)
    return {"weights_bytes": sum(t.nbytes for t in module.state_dict().values())}


def libraries(name: str, path: Path, folder: Path) -> None:
    """What an export loads sooner or later, and nothing more."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    if name in BERTS:
        import transformers.models.bert.modeling_bert  # noqa: F401
    elif name.startswith("timm/"):
        import timm  # noqa: F401
    else:
        import torchvision  # noqa: F401


def bare(name: str, path: Path, folder: Path) -> None:
    """torch's exporter as people call it."""
    _torch(name, path, folder)


def verified(name: str, path: Path, folder: Path) -> None:
    """torch's exporter with what it has for proofs."""
    _torch(name, path, folder, verify=True, report=True, artifacts_dir=str(folder))


def timm(name: str, path: Path, folder: Path, dynamo: bool = False) -> None:
    """timm's export script: its function, with the script's defaults."""
    from timm import create_model
    from timm.utils.onnx import onnx_export

    module = create_model(
        name.partition("/")[2], num_classes=1000, exportable=True, checkpoint_path=str(path)
    )
    onnx_export(module, str(folder / "model.onnx"), batch_size=1, use_dynamo=dynamo)


def timm_dynamo(name: str, path: Path, folder: Path) -> None:
    """timm's export script with --dynamo."""
    timm(name, path, folder, dynamo=True)


def transformers(name: str, path: Path, folder: Path) -> None:
    """transformers' own exporter, with open sizes."""
    import torch
    from transformers import BertForSequenceClassification
    from transformers.exporters import OnnxConfig, OnnxExporter

    module = BertForSequenceClassification.from_pretrained(path).eval()
    tokens = torch.randint(5, 1000, (2, 16))
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    OnnxExporter().export(module, given, config=OnnxConfig(dynamic=True)).save_pretrained(folder)


def optimum(name: str, path: Path, folder: Path) -> None:
    """optimum-cli export onnx; runs under the peer's interpreter."""
    from optimum.commands.optimum_cli import main  # type: ignore[import-not-found]

    task = ["--task", "text-classification"]
    sys.argv = ["optimum-cli", "export", "onnx", "--model", str(path), *task, str(folder / "out")]
    main()


WORKERS: dict[str, Worker] = {
    "make": make, "libraries": libraries, "bare": bare, "verified": verified, "timm": timm,
    "timm, dynamo": timm_dynamo, "transformers": transformers, "optimum": optimum,
}  # fmt: skip


def _module(name: str) -> Any:
    if name.startswith("timm/"):
        import timm

        return timm.create_model(name.partition("/")[2], pretrained=False).eval()
    import torchvision

    return torchvision.models.get_model(name, weights=None).eval()


def _torch(name: str, path: Path, folder: Path, **options: Any) -> None:
    import torch

    module = _module(name)
    module.load_state_dict(torch.load(path, weights_only=True))
    example = (torch.randn(2, 3, SIZE, SIZE),)
    torch.onnx.export(module, example, str(folder / "model.onnx"), dynamo=True, **options)


# ---------------------------------------------------------------- the study


def measure(what: str, name: str, path: Path, python: str = sys.executable) -> dict[str, Any]:
    """One process: what the kernel says of it, and of `interop` how its time was spent."""
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        folder, said = Path(place, "made"), Path(place, "said.json")
        folder.mkdir()
        if what == "interop":
            command = [python, "-m", "interop", "export", str(path), "-o", str(folder / "out")]
            command += [] if name in BERTS else ["--arch", name]
            command += ["--report", f"json:{said}"]
        else:
            command = [python, "-m", "benchmarks.export_vs_peers", "--one"]
            command += [what, name, str(path), str(folder), str(said)]
        cpu, peak, wall = cost(command)
        if not said.exists():
            raise RuntimeError(f"{what} of {name} failed")
        written = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        found: dict[str, Any] = json.loads(said.read_text("utf-8"))
    if what == "interop":
        if found["outcome"] != "yes":
            raise RuntimeError(found["summary"])
        spent = found["details"]
        found = {
            "conversion": spent["conversion_cpu_seconds"],
            "proofs": spent["proof_cpu_seconds"],
        }
    return found | {"cpu": cpu, "wall": wall, "peak_bytes": peak, "written_bytes": written}


def study(name: str, folder: Path, repeats: int, peer: str | None) -> dict[str, Any]:
    """All of a case's processes in turns: medians, ratios, and the goals that are missed."""
    case, path = CASES[name], folder / f"{name.replace('/', '-')}.pth"
    weights = measure("make", name, path)["weights_bytes"]
    who = ["interop", "libraries", *(c for c in case.peers if c != "optimum" or peer)]
    runs: dict[str, list[dict[str, Any]]] = {c: [] for c in who}
    for _ in range(1 if case.once else repeats):
        for what in who:
            python = peer if what == "optimum" and peer else sys.executable
            runs[what].append(measure(what, name, path, python))
            print(f"  {name}, {what}: {_line(runs[what][-1])}", flush=True)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    middle = {
        what: {key: median(r[key] for r in found) for key in found[0]}
        | {"cpu_samples": [round(r["cpu"], 2) for r in found]}
        for what, found in runs.items()
    }
    return {"weights_bytes": weights, "processes": middle, "goals": goals(case, weights, middle)}


def goals(case: Case, weights: int, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{what is compared: {the figure, its goal}}: every figure is to be at most its goal."""
    ours = found["interop"]
    beyond = ours["peak_bytes"] - found["libraries"]["peak_bytes"]
    times, beside = MEMORY_GOAL
    table: dict[str, tuple[float, float | None]] = {
        "own memory to weights": (
            max(0.0, beyond - beside) / weights, times,
        ),
        "bytes written to weights": (ours["written_bytes"] / weights, BYTES_GOAL),
        "proofs to conversion": (ours["proofs"] / ours["conversion"], None),
    }  # fmt: skip
    for other, goal in case.peers.items():
        if other in found:
            table[f"whole to {other}"] = ours["cpu"] / found[other]["cpu"], goal
            key = f"bytes written by {other} to weights"
            table[key] = found[other]["written_bytes"] / weights, None
    return {k: {"measured": round(v, 3), "goal": goal} for k, (v, goal) in table.items()}


def missed(models: dict[str, Any]) -> list[str]:
    """Each goal that a stored result does not reach, as "model: what figure (goal)"."""
    return [
        f"{name}: {what} {one['measured']} (goal {one['goal']})"
        for name, found in models.items()
        for what, one in found["goals"].items()
        if one["goal"] is not None and one["measured"] > one["goal"]
    ]


def _line(run: dict[str, Any]) -> str:
    keys = ("cpu", "conversion", "proofs", "wall")
    parts = [f"{key} {run[key]:.1f} s" for key in keys if key in run]
    parts.append(f"peak {run['peak_bytes'] / 1e9:.2f} GB")
    return ", ".join([*parts, f"written {run['written_bytes'] / 1e6:.1f} MB"])


def _peer(python: str) -> dict[str, str]:
    code = (
        "import json, sys; from importlib.metadata import version; "
        f"print(json.dumps({{n: version(n) for n in {PEER_PACKAGES!r}}}))"
    )
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = json.loads(said)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--optimum", help="a Python that has optimum-onnx")
    parser.add_argument("--scratch", type=Path, help="a folder with room for 13 GB")
    parser.add_argument("--keep", action="store_true", help="keep the stored rows of other models")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["HF_HUB_OFFLINE"] = "1"
    models: dict[str, Any] = {}
    stored = ROOT / "benchmarks" / "results" / "export_vs_peers.json"
    if given.keep and stored.exists():
        models = json.loads(stored.read_text("utf-8"))["models"]
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        for name in given.models:
            models[name] = study(name, Path(folder), given.repeats, given.optimum)
            keep(models, given.optimum)
            for what, one in models[name]["goals"].items():
                aim = "" if one["goal"] is None else f" (goal {one['goal']})"
                print(f"{name}: {what} {one['measured']}{aim}", flush=True)
    for line in missed(models):
        print(f"missed  {line}")
    return 1 if missed(models) else 0


def keep(models: dict[str, Any], peer: str | None) -> None:
    """Stores what there is so far, in the order of the cases."""
    order = {name: models[name] for name in CASES if name in models}
    found = {"machine": machine(*PACKAGES), "threads": 1, "models": order}
    if peer:
        found["peer"] = _peer(peer)
    store("export_vs_peers", found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        what, name, checkpoint, folder, said = sys.argv[2:7]
        result = WORKERS[what](name, Path(checkpoint), Path(folder)) or {}
        Path(said).write_text(json.dumps(result), "utf-8")
    else:
        sys.exit(main())
