"""A model of the mutation study -> the files that other tools make of it, each confirmed right.

The exporters of torch, timm, transformers and optimum; then onnxslim, onnxsim and ONNX Runtime's
own optimiser over what they wrote. A file is right if ONNX Runtime answers as the module does on
three random batches, within a thousandth of the largest output; interop has no part in that.
optimum and the slimmers run in environments of their own: one that is not there is recorded.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from benchmarks.mutation_models import Arrays, Model, answers, plain

TOLERANCE = 1e-3
LOWER = {"dynamic": 0.25, "static": 0.25, "float16": 0.02}  # of the largest output
FIXED = 2  # rows, where a batch is fixed
LEVELS = ("BASIC", "EXTENDED", "LAYOUT", "ALL")
LIMIT = 600

SLIM = """
import json, sys, traceback
for tool, source, target in json.load(open(sys.argv[1])):
    try:
        import onnx
        if tool == "onnxslim":
            import onnxslim
            onnxslim.slim(source, target)
        else:
            import onnxsim
            made, good = onnxsim.simplify(onnx.load(source))
            assert good, "onnxsim's own check fails"
            onnx.save(made, target)
    except BaseException as error:
        print(f"{target}\\t{type(error).__name__}: {str(error)[:200]!r}")
"""
OPTIMUM = """
import json, sys
from optimum.exporters.onnx import main_export
for source, target, task, optimize in json.load(open(sys.argv[1])):
    try:
        main_export(source, target, task=task, do_validation=False, no_post_process=True,
                    optimize=optimize)
    except BaseException as error:
        print(f"{target}\\t{type(error).__name__}: {str(error)[:200]!r}")
"""


@dataclass
class Artefact:
    """One file: which tool made it, whether it is right by ONNX Runtime, and how far it is off."""

    model: str
    tool: str
    path: str
    right: bool
    apart: float
    why: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Tools:
    """The interpreters of the environments of peers."""

    optimum: str = ""
    slimmers: str = ""


def make(of: Model, module: torch.nn.Module, source: Path, folder: Path, tools: Tools
         ) -> list[Artefact]:  # fmt: skip
    """All files of one model, those of lower precision last, each with its verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[Path, str]] = {}
    for tool, path, write in (*_torch(of, module, folder), *_library(of, module, folder)):
        made[tool] = path, _quietly(write)
    if of.task:
        made |= _optimum(of, source, folder, tools)
    bases = [t for t in ("torch dynamo", "torchscript, not folded") if not made[t][1]]
    for tool, path, write in _runtime(bases, made, folder):
        made[tool] = path, _quietly(write)
    made |= _slimmed(of, bases, made, folder, tools)
    found = [_judged(of, module, tool, path, why) for tool, (path, why) in made.items()]
    lower = {
        f"{base}, {how}": (path, _quietly(write), how)
        for base, how, path, write in _quantised(of, made, folder)
    }
    return found + [_judged(of, module, t, p, why, how) for t, (p, why, how) in lower.items()]


def _judged(of: Model, module: torch.nn.Module, tool: str, path: Path, why: str,
            precision: str = "") -> Artefact:  # fmt: skip
    apart, right = float("inf"), False
    if not why:
        try:
            apart = distance(of, module, path)
            right = apart <= LOWER.get(precision, TOLERANCE)
            why = "" if right else f"{apart:.1e} of the largest output off"
        except Exception as error:
            why = _line(error)
    return Artefact(of.name, tool, str(path), right, apart, why, precision)


Step = tuple[str, Path, Callable[[], Any]]


def _torch(of: Model, module: torch.nn.Module, folder: Path) -> Iterator[Step]:
    """Both exporters of torch, with an open batch and with a fixed one."""
    call = plain(of, module)
    names = list(of.names)
    given = tuple(torch.from_numpy(a) for a in of.feed(FIXED, 0, 0).values())
    opened = {n: dict(enumerate(axes)) for n, axes in of.dynamic.items()}
    shapes = tuple(dict.fromkeys(opened[n], torch.export.Dim.DYNAMIC) for n in names)
    if of.task:  # *given is one argument
        shapes = (shapes,)  # type: ignore[assignment]
    for tool, more in {
        "torch dynamo": {"optimize": True, "external_data": False, "dynamic_shapes": shapes},
        "torch dynamo, not optimised": {
            "optimize": False, "external_data": True, "dynamic_shapes": shapes,
        },
        "torch dynamo, fixed batch": {"optimize": True, "external_data": True},
    }.items():  # fmt: skip
        path = _place(folder, tool)
        settings = {"dynamo": True, "verbose": False, "input_names": names,
                    "output_names": list(of.outputs), **more}  # fmt: skip
        yield tool, path, lambda p=path, s=settings: torch.onnx.export(call, given, str(p), **s)
    for tool, axes, folding in (
        ("torchscript", opened, True),
        ("torchscript, not folded", opened, False),
        ("torchscript, fixed batch", None, True),
    ):
        path = _place(folder, tool)
        # What most scripts call them, whatever the forward's own names are.
        called = names if len(names) > 1 else ["input"]
        outputs = {o: {0: "batch"} for o in of.outputs}
        every = {b: axes[a] for a, b in zip(names, called, strict=True)} | outputs if axes else None
        settings = {"dynamo": False, "do_constant_folding": folding, "input_names": called,
                    "output_names": list(of.outputs), "dynamic_axes": every}  # fmt: skip
        yield tool, path, lambda p=path, s=settings: torch.onnx.export(call, given, str(p), **s)


def _library(of: Model, module: torch.nn.Module, folder: Path) -> Iterator[Step]:
    """timm's script, and the exporters of transformers."""
    if of.options.get("arch", "").startswith("timm/"):
        from timm.utils.onnx import onnx_export

        given = torch.from_numpy(of.feed(1, 0, 0)["x"])
        for tool, dynamo in (("timm's script", False), ("timm's script, dynamo", True)):
            path = _place(folder, tool)
            yield (
                tool,
                path,
                lambda p=path, d=dynamo: onnx_export(
                    module, str(p), example_input=given, use_dynamo=d
                ),
            )
    if of.task:
        from transformers.exporters import OnnxConfig, OnnxExporter

        for tool, dynamic in (("transformers", True), ("transformers, fixed", False)):
            path = _place(folder, tool)

            def write(path: Path = path, dynamic: bool = dynamic) -> None:
                given = {n: torch.from_numpy(a) for n, a in of.feed(FIXED, 0, 0).items()}
                made = OnnxExporter().export(module, given, config=OnnxConfig(dynamic=dynamic))
                made.save_pretrained(str(path.parent))

            yield tool, path, write


def _optimum(of: Model, source: Path, folder: Path, tools: Tools) -> dict[str, tuple[Path, str]]:
    wanted = {"optimum": None, "optimum -O1": "O1"}
    paths = {tool: _place(folder, tool) for tool in wanted}
    jobs = [[str(source), str(paths[t].parent), of.task, level] for t, level in wanted.items()]
    return _elsewhere(tools.optimum, OPTIMUM, jobs, paths, {t: paths[t].parent for t in paths})


def _slimmed(of: Model, bases: Sequence[str], made: dict[str, tuple[Path, str]], folder: Path,
             tools: Tools) -> dict[str, tuple[Path, str]]:  # fmt: skip
    paths, jobs = {}, []
    for base in bases:
        for tool in ("onnxslim", "onnxsim"):
            paths[f"{tool} of {base}"] = path = _place(folder, f"{tool} of {base}")
            jobs.append([tool, str(made[base][0]), str(path)])
    return _elsewhere(tools.slimmers, SLIM, jobs, paths, paths)


def _elsewhere(python: str, script: str, jobs: list[Any], paths: dict[str, Path],
               targets: dict[str, Path]) -> dict[str, tuple[Path, str]]:  # fmt: skip
    """Run one script with another interpreter; why each file is not there, if it is not."""
    if not python or not Path(python).exists():
        return {tool: (path, "not installed") for tool, path in paths.items()}
    listed = next(iter(paths.values())).parent / "jobs.json"
    listed.write_text(json.dumps(jobs), "utf-8")
    done = subprocess.run([python, "-c", script, str(listed)], capture_output=True, text=True,
                          timeout=LIMIT, check=False)  # fmt: skip
    said = dict(x.split("\t", 1) for x in done.stdout.splitlines() if "\t" in x)
    lost = (done.stderr.strip().splitlines() or ["it ended"])[-1][:200] if done.returncode else ""
    return {
        tool: (path, said.get(str(targets[tool]), "" if path.exists() else lost or "no file"))
        for tool, path in paths.items()
    }


def _runtime(bases: Sequence[str], made: dict[str, tuple[Path, str]], folder: Path
             ) -> Iterator[Step]:  # fmt: skip
    """ONNX Runtime's optimiser, at each level, over one base after the other."""
    for place, level in enumerate(LEVELS):
        base = bases[place % len(bases)]
        tool = f"ONNX Runtime {level} of {base}"
        path = _place(folder, tool)

        def write(base: str = base, level: str = level, path: Path = path) -> None:
            settings = onnxruntime.SessionOptions()
            settings.graph_optimization_level = getattr(
                onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}"
            )
            settings.optimized_model_filepath = str(path)
            settings.log_severity_level = 3
            onnxruntime.InferenceSession(
                str(made[base][0]), settings, providers=["CPUExecutionProvider"]
            )

        yield tool, path, write


def _quantised(of: Model, made: dict[str, tuple[Path, str]], folder: Path
               ) -> Iterator[tuple[str, str, Path, Callable[[], Any]]]:  # fmt: skip
    """Files of lower precision: they are verified with budgets."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Rows(CalibrationDataReader):
        """A few random batches, by the graph's own names."""

        def __init__(self, path: str) -> None:
            graph = onnx.load(path, load_external_data=False).graph
            names = [i.name for i in graph.input]
            feeds = [of.feed(FIXED, 100 + n, 0).values() for n in range(8)]
            self.rows = iter([dict(zip(names, f, strict=True)) for f in feeds])

        def get_next(self) -> Arrays | None:
            return next(self.rows, None)

    base = "torchscript"
    source = str(made[base][0])
    for how in of.quantised:
        path = _place(folder, f"{base}, {how}")

        def write(how: str = how, path: Path = path) -> None:
            if how == "dynamic":
                quantize_dynamic(source, str(path), weight_type=QuantType.QInt8, per_channel=True)
            elif how == "static":
                quantize_static(source, str(path), Rows(source), quant_format=QuantFormat.QDQ,
                                per_channel=True)  # fmt: skip
            else:
                from onnxconverter_common import float16

                made = float16.convert_float_to_float16(onnx.load(source), keep_io_types=True)
                onnx.save(made, str(path))

        yield base, how, path, write


# ---------------------------------------------------------------- running them


def session(path: Path | str, optimise: bool = False) -> onnxruntime.InferenceSession:
    """A session on one thread, as the file is or as ONNX Runtime improves it."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    if not optimise:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def run(opened: onnxruntime.InferenceSession, given: Arrays) -> list[np.ndarray[Any, Any]]:
    """Its answers; inputs go by name, or by place where the names are others."""
    wanted = [i.name for i in opened.get_inputs()]
    if "position_ids" in wanted and "input_ids" in given:  # which the class counts itself
        rows, places = given["input_ids"].shape
        given = {**given, "position_ids": np.arange(places)[None].repeat(rows, 0)}
    if set(wanted) <= set(given):
        return opened.run(None, {n: given[n] for n in wanted})
    return opened.run(None, dict(zip(wanted, given.values(), strict=True)))


def batches(of: Model, opened: onnxruntime.InferenceSession, count: int) -> Iterator[Arrays]:
    """Random batches that a file takes: of other sizes, too, where its axes are open."""
    shape = opened.get_inputs()[0].shape
    rows = (shape[0],) if isinstance(shape[0], int) else (1, 3, 2, 5)
    sizes = range(of.sizes if len(shape) > 1 and not isinstance(shape[1], int) else 1)
    every = ((n, s) for s in range(count) for n in rows[s % len(rows) : s % len(rows) + 1])
    for seed, (n, _) in enumerate(islice(every, count)):
        yield of.feed(n, 1000 + seed, sizes[seed % len(sizes)])


def distance(of: Model, module: torch.nn.Module, path: Path, count: int = 3) -> float:
    """How far the file is from the module at most, of the largest output."""
    opened = session(path, optimise=True)
    far = 0.0
    for given in batches(of, opened, count):
        far = max(far, apart(answers(of, module, given), run(opened, given)[: len(of.outputs)]))
    return far


def apart(wanted: Sequence[np.ndarray[Any, Any]], got: Sequence[np.ndarray[Any, Any]]) -> float:
    """The largest difference, each output by its own scale; infinite where shapes or NaN differ."""
    if len(wanted) != len(got):
        return float("inf")
    far = 0.0
    for a, b in zip(wanted, got, strict=True):
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return float("inf")
        lost = ~np.isfinite(a), ~np.isfinite(b)
        if (lost[0] != lost[1]).any():
            return float("inf")
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))[~lost[0]]
        scale = float(np.abs(a[~lost[0]]).max(initial=0.0)) or 1.0
        far = max(far, float(difference.max(initial=0.0)) / scale)
    return far


def _place(folder: Path, tool: str) -> Path:
    own = folder / "".join(c if c.isalnum() else "_" for c in tool.lower())
    own.mkdir(parents=True, exist_ok=True)
    return own / "model.onnx"


def _quietly(write: Callable[[], Any]) -> str:
    """Why it failed, or nothing."""
    began = perf_counter()
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            write()
    except Exception as error:
        return _line(error)
    finally:
        print(f"  {perf_counter() - began:.1f} s", end="\r", file=sys.stderr)
    return ""


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:200]}"


def stored(found: Sequence[Artefact], path: Path) -> None:
    """Keep the list of a model's files."""
    path.write_text(json.dumps([asdict(a) for a in found], indent=1), "utf-8")


def listed(path: Path) -> list[Artefact]:
    """The files of a model, as they were stored."""
    return [Artefact(**row) for row in json.loads(path.read_text("utf-8"))]
