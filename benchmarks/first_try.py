"""Does the first try work? 12 architectures in 10 forms, with no flag that names what a file is
-> results/first_try.json.

    python -m benchmarks.first_try [PATTERN …] [--jobs N]

Each architecture that people fine-tune is saved in each form in which they save it, and exported by
`interop export FILE` in a process of its own. Flags: `--model` for classes of one's own, `--head`
for a head of several layers, `--trust` for TorchScript; never `--arch` or `--input`. An export is
right if ONNX Runtime answers as the module does natively in another process: batches 1 and 3, and a
second size of each axis that is open, within 1e-4 of the largest output. In half precision both
are compared with the module in float32: the graph may be at most eight times as far off as native.
Beside it stands what a bare `torch.onnx.export` gives, written by hand for the
same module. With a PATTERN only those architectures are tried again, and the rest of the stored
result stays. resnetblur18 and resnetaa50 are told apart from the plain ones by nothing in a bare
file: those two are counted apart, as assumed wrongly.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.process import RESULTS, ROOT, machine, store

CLASSES = 7
TOLERANCE, HALF = 1e-4, 4 * 2.0**-10
MULTIPLE = 8.0  # times what the native module of half precision is off by itself
LIMIT = 600
FORMS = ("bare", "DDP under a key", "Lightning with a loss", "timm's training file", "whole module",
         "scripted", "traced", ".pt2", "MLP head", "half precision")  # fmt: skip
NETS = '''"""One's own modules, and heads of several layers."""
import torch
from torch import nn

class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(32, 7)
    def forward(self, image):
        return self.head(self.body(image).flatten(1))

class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 24)
        self.lstm = nn.LSTM(24, 32, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 7)
    def forward(self, tokens):
        return self.head(self.lstm(self.embed(tokens))[0].mean(1))

class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 7)
    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)).mean(1))

def head(width):
    return nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 7))
'''


@dataclass(frozen=True)
class Architecture:
    """`make` builds the module with its head at the path `head`, which takes `width` features;
    `feed` gives an input for a batch and a size (0 is the usual one). `config` says that the
    library's config.json lies beside the weights, `own` names the class in NETS."""

    name: str
    make: Callable[[], Any]
    head: str
    width: int
    feed: Callable[[int, int], tuple[Any, ...]]
    sizes: tuple[int, ...] = (0,)
    config: bool = False
    own: str = ""


def image(side: int = 224) -> Callable[[int, int], tuple[Any, ...]]:
    def feed(batch: int, size: int) -> tuple[Any, ...]:
        import torch

        shape = (batch, 3, size or side, size or side)
        return (torch.randn(shape, generator=torch.Generator().manual_seed(batch + size)),)

    return feed


def tokens(batch: int, size: int) -> tuple[Any, ...]:
    import torch

    generator = torch.Generator().manual_seed(batch + size)
    return (torch.randint(1, 100, (batch, size or 16), generator=generator),)


def masked(batch: int, size: int) -> tuple[Any, ...]:
    import torch

    (ids,) = tokens(batch, size)
    mask = torch.ones_like(ids)
    mask[1:, -3:] = 0
    return ids, mask


def _torchvision(name: str, head: str, width: int) -> Architecture:
    def make() -> Any:
        import torchvision

        return torchvision.models.get_model(name, num_classes=CLASSES)

    return Architecture(f"torchvision/{name}", make, head, width, image())


def _timm(name: str, head: str, width: int) -> Architecture:
    def make() -> Any:
        import timm

        return timm.create_model(name, num_classes=CLASSES)

    return Architecture(f"timm/{name}", make, head, width, image())


def _transformers(kind: str, head: str, width: int, feed: Any, sizes: tuple[int, ...],
                  **config: Any) -> Architecture:  # fmt: skip
    def make() -> Any:
        import transformers

        cls = getattr(transformers, kind)
        return cls(cls.config_class(num_labels=CLASSES, **config))

    return Architecture(f"transformers/{kind}", make, head, width, feed, sizes, config=True)


def _own(name: str, width: int, feed: Any, sizes: tuple[int, ...] = (0,)) -> Architecture:
    def make() -> Any:
        import nets

        return getattr(nets, name)()

    return Architecture(f"own/{name}", make, "head", width, feed, sizes, own=name)


_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
          "intermediate_size": 128}  # fmt: skip
ARCHITECTURES = (
    _torchvision("resnet18", "fc", 512),
    _torchvision("resnet50", "fc", 2048),
    _torchvision("mobilenet_v2", "classifier.1", 1280),
    _torchvision("vit_b_16", "heads.head", 768),
    _timm("vit_tiny_patch16_224", "head", 192),
    _timm("convnext_atto", "head.fc", 320),
    _timm("regnety_002", "head.fc", 368),
    _transformers("BertForSequenceClassification", "classifier", 64, masked, (0, 23),
                  vocab_size=100, **_SMALL),
    _transformers("ViTForImageClassification", "classifier", 64, image(), (0,), **_SMALL),
    _own("Conv", 32, image()),
    _own("Lstm", 64, tokens, (0, 23)),
    _own("Transformer", 32, tokens, (0, 23)),
)  # fmt: skip
# The same weights as the plain ones: what a bare file of theirs is exported as is wrong.
UNLIKE = (_timm("resnetblur18", "fc", 512), _timm("resnetaa50", "fc", 2048))


# ---------------------------------------------------------------- the files


def settled(module: Any, of: Architecture) -> Any:
    """The module in eval mode as a training leaves it: nothing is zero that starts as zero, and
    running statistics are those of inputs that it has seen."""
    import torch

    draw = torch.Generator().manual_seed(0)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=draw) * 0.02)
        module.eval()
        for norm in norms:
            norm.momentum = None  # the mean of all batches
            norm.train()
        for batch in (2, 3, 4) if norms else ():
            module(*of.feed(batch, 0))
    return module.eval()


class Steady:
    """A module of transformers as exporters take it: tensors in, its logits out."""

    @staticmethod
    def of(module: Any) -> Any:
        import torch

        class Logits(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = module

            def forward(self, *given: Any) -> Any:
                return self.model(*given).logits

        return Logits().eval()


def saved(of: Architecture, form: str, folder: Path) -> tuple[list[str], Any]:
    """Save the architecture in a form; the words for interop, and the native module."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = of.make()
    words: list[str] = ["--model", f"{folder / 'nets.py'}:{of.own}"] if of.own else []
    if form == "MLP head":
        import nets

        parent, _, leaf = of.head.rpartition(".")
        module.get_submodule(parent).add_module(leaf, nets.head(of.width))
        words += ["--head", f"{folder / 'nets.py'}:head_{of.width}"]
    module = settled(module, of)
    if form == "half precision":
        module = module.half()
    state = module.state_dict()
    where = folder / "model"
    where.mkdir()
    if of.config and form not in ("scripted", "traced", ".pt2", "whole module"):
        module.config.architectures = [type(module).__name__]
        module.config.save_pretrained(where)
    call = Steady.of(module) if of.config else module
    example = tuple(t.half() if form == "half precision" and t.is_floating_point() else t
                    for t in of.feed(2, 0))  # fmt: skip
    file = where / ("checkpoint.ckpt" if form.startswith("Lightning") else "pytorch_model.bin")
    content: Any = state
    if form == "DDP under a key":
        optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1, momentum=0.9).state_dict()
        named = {f"module.{k}": v for k, v in state.items()}
        content = {"epoch": 3, "model_state": named, "optimizer": optimizer}
    elif form.startswith("Lightning"):
        named = {**{f"model.{k}": v for k, v in state.items()}, "loss.weight": torch.ones(CLASSES)}
        content = {"epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.5.0",
                   "state_dict": named, "hyper_parameters": {"lr": 0.1}}  # fmt: skip
    elif form == "timm's training file":
        arch = of.name.rpartition("/")[2]
        content = {"epoch": 3, "arch": arch, "state_dict": state, "metric": 0.9, "version": 2,
                   "args": Namespace(model=arch, lr=0.1)}  # fmt: skip
    elif form == "whole module":
        content = module
    if form in ("scripted", "traced"):
        words = ["--trust"]
        script = (
            torch.jit.script(call)
            if form == "scripted"
            else torch.jit.trace(call, example, check_trace=False)
        )
        torch.jit.save(script, str(file := where / "model.pt"))
    elif form == ".pt2":
        words = []
        program = _program(of, call, example)
        torch.export.save(program, file := where / "model.pt2")
    else:
        torch.save(content, file)
    return [str(where if of.config and not file.suffix.startswith(".pt") else file), *words], call


def _program(of: Architecture, call: Any, example: tuple[Any, ...]) -> Any:
    """A program with as many axes open as torch.export leaves open."""
    import torch

    error: Exception | None = None
    for open_axes in ((0, 1), (0,)) if len(of.sizes) > 1 else ((0,),):
        shapes: Any = tuple(dict.fromkeys(open_axes, torch.export.Dim.DYNAMIC) for _ in example)
        try:
            return torch.export.export(
                call, example, dynamic_shapes=(shapes,) if of.config else shapes, strict=False
            )
        except Exception as failed:
            error = failed
    assert error is not None
    raise error


# ---------------------------------------------------------------- the trial


def cells(of: Architecture, forms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each form of one architecture, exported and compared."""
    with tempfile.TemporaryDirectory(prefix="interop-first-") as scratch:
        folder = Path(scratch)
        heads = "\n".join(
            f"def head_{w}(): return head({w})" for w in {a.width for a in everything()}
        )
        (folder / "nets.py").write_text(f"{NETS}\n{heads}\n")
        sys.path.insert(0, scratch)
        try:
            return [cell(of, form, folder) for form in forms]
        finally:
            sys.path.remove(scratch)


def cell(of: Architecture, form: str, folder: Path) -> dict[str, Any]:
    """One form: how interop's export went, and a bare export of the same module."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=folder) as inner:
        warnings.simplefilter("ignore")
        place = Path(inner)
        (place / "nets.py").symlink_to(folder / "nets.py")
        row: dict[str, Any] = {"architecture": of.name, "form": form}
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                words, call = saved(of, form, place)
        except Exception as error:
            return {**row, "exported": False, "impossible": _line(error)}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "interop", "export", *words, "-o", str(place / "out")],
            capture_output=True, text=True, timeout=LIMIT, cwd=place, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        row["seconds"] = round(time.perf_counter() - began, 1)
        row["flags"] = [w for w in words if w.startswith("--")]
        row["exit"] = done.returncode
        row["exported"] = done.returncode == 0
        if row["exported"]:
            row |= compared(of, form, call, place / "out" / "model.onnx")
        else:
            row["why"] = (done.stderr.strip().splitlines() or [""])[-1].replace(inner, "")[:300]
            row["findings"] = done.stdout.partition("\nlevel ")[2].partition("\n\n")[0]
        row["bare export"] = by_hand(of, form, call, place / "bare.onnx")
        print(f"{of.name:45} {form:22} {'right' if row.get('right') else row.get('why') or row}",
              flush=True)  # fmt: skip
        return row


def compared(of: Architecture, form: str, call: Any, graph: Path) -> dict[str, Any]:
    """How far ONNX Runtime is from the native module at most, over batches and sizes."""
    import numpy as np
    import onnxruntime
    import torch

    half = form == "half precision"
    # Its layout of blocked channels crashes on convolutions of float16.
    off = ["NchwcTransformer"] if half else None
    session = onnxruntime.InferenceSession(
        graph, providers=["CPUExecutionProvider"], disabled_optimizers=off
    )
    inputs = session.get_inputs()
    worst, right, tried = 0.0, True, []
    for size in of.sizes:
        open_size = any(isinstance(axis, str) for axis in inputs[0].shape[1:])
        if size and not open_size:
            continue
        fixed = inputs[0].shape[0]
        for batch in (1, 3) if isinstance(fixed, str) else (fixed,):
            given = [
                t.half() if half and t.is_floating_point() else t for t in of.feed(batch, size)
            ]
            with torch.no_grad():
                native = call(*given).float().numpy()
            truth = _widened(call, given) if half else native
            spare = torch.zeros_like(given[0])  # token types, where the graph asks for them
            pairs = zip_longest(inputs, given, fillvalue=spare)
            arrays = {i.name: _as(i.type, t) for i, t in pairs}
            try:
                ours = session.run(None, arrays)[0].astype(np.float32)
            except Exception as error:
                return {"right": False, "why": f"batch {batch}: {_line(error)}"}
            if ours.shape != native.shape:
                return {"right": False, "why": f"shape {ours.shape} for {native.shape}"}
            scale = np.abs(truth).max()
            own = MULTIPLE * float(np.abs(native - truth).max() / scale)
            apart = float(np.abs(ours - truth).max() / scale)
            right &= apart <= max(own, HALF if half else TOLERANCE)
            worst = max(worst, apart)
            tried.append([batch, size or "usual"])
    return {"right": right, "apart": worst, "tried": tried, "batch open": isinstance(fixed, str)}


def _widened(call: Any, given: list[Any]) -> Any:
    """What the module of half precision gives in float32, where its rounding is not seen."""
    import torch

    module = deepcopy(call).float()
    with torch.no_grad():
        return module(*(t.float() if t.is_floating_point() else t for t in given)).numpy()


def _as(kind: str, tensor: Any) -> Any:
    names = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(int64)": "int64",
             "tensor(bool)": "bool"}  # fmt: skip
    return tensor.numpy().astype(names[kind])


def by_hand(of: Architecture, form: str, call: Any, path: Path) -> dict[str, Any]:
    """What a person's own torch.onnx.export of the module gives, with an open batch."""
    import torch

    half = form == "half precision"
    example = tuple(t.half() if half and t.is_floating_point() else t for t in of.feed(2, 0))
    began = time.perf_counter()
    axes = {
        0: torch.export.Dim.DYNAMIC,
        **({1: torch.export.Dim.DYNAMIC} if len(of.sizes) > 1 else {}),
    }
    shapes: Any = tuple(dict(axes) for _ in example)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            if form in ("scripted", "traced"):
                script = (
                    torch.jit.script(call)
                    if form == "scripted"
                    else torch.jit.trace(call, example, check_trace=False)
                )
                names = [f"input_{i}" for i, _ in enumerate(example)]
                opened = {n: {a: f"axis_{a}" for a in axes} for n in names}
                torch.onnx.export(script, example, str(path), dynamo=False, input_names=names,
                                  dynamic_axes=opened)  # fmt: skip
            else:
                torch.onnx.export(call, example, str(path), dynamo=True, verbose=False,
                                  dynamic_shapes=(shapes,) if of.config else shapes)  # fmt: skip
        found = compared(of, form, call, path)
    except Exception as error:
        found = {"right": False, "why": _line(error)}
    return {**found, "seconds": round(time.perf_counter() - began, 1)}


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:200]}"


# ---------------------------------------------------------------- the whole


def everything() -> tuple[Architecture, ...]:
    return (*ARCHITECTURES, *UNLIKE)


def _one(name: str) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    of = next(a for a in everything() if a.name == name)
    return cells(of, ("bare",) if of in UNLIKE else FORMS)


def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many cells there are, are exported, and are right."""
    possible = [r for r in rows if "impossible" not in r]
    tried = [r for r in possible if r["exported"]]
    by_form = Counter(r["form"] for r in tried)
    return {
        "cells": len(rows),
        "impossible": [[r["architecture"], r["form"], r["impossible"]] for r in rows
                       if "impossible" in r],
        "exported": len(tried),
        "right": sum(bool(r["right"]) for r in tried),
        "with a fixed batch": [[r["architecture"], r["form"]] for r in tried
                               if not r.get("batch open", True)],
        "exported of those possible": round(len(tried) / max(len(possible), 1), 4),
        "exported by form": {form: by_form[form] for form in FORMS},
        "bare export right": sum(bool(r["bare export"]["right"]) for r in possible),
    }  # fmt: skip


def _kept(patterns: list[str]) -> Iterator[str]:
    for of in everything():
        if not patterns or any(fnmatch.fnmatch(of.name, p) for p in patterns):
            yield of.name


def result(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    unlike = {a.name for a in UNLIKE}
    plain = [r for name, some in rows.items() if name not in unlike for r in some]
    wrongly = [r for name, some in rows.items() if name in unlike for r in some]
    return {
        "machine": machine("torch", "torchvision", "timm", "transformers", "onnxruntime-gpu"),
        "date": time.strftime("%Y-%m-%d"),
        "tolerance": {"float32": TOLERANCE, "float16": HALF},
        "counts": counted(plain),
        "assumed wrongly": [[r["architecture"], r.get("apart")] for r in wrongly
                            if r["exported"] and not r["right"]],
        "rows": [*plain, *wrongly],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = list(_kept(options.patterns))
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        rows = dict(zip(names, pool.map(_one, names), strict=True))
    stored = RESULTS / "first_try.json"
    if options.patterns and stored.exists():
        before = json.loads(stored.read_text("utf-8"))["rows"]
        kept = {a.name: [r for r in before if r["architecture"] == a.name] for a in everything()}
        rows = {name: rows.get(name) or some for name, some in kept.items()}
    found = result(rows)
    print(json.dumps(found["counts"], indent=1), found["assumed wrongly"])
    store("first_try", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
