"""What a proof of another tool's graph costs, against a script that runs the same things unproved.

    python -m benchmarks.verify [MODEL ...] [--repeats N]

Of each model a checkpoint of random weights and what torch.onnx.export makes of it. In turns, as
whole processes with one thread: `interop verify model.onnx --against CHECKPOINT`, and a script that
imports the same libraries, builds and loads the module, traces it by torch.export, and runs torch
in float32, torch in float64 and ONNX Runtime on the feeds that the proof of parity uses (batches of
1, 2 and 3 in float32, the first one in float64). Exit 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import interleaved, machine, store

GOAL = 1.2
MODELS = ("resnet18", "vit_b_16", "bert-base")
PACKAGES = ("torch", "torchvision", "transformers", "onnx", "onnxruntime-gpu", "numpy")
BATCHES = (1, 2, 3)  # and the other sizes that parity was tried at, as its report says


def module_of(name: str, checkpoint: Path | None = None) -> Any:
    """The module, with the checkpoint's weights where one is given."""
    import torch

    if name == "bert-base":
        from transformers import BertConfig, BertForSequenceClassification

        if checkpoint is not None:
            return BertForSequenceClassification.from_pretrained(checkpoint).eval()
        return BertForSequenceClassification(BertConfig()).eval()
    import torchvision

    module = torchvision.models.get_model(name, weights=None)
    if checkpoint is not None:
        module.load_state_dict(torch.load(checkpoint, weights_only=True))
    return module.eval()


def feeds(name: str, batch: int, sequence: int = 16) -> dict[str, Any]:
    """Inputs by name."""
    import torch

    draw = torch.Generator().manual_seed(batch)
    if name == "bert-base":
        ids = torch.randint(8, 30_000, (batch, sequence), generator=draw)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {"x": torch.randn(batch, 3, 224, 224, generator=draw)}


def make(name: str, folder: Path) -> None:
    """The checkpoint and the graph."""
    import torch

    torch.manual_seed(0)
    module = module_of(name)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    if name == "bert-base":
        module.save_pretrained(folder / "source")
    else:
        torch.save(module.state_dict(), folder / "model.pth")
    given = feeds(name, 2)
    axes = {n: dict(enumerate(("batch", "sequence")[: 1 + (t.ndim == 2)]))
            for n, t in given.items()}  # fmt: skip
    torch.onnx.export(
        module, tuple(given.values()), str(folder / "model.onnx"), dynamo=False,
        input_names=list(given), output_names=["logits"], dynamic_axes=axes,
    )  # fmt: skip


def plain(name: str, folder: Path) -> None:
    """What a person would run instead, with nothing compared."""
    import numpy as np
    import onnx  # noqa: F401
    import onnxruntime
    import torch

    source = folder / "source" if name == "bert-base" else folder / "model.pth"
    module = module_of(name, source)
    given = feeds(name, 2)
    sizes = {n: dict.fromkeys(range(1 + (t.ndim == 2)), torch.export.Dim.AUTO)
             for n, t in given.items()}  # fmt: skip
    torch.export.export(module, (), given, dynamic_shapes=sizes, strict=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    with torch.inference_mode():
        for sizes in json.loads((folder / "sizes.json").read_text()):
            fed = feeds(name, **sizes)
            module(**fed)
            session.run(None, {n: np.asarray(t) for n, t in fed.items()})
        wide = module.double()
        wide(**{n: t.double() if t.is_floating_point() else t for n, t in feeds(name, 1).items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--make", type=Path)
    parser.add_argument("--plain", type=Path)
    given = parser.parse_args()
    for work, run in ((given.make, make), (given.plain, plain)):
        if work is not None:
            run(given.models[0], work)
            return
    me = [sys.executable, "-m", "benchmarks.verify"]
    found: dict[str, Any] = {}
    for name in given.models:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            subprocess.run([*me, name, "--make", str(folder)], check=True, capture_output=True)
            source = folder / "source" if name == "bert-base" else folder / "model.pth"
            verify = [sys.executable, "-m", "interop", "verify", str(folder / "model.onnx"),
                      "--against", str(source)]  # fmt: skip
            if name != "bert-base":
                verify += ["--arch", f"torchvision/{name}"]
            report = folder / "report.json"
            subprocess.run([*verify, "--report", f"json:{report}"], check=True, capture_output=True)
            proofs = {p["name"]: p["facts"] for p in json.loads(report.read_text())["proofs"]}
            tried = [t["sizes"] for t in proofs["parity"]["trials"]]
            homes = [s for s in tried if s["batch"] in BATCHES and s.get("sequence", 16) == 16]
            sizes = [{"batch": n} for n in BATCHES] + [s for s in tried if s not in homes]
            (folder / "sizes.json").write_text(json.dumps(sizes))
            found[name] = costs = interleaved(
                {"interop": verify, "plain": [*me, name, "--plain", str(folder)]}, given.repeats
            )
        costs["ratio"] = costs["interop"]["cpu_seconds"] / costs["plain"]["cpu_seconds"]
        print(f"{name}: {costs['ratio']:.2f} of the plain script's CPU time", flush=True)
    store("verify", {"machine": machine(*PACKAGES), "threads": 1, "goal": GOAL, "models": found})
    sys.exit(any(m["ratio"] > GOAL for m in found.values()))


if __name__ == "__main__":
    main()
