"""Parity and latency on a CUDA GPU, of every way that bench knows, against what the card could do.

    python -m benchmarks.cuda                    on a machine with a GPU
    python -m benchmarks.cuda --rehearse         on a CPU: each model at batch 1 for a moment,
                                                 without float16; stored in build/, no evidence

Five models with random weights (enough for latency and parity, not for accuracy), bounded to 8
minutes by a clock of its own, at which it ends wherever it is. Each is exported with its proofs on
the device (float32, TF32 off), then its runners are run in groups: those within a group are
interleaved. torch.compile comes last, for it takes the longest. A run's floor is what the card
needs at the least: its operations at the rate of a large matrix product of the same precision, or
its weights, inputs and outputs through the card's own memory, whichever is longer. The result goes
to benchmarks/results/cuda-<gpu>.json after every group, so that a run that is cut short keeps what
it has ("complete" is then false); what was left out is named. Exit 3 where there is no GPU: a
figure measured on a CPU is never called CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import RESULTS, ROOT, machine
from interop.errors import InteropError

BATCHES = (1, 8, 64)
BOUND_SECONDS = 480
# Sizes of the axes that vary, as a model is served: a short text, a second of sound.
SIZES = {"sequence": 128, "samples": 16000}
PACKAGES = (
    "torch", "torchvision", "transformers", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Runners that are run in turns, and whether TF32 is on in them."""

    name: str
    specs: tuple[str, ...]
    tf32: bool = False


GROUPS = (
    Group(
        "float32, TF32 off",
        (
            "pytorch", "pytorch:torchscript", "onnxruntime", "onnxruntime:io-binding",
            "onnxruntime:cuda-graph",
        ),
    ),
    Group(
        "16 bits",
        (
            "pytorch:float16", "pytorch:bfloat16", "pytorch:torchscript:float16",
            "onnxruntime:float16", "onnxruntime:io-binding:float16",
            "onnxruntime:cuda-graph:float16",
        ),
    ),
    Group("float32, TF32 on", ("pytorch", "onnxruntime", "onnxruntime:cuda-graph"), tf32=True),
)  # fmt: skip
COMPILED = (
    Group("compiled, float32, TF32 off", ("pytorch", "pytorch:compile")),
    Group("compiled, bfloat16", ("pytorch:bfloat16", "pytorch:compile:bfloat16")),
    Group("compiled, float32, TF32 on", ("pytorch", "pytorch:compile"), tf32=True),
)


# ---------------------------------------------------------------- the models


def _torchvision(name: str, path: Path, device: str) -> Path:
    import torch
    import torchvision

    net = torchvision.models.get_model(name, weights=None).to(device).train()
    with torch.no_grad():
        for parameter in net.parameters():
            # Heads of zeros and scales of a millionth, as some begin, would leave nothing to prove.
            if parameter.ndim > 1 and parameter.min() == parameter.max():
                parameter.normal_(0, 0.1)
        for _ in range(3):  # batch statistics of random inputs
            net(torch.randn(8, 3, 224, 224, device=device))
    preprocess = {
        "color": "RGB", "resize": [224, 224], "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    about = {"arch": name, "preprocess": preprocess}
    torch.save({"state_dict": net.cpu().state_dict(), **about}, path / f"{name}.pth")
    return path / f"{name}.pth"


def _transformers(config: str, model: str, path: Path, device: str) -> Path:
    import transformers

    made = getattr(transformers, model)(getattr(transformers, config)())
    made.save_pretrained(path / "checkpoint")
    return path / "checkpoint"


Maker = Callable[[Path, str], Path]
MODELS: Mapping[str, Maker] = {
    "resnet50": lambda path, device: _torchvision("resnet50", path, device),
    "vit_b_16": lambda path, device: _torchvision("vit_b_16", path, device),
    "convnext_tiny": lambda path, device: _torchvision("convnext_tiny", path, device),
    "bert-base": lambda path, device: _transformers(
        "BertConfig", "BertForSequenceClassification", path, device
    ),
    "wav2vec2-base": lambda path, device: _transformers(
        "Wav2Vec2Config", "Wav2Vec2ForCTC", path, device
    ),
}


# ---------------------------------------------------------------- the card


def card(device: str) -> dict[str, Any]:
    """The rate of large matrix products by precision (operations a second), and the bandwidths of
    copies (bytes a second); "device_to_device" counts what is read and what is written."""
    import torch

    size, nbytes = (8192, 2**30) if device == "cuda" else (1024, 2**26)
    rates: dict[str, float] = {}
    kinds = [("float32", torch.float32, False), ("bfloat16", torch.bfloat16, False)]
    if device == "cuda":
        kinds += [("tf32", torch.float32, True), ("float16", torch.float16, False)]
    for name, dtype, tf32 in kinds:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.randn(size, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        into = torch.empty_like(a)
        rates[name] = 2 * size**3 / _timed(lambda x=a, y=b, z=into: torch.matmul(x, y, out=z))
    torch.backends.cuda.matmul.allow_tf32 = False
    here = torch.empty(nbytes, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    found: dict[str, Any] = {
        "matrix": {"size": size, "operations_per_second": rates},
        "device_to_device": 2 * nbytes / _timed(lambda: there.copy_(here)),
    }
    if device == "cuda":
        host = torch.empty(nbytes // 4, dtype=torch.uint8)
        part = here[: nbytes // 4]
        for name, memory in (("pageable", host), ("pinned", host.pin_memory())):
            found[f"host_to_device_{name}"] = host.numel() / _timed(lambda m=memory: part.copy_(m))
            found[f"device_to_host_{name}"] = host.numel() / _timed(lambda m=memory: m.copy_(part))
        free, total = torch.cuda.mem_get_info()
        found["memory"] = {"free": free, "total": total}
    return found


def _timed(run: Callable[[], object], runs: int = 10) -> float:
    """Median seconds of a run, the device waited for."""
    import torch

    def wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    times = []
    for _ in range(runs + 3):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return median(times[3:])


def operations(forward: Any, batch: Mapping[str, Any], device: str) -> int:
    """The floating-point operations of products and convolutions in one run (a multiplication and
    an addition are two), counted by torch."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from interop.runtimes.pytorch import dtype_of, tensors

    given = tensors(batch, dtype_of(forward), device)
    # Attention as plain products: not every fused kernel of it is counted.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
        forward.to(device)(*given)
    return int(count.get_total_flops())


@dataclass
class Cost:
    """What one run of a batch must do at the least."""

    flops: int
    weights: int
    inputs: int
    outputs: int

    def floor(self, rates: dict[str, Any], spec: str, tf32: bool) -> dict[str, float]:
        """Milliseconds that the card needs at the least, and that its copies need.

        Weights, inputs and outputs are counted once, in the runner's precision; what lies between
        layers is not, so that the floor is one.
        """
        half = next((p for p in ("bfloat16", "float16") if p in spec.split(":")), None)
        by = rates["matrix"]["operations_per_second"]
        rate = by.get(half or ("tf32" if tf32 else "float32"), by["float32"])
        scale = 0.5 if half else 1.0
        nbytes = scale * (self.weights + self.inputs + self.outputs)
        found = {
            "compute_ms": 1000 * self.flops / rate,
            "memory_ms": 1000 * nbytes / rates["device_to_device"],
        }
        found["floor_ms"] = max(found.values())
        if "host_to_device_pinned" in rates:
            found["copies_ms"] = 1000 * (
                self.inputs / rates["host_to_device_pinned"]
                + self.outputs / rates["device_to_host_pinned"]
            )
        return found


# ---------------------------------------------------------------- one model


@dataclass
class Study:
    """The run of the whole script, as far as it is."""

    device: str
    batches: list[int]
    seconds: float
    folder: Path
    store: Callable[[], None]
    rates: dict[str, Any]
    end: float
    rehearsal: bool = False
    costs: dict[tuple[str, int], Cost] = field(default_factory=dict)
    longest: float = 0.0

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def has_time(self) -> bool:
        """For one more group; the paths of a rehearsal are all tried, until the clock ends it."""
        return self.left > 0 and (self.rehearsal or self.left >= self.longest)

    def export(self, found: dict[str, Any]) -> None:
        """The model's bundle, and what its proofs say."""
        from interop.export import ExportOptions, export
        from interop.identity import identify_file
        from interop.report.json import to_json

        folder = self.folder / found["model"]
        folder.mkdir()
        checkpoint = MODELS[found["model"]](folder, self.device)
        start = time.monotonic()
        report = None
        # A graph that is not proved here is proved on the CPU: its latency is a fact all the same.
        for device in dict.fromkeys((self.device, "cpu")):
            report = export(
                identify_file(checkpoint), folder / "bundle", ExportOptions(device=device)
            )
            found.setdefault("parity_device", device)
            found.setdefault("outcome", str(report.outcome))
            found.setdefault("proofs", to_json(report.proofs))
            if report.exit_code == 0:
                break
        found["bundle"] = report is not None and report.exit_code == 0
        found["export_seconds"] = time.monotonic() - start

    def group(self, found: dict[str, Any], group: Group) -> None:
        """Run one group of a model's runners, if there is time for it."""
        if self.rehearsal:
            group = without_float16(group)
        if not self.has_time():
            found["left_out"].append({"group": group.name, "why": "no time within the bound"})
            return
        start = time.monotonic()
        try:
            found["groups"].append(self._measured(found["model"], group))
        except (InteropError, ImportError, RuntimeError) as error:
            found["left_out"].append({"group": group.name, "why": str(error)[:500]})
        self.longest = max(self.longest, time.monotonic() - start)
        self.store()

    def _measured(self, name: str, group: Group) -> dict[str, Any]:
        import torch

        from interop.bench.latency import measure
        from interop.bench.runners import prepare_contenders
        from interop.identity import identify_file
        from interop.models.signature import drawn
        from interop.report.json import to_json

        (self.folder / "scratch").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder / "scratch") as scratch:
            made = prepare_contenders(
                [identify_file(self.folder / name / "bundle")],
                Path(scratch),
                specs=group.specs,
                device=self.device,
                tf32=group.tf32,
            )
            assert isinstance(made, list)
            contender = made[0]
            try:
                takes = contender.signature
                sizes = {a: n for a, n in SIZES.items() if a in takes.varying}
                samples = drawn(takes, max(self.batches), sizes)
                for size in self.batches:
                    if (name, size) not in self.costs:
                        self.costs[name, size] = self._cost(contender, drawn(takes, size, sizes))
                measured = measure(made, [samples], self.batches, self.seconds, lambda line: None)
                found = {
                    "group": group.name,
                    "tf32": group.tf32,
                    "sizes": sizes,
                    "skipped": to_json(contender.skipped),
                    "conditions": {r.name: to_json(r.conditions()) for r in contender.runtimes},
                    "measurements": [shortened(m) for m in to_json(measured)],
                    "floors": self._floors(name, contender, measured, group),
                }
            finally:
                contender.close()
                if self.device == "cuda":
                    torch.cuda.empty_cache()
        return found

    def _cost(self, contender: Any, batch: Mapping[str, Any]) -> Cost:
        from interop.runtimes import TorchRuntime

        forward = contender.forward
        outputs = TorchRuntime(forward, self.device).outputs(batch)
        return Cost(
            operations(forward, batch, self.device),
            sum(t.nbytes for t in forward.state_dict().values()),
            sum(a.nbytes for a in batch.values()),
            sum(a.nbytes for a in outputs),
        )

    def _floors(
        self, name: str, contender: Any, measured: Any, group: Group
    ) -> list[dict[str, Any]]:
        """How far each run is from its floor: the floor by the median with copies left out."""
        specs = {runner.runtime.name: str(runner.spec) for runner in contender.runners}
        bound = {
            (m.conditions["runtime"], m.conditions["batch"]): m.conditions["bound_ms"]
            for m in measured
            if m.name == "copies"
        }
        rows = []
        for m in (m for m in measured if m.name == "latency"):
            runtime, size = m.conditions["runtime"], m.conditions["batch"]
            cost = self.costs[name, size]
            floor = cost.floor(self.rates, specs[runtime], group.tf32)
            alone = bound.get((runtime, size), m.value)
            rows.append(
                {
                    "runtime": runtime, "batch": size, "p50_ms": m.value, "bound_ms": alone,
                    "device_ms": m.conditions.get("device_ms"), "flops": cost.flops,
                    "bytes": cost.weights + cost.inputs + cost.outputs, **floor,
                    "times_the_floor": alone / floor["floor_ms"],
                }
            )  # fmt: skip
        return rows


def fewest_runs() -> None:
    """As few of each kind as there can be: a rehearsal is of the paths, not of the figures."""
    from interop.bench import latency

    few = {"LEAST_ROUNDS": 2, "MOST_ROUNDS": 2, "WARM_UP_RUNS": 3, "WINDOWS": 2, "LEAST_RUNS": 1}
    for name, number in few.items():
        setattr(latency, name, number)


def without_float16(group: Group) -> Group:
    """What a CPU has in reasonable time."""
    return replace(group, specs=tuple(s for s in group.specs if "float16" not in s.split(":")))


def shortened(measurement: dict[str, Any]) -> dict[str, Any]:
    """A measurement with its raw samples to a tenth of a microsecond, by the wall's clock alone."""
    kept = {k: v for k, v in measurement["conditions"].items() if not k.endswith("_samples")}
    samples = [round(v, 4) for v in measurement["samples"]]
    return {**measurement, "samples": samples, "conditions": kept}


# ---------------------------------------------------------------- the script


def gpu_name(device: str) -> str:
    """A file name's part for the device."""
    if device == "cpu":
        return "rehearsal-cpu"
    import torch

    return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


def there() -> list[str]:
    """The packages whose versions bear on the figures, as far as they are installed."""
    found = []
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found


def run(given: argparse.Namespace, path: Path) -> dict[str, Any]:
    """All models, as far as the bound allows; stored after every group."""
    started = time.monotonic()
    models: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "device": given.device,
        "gpu": gpu_name(given.device),
        "machine": machine(*there()),
        "bound_seconds": given.bound,
        "batches": given.batch,
        "card": card(given.device),
        "models": models,
        "complete": False,
    }

    def store() -> None:
        result["wall_seconds"] = time.monotonic() - started
        part = path.with_suffix(".part")
        part.write_text(json.dumps(result) + "\n", "utf-8")
        part.replace(path)

    with tempfile.TemporaryDirectory(prefix="interop-cuda-") as folder:
        study = Study(
            given.device, given.batch, given.seconds, Path(folder), store, result["card"],
            started + given.bound, given.rehearse,
        )  # fmt: skip
        for name in given.models:
            models.append({"model": name, "groups": [], "left_out": []})
            one(study, models[-1], len(given.models) - len(models) + 1)
            store()
            print(line(models[-1]), flush=True)
        study.longest = 0.0  # what a compiled group takes is another matter
        exported = [m for m in models if m.get("bundle")]
        for group in () if given.no_compile else COMPILED:
            for found in exported[:1] if given.rehearse else exported:
                study.group(found, group)
                store()
    result["complete"] = True
    store()
    return result


def stop_at(bound: float) -> threading.Timer:
    """Ends the process at the bound, whatever it is in: a compiler asks for no time.

    What was stored by then is whole: a file is written beside the last one and put in its place.
    """

    def end() -> None:
        print(f"the bound of {bound:.0f} s is reached: what is stored is kept", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(bound, end)
    timer.daemon = True
    timer.start()
    return timer


def one(study: Study, found: dict[str, Any], left: int) -> None:
    """A model's export and groups, if there is time for it; `left` models, it included, share."""

    def leave_out(what: str, why: str) -> None:
        found["left_out"].append({"group": what, "why": why})

    if not study.has_time():
        leave_out("all", "no time within the bound")
        return
    try:
        study.export(found)
    except (InteropError, ImportError, RuntimeError) as error:
        leave_out("all", str(error)[:500])
        return
    if not found["bundle"]:
        leave_out("all", "its proofs do not hold")
        return
    share = study.left / left
    begun = time.monotonic()
    for group in GROUPS:
        if time.monotonic() - begun > share and not study.rehearsal:
            leave_out(group.name, "no time within its share")
            continue
        study.group(found, group)


def line(found: dict[str, Any]) -> str:
    """One model's outcome for the terminal."""
    parts = [f"{found['model']}: proofs {found.get('outcome', 'not made')}"]
    for group in found.get("groups", []):
        for row in group["floors"]:
            parts.append(
                f"  {row['runtime']} batch {row['batch']}{', TF32' if group['tf32'] else ''}: "
                f"p50 {row['p50_ms']:.2f} ms, {row['times_the_floor']:.1f} times the floor"
            )
        parts += [f"  {s['rule']}: {s['why']}" for s in group["skipped"]]
    parts += [f"  left out: {x['group']}: {x['why']}" for x in found["left_out"]]
    return "\n".join(parts)


def main(arguments: list[str] | None = None, stop: Callable[[float], object] | None = None) -> int:
    """`stop` is told the bound, to end what goes on beyond it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each batch size")
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--bound", type=float, default=BOUND_SECONDS, help="seconds of the whole")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, so that each path has run once"
    )
    parser.add_argument("--out", type=Path, help="the result's folder")
    given = parser.parse_args(arguments)
    if stop is not None:
        stop(given.bound)
    if given.rehearse:
        given.device, given.batch, given.seconds = "cpu", [1], 0.0
        fewest_runs()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured", file=sys.stderr)
        return 3
    # A rehearsal's figures are nobody's evidence: they stay out of the committed results.
    folder = given.out or (RESULTS if given.device == "cuda" else ROOT / "build")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cuda-{gpu_name(given.device)}.json"
    result = run(given, path)
    print(f"stored in {path.name}, {result['wall_seconds']:.0f} s")
    return int(any(m.get("outcome") != "yes" or not m["groups"] for m in result["models"]))


if __name__ == "__main__":
    sys.exit(main(stop=stop_at))
