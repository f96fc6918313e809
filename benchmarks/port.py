"""Weights carried between libraries, there and back -> relative errors, verdicts and costs.

    python -m benchmarks.port [NAME ...]

For each pair of libraries that have an architecture: random weights with statistics of data
(fixtures.shaken) go from one to the other and back, each way proved by running both models, and
what came back is held against what was sent, bit for bit. The figures go to
benchmarks/results/port.json; exit 1 where a pair that should be proved is not.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

RESULT = Path(__file__).resolve().parent / "results" / "port.json"
CLASSES = 10

# architecture -> its names; those of one tuple compute the same.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "resnet18": (
        "torchvision/resnet18", "timm/resnet18", "transformers/ResNetForImageClassification",
    ),
    "resnet50": (
        "torchvision/resnet50", "timm/resnet50", "transformers/ResNetForImageClassification",
    ),
    "vit_b_16": (
        "torchvision/vit_b_16", "timm/vit_base_patch16_224",
        "transformers/ViTForImageClassification",
    ),
    "swin_t": (
        "torchvision/swin_t", "timm/swin_tiny_patch4_window7_224",
        "transformers/SwinForImageClassification",
    ),
    "convnext_tiny": (
        "torchvision/convnext_tiny", "timm/convnext_tiny",
        "transformers/ConvNextForImageClassification",
    ),
    "efficientnet_b0": ("torchvision/efficientnet_b0", "timm/efficientnet_b0"),
    "tf_efficientnet_b0": (
        "timm/tf_efficientnet_b0", "transformers/EfficientNetForImageClassification",
    ),
    "mobilenet_v3_large": ("torchvision/mobilenet_v3_large", "timm/mobilenetv3_large_100"),
    "densenet121": ("torchvision/densenet121", "timm/densenet121"),
    "regnet_y_400mf": (
        "torchvision/regnet_y_400mf", "timm/regnety_004",
        "transformers/RegNetForImageClassification",
    ),
    "deit_base_distilled": (
        "timm/deit_base_distilled_patch16_224",
        "transformers/DeiTForImageClassificationWithTeacher",
    ),
}  # fmt: skip
# What a target must be told, since the libraries' defaults differ and no weight shows it.
SETTINGS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("torchvision/mobilenet_v3_large", "timm/mobilenetv3_large_100"): {"bn_eps": 0.001}
}
# Weights that map where the computation is another: the verdict must say so.
DIFFERENT = (
    ("torchvision/mobilenet_v3_large", "timm/mobilenetv3_large_100"),
    ("torchvision/efficientnet_b0", "transformers/EfficientNetForImageClassification"),
)


@dataclass
class Trip:
    """One port and what came of it."""

    source: str
    target: str
    verdict: str
    relative: float | None
    seconds: float
    steps: Mapping[str, int] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    same_bytes: bool | None = None
    expected: str = "proved"

    @property
    def as_expected(self) -> bool:
        return self.verdict.startswith(self.expected) and self.same_bytes is not False


def main() -> None:
    wanted = sys.argv[1:]
    trips: list[Trip] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, group in GROUPS.items():
            if not wanted or name in wanted:
                for one, other in combinations(group, 2):
                    trips += there_and_back(Path(folder), one, other)
                    show(trips[-2:])
        if not wanted:
            for source, target in DIFFERENT:
                trip, _ = _one(_start(Path(folder), source), source, target, {})
                trip.expected = "weights map, the forward differs"
                trips.append(trip)
                show(trips[-1:])
            trips += language_models(Path(folder))
            show(trips[-3:])
    if not wanted:
        RESULT.write_text(json.dumps(_document(trips), indent=1) + "\n", "utf-8")
    sys.exit(0 if all(t.as_expected for t in trips) else 1)


def there_and_back(folder: Path, one: str, other: str) -> Iterator[Trip]:
    """From `one` to `other` and from there to `one` again."""
    from safetensors.torch import load_file

    start = _start(folder, one)
    there, file = _one(start, one, other, SETTINGS.get((one, other), {}))
    yield there
    if file is None:
        yield Trip(other, one, "not tried", None, 0.0)
        return
    back, last = _one(file, other, one, {})
    if last is not None:
        sent, came = load_file(start), load_file(last)
        back.same_bytes = sent.keys() == came.keys() and all(
            _bits(sent[n]) == _bits(came[n]) for n in sent
        )
    yield back


def language_models(folder: Path) -> Iterator[Trip]:
    """BERT's old names to its new ones and back, GPT-2's Conv1D to linear layers."""
    import torch
    import transformers

    from fixtures import small_gpt
    from fixtures.shaken import shaken
    from interop.identity import identify_file

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    bert = transformers.BertModel(
        transformers.BertConfig(vocab_size=99, intermediate_size=96, **sizes)
    )
    shaken(bert)
    bert.save_pretrained(folder / "bert")
    state = bert.state_dict()
    old = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"): v for k, v in state.items()}  # fmt: skip
    (folder / "bert-old").mkdir()
    (folder / "bert-old" / "config.json").write_text((folder / "bert" / "config.json").read_text())
    torch.save(old, folder / "bert-old" / "pytorch_model.bin")
    like = identify_file(folder / "bert", whole=True)
    options: dict[str, Any] = {"like": like}
    yield _one(folder / "bert-old", "BERT, gamma and beta", "BERT, weight and bias", {}, options)[0]
    yield _one(
        folder / "bert-old", "BERT, gamma and beta", "transformers/BertModel", {},
        {"to": "transformers/BertModel"},
    )[0]  # fmt: skip
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(**small_gpt.SIZES))
    shaken(gpt)
    gpt.save_pretrained(folder / "gpt")
    torch.save(small_gpt.make().state_dict(), folder / "own.pth")
    options = {
        "like": identify_file(folder / "own.pth", whole=True),
        "like_factory": "fixtures.small_gpt:make",
    }
    yield _one(folder / "gpt", "transformers/GPT2LMHeadModel", "own GPT of Linear", {}, options)[0]


def _one(
    file: Path, source: str, target: str, settings: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
) -> tuple[Trip, Path | None]:  # fmt: skip
    """One port, proved; and the file that it wrote."""
    from interop.errors import InteropError
    from interop.identity import identify_file
    from interop.port import PortOptions, port

    out = file.parent / f"{abs(hash((str(file), target)))}.safetensors"
    how = dict(options or {"to": target})
    like = how.pop("like", None)
    named = source if "/" in source and not file.is_dir() else None
    began = perf_counter()
    try:
        report = port(
            identify_file(file, whole=True),
            PortOptions(out=str(out), prove=True, arch=named, settings=settings, force=True, **how),
            like=like,
        )
    except InteropError as error:
        return Trip(source, target, f"error: {error}", None, perf_counter() - began), None
    facts = {p.name: p.facts for p in report.proofs}
    forward = facts.get("same forward", {})
    bad = [p for p in report.proofs if not p.holds]
    verdict = "proved" if not bad else bad[0].what
    trip = Trip(
        source, target, verdict, forward.get("relative"), perf_counter() - began,
        dict(report.details.steps), list(forward.get("apart", [])),
    )  # fmt: skip
    return trip, out if not bad else None


def _start(folder: Path, name: str) -> Path:
    """A file of shaken weights under the names that a library writes."""
    import torch
    from safetensors.torch import save_file

    from fixtures.shaken import shaken
    from interop.models import catalog

    torch.manual_seed(0)
    key = "num_labels" if name.startswith("transformers/") else "num_classes"
    module = catalog.module(name, **{key: CLASSES})
    side = 224 if any(n in name for n in ("vit", "deit", "swin")) else 96
    state = shaken(module, (4, 3, side, side)).state_dict()
    path = folder / f"{name.replace('/', '-')}.safetensors"
    save_file({k: v.contiguous().clone() for k, v in state.items()}, path, {"format": "pt"})
    return path


def _bits(tensor: Any) -> bytes:
    import torch

    found: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return found


def show(trips: list[Trip]) -> None:
    for t in trips:
        error = "" if t.relative is None else f"{t.relative:.1e}"
        same = {None: "", True: "same bytes", False: "OTHER BYTES"}[t.same_bytes]
        print(f"{t.source} -> {t.target}\n    {t.verdict}  {error}  {same}  {t.seconds:.1f} s")
        for line in t.apart:
            print(f"    {line}")
    sys.stdout.flush()


def _document(trips: list[Trip]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "versions": {n: version(n) for n in ("torch", "torchvision", "timm", "transformers")},
        "machine": {"system": platform.system(), "cpus": os.cpu_count()},
        "bound": 1e-5,
        "trips": [
            {
                "from": t.source,
                "to": t.target,
                "verdict": t.verdict,
                "as_expected": t.as_expected,
                "relative": t.relative,
                "apart": t.apart,
                "steps": dict(t.steps),
                "same_bytes_there_and_back": t.same_bytes,
                "seconds": round(t.seconds, 1),
            }
            for t in trips
        ],
    }


if __name__ == "__main__":
    main()
