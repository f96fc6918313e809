"""What an export costs against what else there is -> CPU time, memory and bytes, in one run.

    python -m benchmarks.export_vs_peers [MODEL ...] [--repeats N] [--optimum PYTHON]

Every measurement is a whole process with one thread, on random weights saved in a checkpoint. Side
by side, in turns: `interop` (export with its five proofs); `bare`, torch.onnx.export(module, args,
file, dynamo=True) with its defaults; `verified`, the same with verify=True, report=True; for timm's
resnet50 `timm.utils.onnx.onnx_export`, which is all of timm's export script that its package has,
with the script's defaults (TorchScript, one image, the full check) and by torch's newer exporter;
for BERT `optimum-cli export onnx` with its defaults and its validation. optimum-onnx asks for an
older transformers, so it runs under an interpreter of its own (`--optimum`, made with
`pip install "optimum-onnx[onnxruntime]"`); without one that row is left out.

CPU seconds hold child processes; `work` is what a process spends once every library is there and
until it has written everything, `frame` the rest: its start, imports and exit. Of `interop`, the
report itself tells conversion and proofs apart; `call` is the exporter alone. Peak memory is the
kernel's high-water mark of resident bytes: pages of the mapped checkpoint count. Exit 1 where a
goal is missed; each is in the result beside its figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from benchmarks.process import ROOT, cost, machine, store

SIZE = 224
BARE_GOAL = 0.7  # of the conversion to the bare call
PROOFS_GOAL = 1.5
MEMORY_GOAL = 2.5, 1_000_000_000  # times the weights, and bytes beside
BYTES_GOAL = 1.02
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "onnx-ir",
            "onnxruntime-gpu", "numpy")  # fmt: skip
PEER_PACKAGES = ("optimum-onnx", "optimum", "torch", "transformers", "onnx", "onnxruntime")
Worker = Callable[[str, Path, Path], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, who exports it, and what is asked of its figures.

    `bare` is the conversion's goal against the bare call; `whole` names those that the export with
    its proofs must be cheaper than. `once` is for a model of which one run is enough.
    """

    contenders: tuple[str, ...]
    bare: float | None = None
    whole: tuple[str, ...] = ()
    once: bool = False


TORCH = ("bare", "verified")
CASES = {
    "resnet18": Case(("interop", *TORCH), 1.1, ("verified",)),
    "vit_b_16": Case(("interop", *TORCH), BARE_GOAL, ("verified",), once=True),
    "swin_t": Case(("interop", *TORCH), BARE_GOAL, ("verified",), once=True),
    "timm/resnet50": Case(("interop", "timm", "timm, dynamo"), None, ("timm", "timm, dynamo")),
    "bert-base": Case(("interop", "optimum"), None, ("optimum",)),
    "bert-large": Case(("interop",), once=True),
    "bert-4GB": Case(("interop",), once=True),
}  # fmt: skip
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


def interop(name: str, path: Path, folder: Path) -> dict[str, Any]:
    """interop.export from the checkpoint's path to the bundle."""
    _import(name)
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    from interop.export import export
    from interop.identity import identify
    from interop.reading import read

    imports = process_time()
    report = export(identify(read(str(path)), arch=None if name in BERTS else name), folder / "out")
    if report.exit_code:
        raise SystemExit(report.summary)
    spent = report.details
    return {
        "imports": imports,
        "conversion": spent.conversion_cpu_seconds,
        "proofs": spent.proof_cpu_seconds,
    }


def bare(name: str, path: Path, folder: Path) -> dict[str, Any]:
    """torch's exporter as people call it."""
    return _torch(name, path, folder)


def verified(name: str, path: Path, folder: Path) -> dict[str, Any]:
    """torch's exporter with what it has for proofs."""
    return _torch(name, path, folder, verify=True, report=True, artifacts_dir=str(folder))


def timm(name: str, path: Path, folder: Path, dynamo: bool = False) -> dict[str, Any]:
    """timm's export script: its function, with the script's defaults."""
    _import(name)
    from timm import create_model
    from timm.utils.onnx import onnx_export

    imports = process_time()
    module = create_model(
        name.partition("/")[2], num_classes=1000, exportable=True, checkpoint_path=str(path)
    )
    began = process_time()
    onnx_export(module, str(folder / "model.onnx"), batch_size=1, use_dynamo=dynamo)
    return {"imports": imports, "call": process_time() - began}


def timm_dynamo(name: str, path: Path, folder: Path) -> dict[str, Any]:
    """timm's export script with --dynamo."""
    return timm(name, path, folder, dynamo=True)


def optimum(name: str, path: Path, folder: Path) -> dict[str, Any]:
    """optimum-cli export onnx; runs under the peer's interpreter."""
    import optimum.exporters.onnx.convert  # type: ignore[import-not-found]  # noqa: F401
    from optimum.commands.optimum_cli import main  # type: ignore[import-not-found]
    from optimum.exporters.onnx import main_export  # type: ignore[import-not-found]  # noqa: F401
    from transformers import BertForSequenceClassification  # noqa: F401

    imports = process_time()
    task = ["--task", "text-classification"]
    sys.argv = ["optimum-cli", "export", "onnx", "--model", str(path), *task, str(folder / "out")]
    main()
    return {"imports": imports}


WORKERS: dict[str, Worker] = {
    "make": make, "interop": interop, "bare": bare, "verified": verified, "timm": timm,
    "timm, dynamo": timm_dynamo, "optimum": optimum,
}  # fmt: skip


def _import(name: str) -> None:
    """What the exporters of both sides load sooner or later."""
    import onnxscript  # noqa: F401
    import torch
    import torch.onnx._internal.exporter._core

    if name in BERTS:
        import transformers.models.bert.modeling_bert  # noqa: F401
    elif name.startswith("timm/"):
        import timm  # noqa: F401
    else:
        import torchvision  # noqa: F401
    torch.set_num_threads(1)


def _module(name: str) -> Any:
    if name.startswith("timm/"):
        import timm

        return timm.create_model(name.partition("/")[2], pretrained=False).eval()
    import torchvision

    return torchvision.models.get_model(name, weights=None).eval()


def _torch(name: str, path: Path, folder: Path, **options: Any) -> dict[str, Any]:
    _import(name)
    import torch

    imports = process_time()
    module = _module(name)
    module.load_state_dict(torch.load(path, weights_only=True))
    example = (torch.randn(2, 3, SIZE, SIZE),)
    began = process_time()
    torch.onnx.export(module, example, str(folder / "model.onnx"), dynamo=True, **options)
    return {"imports": imports, "call": process_time() - began}


# ---------------------------------------------------------------- the study


def measure(what: str, name: str, path: Path, python: str = sys.executable) -> dict[str, Any]:
    """One measurement in a process of its own: what it says, and what the kernel says of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        folder, said = Path(place, "made"), Path(place, "said.json")
        folder.mkdir()
        script = [python, "-m", "benchmarks.export_vs_peers", "--one"]
        cpu, peak, wall = cost([*script, what, name, str(path), str(folder), str(said)])
        if not said.exists():
            raise RuntimeError(f"{what} of {name} failed")
        written = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        found: dict[str, Any] = json.loads(said.read_text("utf-8"))
    found |= {"cpu": cpu, "wall": wall, "peak_bytes": peak, "written_bytes": written}
    if "work" in found:
        found["frame"] = cpu - found["work"]
    return found


def study(name: str, folder: Path, repeats: int, peer: str | None) -> dict[str, Any]:
    """All of a case's contenders in turns: medians, ratios, and the goals that are missed."""
    case, path = CASES[name], folder / f"{name.replace('/', '-')}.pth"
    weights = measure("make", name, path)["weights_bytes"]
    who = [c for c in case.contenders if c != "optimum" or peer]
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
    times, beside = MEMORY_GOAL
    table: dict[str, tuple[float, float | None]] = {
        "proofs to conversion": (ours["proofs"] / ours["conversion"], PROOFS_GOAL),
        "peak memory beyond 1 GB to weights": ((ours["peak_bytes"] - beside) / weights, times),
        "bytes written to weights": (ours["written_bytes"] / weights, BYTES_GOAL),
    }
    if "bare" in found:
        ratio = ours["conversion"] / found["bare"]["call"]
        table["conversion to the bare call"] = ratio, case.bare
    for other in found:
        if other != "interop":
            goal = 1.0 if other in case.whole else None
            table[f"whole to {other}"] = ours["work"] / found[other]["work"], goal
            key = f"whole with start, imports and exit to {other}"
            table[key] = ours["cpu"] / found[other]["cpu"], goal
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
    keys = ("frame", "work", "conversion", "proofs", "call", "wall")
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
        result = WORKERS[what](name, Path(checkpoint), Path(folder))
        if "imports" in result:
            # With what child processes took; the exit, most of it torch's, is still to come.
            used = os.times()
            children = used.children_user + used.children_system
            result["work"] = process_time() + children - result["imports"]
        Path(said).write_text(json.dumps(result), "utf-8")
    else:
        sys.exit(main())
