"""Whole pickled modules, rebuilt without running the pickle -> results/whole_modules.json.

    python -m benchmarks.whole_modules [LIBRARY | LIBRARY/MODEL …] [--timm N] [--again]

Every model of torchvision, N of timm's, spread over its list, and every class of
transformers' families in its tiny config is made by its library with seeded weights, saved whole
by `torch.save`, and read back twice: by `torch.load(weights_only=False)`, and as `interop export`
does, from the records of the pickle alone. Both get the same input; their outputs have to be equal
bit for bit. A model of more than 300 million parameters is skipped. Each model has a record:
"equal", or what it failed by; a run goes on where the last one stopped, but for `--again`. Exit 1
if any differs or is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.process import RESULTS, machine

RESULT = RESULTS / "whole_modules.json"
MOST = 300_000_000
TIMM = 236  # of which 200 are small enough
EQUAL = "equal"
_VIDEO = {"s3d": (3, 16, 224, 224), "mvit": (3, 16, 224, 224), "swin3d": (3, 8, 224, 224)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("libraries", nargs="*", default=["torchvision", "timm", "transformers"])
    parser.add_argument("--timm", type=int, default=TIMM, metavar="N")
    parser.add_argument("--again", action="store_true", help="try what has a record too")
    options = parser.parse_args()
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    models: dict[str, dict[str, Any]] = known.get("models", {})
    for library in options.libraries:
        for name in _names(library, options.timm):
            if name in models and not options.again:
                continue
            began = time.perf_counter()
            outcome = tried(name)
            models[name] = {"outcome": outcome, "seconds": round(time.perf_counter() - began, 2)}
            if outcome != EQUAL:
                print(f"{name}: {outcome}", file=sys.stderr, flush=True)
            gc.collect()
            _store(models)
    print(json.dumps(_counts(models), indent=2))
    bad = ("differs", "refused", "fails")
    return int(any(m["outcome"].startswith(bad) for m in models.values()))


def _names(library: str, most: int) -> list[str]:
    from interop.models import catalog

    if "/" in library:  # one model
        return [library]
    names = catalog.names(library)
    if library != "timm":
        return names
    return [names[i * len(names) // most] for i in range(min(most, len(names)))]


def _store(models: dict[str, dict[str, Any]]) -> None:
    from interop.models import catalog

    stored = {
        "machine": machine(),
        "versions": catalog.built_from(),
        "counts": _counts(models),
        "models": dict(sorted(models.items())),
    }
    RESULT.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


def _counts(models: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How many models of each library there are by outcome, its reason left out."""
    counts: dict[str, Counter[str]] = {}
    for name, model in models.items():
        own = counts.setdefault(name.partition("/")[0], Counter())
        own[model["outcome"].partition(":")[0]] += 1
    return {library: dict(own) for library, own in counts.items()}


def tried(name: str) -> str:
    """EQUAL, or what became of a model instead: "kind: reason"."""
    import torch

    from interop.errors import InteropError
    from interop.identity import identify_file
    from interop.models import built

    torch.manual_seed(0)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            module = _made(name)
        except Exception as error:  # a library's constructor may raise anything
            return f"not made: {_line(error)}"
        if module is None:
            return "skipped: more than 300 M parameters"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "whole.pth"
            try:
                torch.save(module, path)
            except Exception as error:
                return f"not saved: {_line(error)}"
            loaded = torch.load(path, weights_only=False)
            inputs = _inputs(name, module, path)
            try:
                again, proof, _ = built(identify_file(path))
            except InteropError as error:
                return f"refused: {error.what}"
            if not proof.holds:
                return f"differs: {proof.what}"
            return _compared(loaded, again, inputs)


def _made(name: str) -> Any:
    """The model with seeded weights; None if it has too many."""
    from interop.models import catalog

    library, _, own = name.partition("/")
    fields: dict[str, Any] = {}
    if library == "transformers":
        from interop.models.libraries.transformers import catalog as transformers

        fields = dict(transformers.configs(own)[0])
    size = sum(p.numel() for p in catalog.meta(name, **fields).parameters())
    return None if size > MOST else catalog.module(name, **fields)


def _inputs(full: str, module: Any, path: Path) -> dict[str, Any]:
    import torch

    library, _, name = full.partition("/")
    if library == "transformers":
        with contextlib.suppress(Exception):
            return _by_signature(path)
    if name.startswith("raft"):
        pictures = torch.rand((2, 1, 3, 128, 128))
        return {"image1": pictures[0], "image2": pictures[1]}
    video = _VIDEO if library == "torchvision" else {}
    shape = next((s for start, s in video.items() if name.startswith(start)), None)
    own = import_module(f"interop.models.libraries.{library}.catalog")
    given: dict[str, Any] = own.inputs(name, module, shape)
    return given


def _by_signature(path: Path) -> dict[str, Any]:
    """What an export would feed it; a module of its own is asked, since asking sets some of it."""
    import torch

    from interop.identity import identify_file
    from interop.models.infer_signature import signature
    from interop.models.signature.types import drawn

    module = torch.load(path, weights_only=False)
    drawn_inputs = drawn(signature(identify_file(path), module), 1)
    inputs = {name: torch.from_numpy(array) for name, array in drawn_inputs.items()}
    if getattr(module.config, "is_encoder_decoder", False):  # the encoder alone may be exported
        ids = inputs.get("input_ids", torch.full((1, 3), 9))
        inputs.setdefault("decoder_input_ids", ids.clone())
    return inputs


def _compared(loaded: Any, again: Any, inputs: dict[str, Any]) -> str:
    import torch

    from interop.models.load_weights import same_bits

    with torch.inference_mode():
        try:
            torch.manual_seed(0)
            one = list(_tensors(loaded(**inputs) if len(inputs) > 1 else _call(loaded, inputs)))
        except Exception as error:
            return f"not run by its library either: {_line(error)}"
        try:
            torch.manual_seed(0)
            other = list(_tensors(again(**inputs) if len(inputs) > 1 else _call(again, inputs)))
        except Exception as error:
            return f"fails: {_line(error)}"
    alike = len(one) == len(other) and all(map(same_bits, one, other))
    return EQUAL if alike and one else f"differs: {len(one)} and {len(other)} outputs"


def _call(module: Any, inputs: dict[str, Any]) -> Any:
    (value,) = inputs.values()
    return module(**inputs) if hasattr(module, "main_input_name") else module(value)


def _tensors(given: Any) -> Iterator[Any]:
    import torch

    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, dict):
        for value in given.values():
            yield from _tensors(value)
    elif isinstance(given, (list, tuple)):
        for value in given:
            yield from _tensors(value)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0]}"[:200]


if __name__ == "__main__":
    sys.exit(main())
