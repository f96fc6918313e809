"""Which models does `interop export` take, by which route? -> results/coverage.json.

    python -m benchmarks.coverage [PATTERN …] [--all] [--again failed|all] [--jobs N]

Every model is built by its own library with seeded weights that are not trivial, saved as people
save it (a state dict; `save_pretrained`), and exported from that file alone in a process of its
own. torchvision's classifiers and detectors have other classes than they came with, as fine-tuned
ones do. A run goes on where the last one stopped: what stands in the results is not tried again,
but for `--again`. `--all` takes every architecture of timm, instead of the smallest few of each of
its families. Each record has the route, what became of the others, the parity that was seen, the
sizes that each axis was proved for, CPU seconds and peak memory; what failed has the reason.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.process import RESULTS, ROOT, machine

RESULT = RESULTS / "coverage.json"
LIMIT = 900
A_FAMILY = 2  # architectures of each of timm's families
CLASSES = 7
_PRELOAD = ["torch", "torchvision", "timm", "transformers", "onnxruntime", "interop.export"]

# The ending of a transformers class's name -> the task it is for.
TASKS: Mapping[str, str] = {
    "ForSequenceClassification": "sequence classification",
    "ForTokenClassification": "token classification",
    "ForMultipleChoice": "multiple choice",
    "ForQuestionAnswering": "question answering",
    "ForCausalLM": "causal LM",
    "LMHeadModel": "causal LM",
    "ForMaskedLM": "masked LM",
    "ForConditionalGeneration": "seq2seq",
    "MTModel": "seq2seq",
    "ForImageClassification": "image classification",
    "ForImageClassificationWithTeacher": "image classification",
    "ForObjectDetection": "detection",
    "ForSemanticSegmentation": "segmentation",
    "ForUniversalSegmentation": "segmentation",
    "ForDepthEstimation": "depth",
    "ForAudioClassification": "audio classification",
    "ForCTC": "CTC",
    "Model": "embeddings",
    "EncoderModel": "embeddings",
    "TextModelWithProjection": "embeddings",
    "VisionModelWithProjection": "embeddings",
}
# Some hundred million weights, or pictures of over a thousand pixels: --all has them.
_HEAVY = re.compile(
    r"\d{3}m\b|\d{3}m_|huge|giant|large|xlarge|_xl|so\d+m|264|269e|senet154|samvit|_1024|_512$"
)
_SPEECH = ("Whisper", "Speech2Text")
_FAINT = ("DPT", "EfficientNet", "MobileViT")
# Classes that the index has no entry for.
_MORE = {
    "MaskFormerForInstanceSegmentation": "segmentation",
    "Mask2FormerForUniversalSegmentation": "segmentation",
}
# Fields beside those of the index, for classes that are large without them, or do not run.
_DPT = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128,
    "image_size": 64, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [16, 16, 32, 32],
    "fusion_hidden_size": 32,
}  # fmt: skip
_SWIN = {
    "model_type": "swin", "image_size": 64, "embed_dim": 24, "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 3, 4], "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_FIELDS: Mapping[str, dict[str, Any]] = {
    "BeitForSemanticSegmentation": {
        "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 128, "image_size": 64, "out_indices": [0, 1, 2, 3],
    },
    "DPTForDepthEstimation": _DPT,
    "DPTForSemanticSegmentation": _DPT,
    "MaskFormerForInstanceSegmentation": {
        "backbone_config": _SWIN, "mask_feature_size": 32, "fpn_feature_size": 32,
        "decoder_config": {
            "model_type": "detr", "d_model": 32, "decoder_layers": 2, "num_queries": 10,
            "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "encoder_layers": 1,
            "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
        },
    },
    "Mask2FormerForUniversalSegmentation": {
        "backbone_config": _SWIN, "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32,
        "encoder_feedforward_dim": 64, "encoder_layers": 2, "decoder_layers": 3,
        "num_attention_heads": 4, "dim_feedforward": 64, "num_queries": 10,
    },
    # Both towers' vectors are compared, so they are as long as each other.
    "EfficientNetModel": {"image_size": 64},
    "EfficientNetForImageClassification": {"image_size": 64},
    "SiglipModel": {
        "vision_config": {
            "hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 88,
            "num_attention_heads": 4, "image_size": 20, "patch_size": 4,
        },
    },
}  # fmt: skip


def cases(everything: bool) -> Iterator[tuple[str, str]]:
    """Each model by its name, with its task."""
    yield from _torchvision()
    yield from _timm(everything)
    yield from _transformers()
    yield from _own()


def _torchvision() -> Iterator[tuple[str, str]]:
    from torchvision import models

    for module, task in (
        (models, "classification"),
        (models.detection, "detection"),
        (models.segmentation, "segmentation"),
        (models.video, "video classification"),
        (models.optical_flow, "optical flow"),
    ):
        for name in models.list_models(module):
            yield f"torchvision/{name}", task
    for name in models.list_models(models.quantization):
        yield f"torchvision/{name}", "int8, refused"


def _timm(everything: bool) -> Iterator[tuple[str, str]]:
    """The smallest architectures of each family, or all."""
    import timm

    families = [timm.list_models(module=family) for family in timm.list_modules()]
    if not everything:
        light = ([n for n in names if not _HEAVY.search(n)] or names[:1] for names in families)
        families = [sorted(names, key=_rank)[:A_FAMILY] for names in light]
    # The first of each family before the second of any.
    for place in range(max(map(len, families))):
        for names in families:
            if place < len(names):
                yield f"timm/{names[place]}", "classification"


def _rank(name: str) -> tuple[int, int, str]:
    """Small ones first, as their names tell."""
    words = (
        "test_", "atto", "femto", "pico", "nano", "zepto", "xxtiny", "xxt", "micro", "tiny", "_xxs",
        "_xs", "mini", "small", "_s", "_t", "b0", "18", "26",
    )  # fmt: skip
    large = ("giant", "gigantic", "huge", "large", "xlarge", "xxlarge", "_l", "so400m", "base")
    size = next((i for i, w in enumerate(words) if w in name), len(words))
    return (size + 50 * any(w in name for w in large), len(name), name)


def _transformers() -> Iterator[tuple[str, str]]:
    from interop.models import catalog

    for name in catalog.names("transformers"):
        own = name.partition("/")[2]
        endings = [e for e in TASKS if own.endswith(e)]
        if not endings:
            continue
        task = TASKS[max(endings, key=len)]
        if own.startswith(_SPEECH) and task in ("seq2seq", "embeddings"):
            task = "speech seq2seq encoder"
        yield name, task
        if task in ("sequence classification", "image classification"):
            yield f"{name}?num_labels=1", "regression"
    for own, task in _MORE.items():
        yield f"transformers/{own}", task


def _own() -> Iterator[tuple[str, str]]:
    yield "fixtures/autoencoder.py:ConvAutoencoder", "autoencoder"
    yield "torchaudio/deepspeech", "CTC"
    yield "torchaudio/wav2vec2_base", "CTC"


# ---------------------------------------------------------------- one model, in its own process


def attempt(name: str, task: str, answer: Any) -> None:
    """Builds, saves and exports one model; sends the record."""
    import resource

    import torch

    torch.set_num_threads(1)
    began = time.process_time(), time.perf_counter()
    record: dict[str, Any] = {"task": task}
    try:
        with tempfile.TemporaryDirectory() as folder:
            record |= _attempt(name, task, Path(folder))
    except BaseException as error:  # whatever a library or an exporter raises is a record
        record |= {"holds": False, "why": f"{type(error).__name__}: {error}"[:400]}
    record["cpu_seconds"] = round(time.process_time() - began[0], 1)
    record["seconds"] = round(time.perf_counter() - began[1], 1)
    record["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    place = re.escape(tempfile.gettempdir()) + r"/tmp[\w.-]*"
    answer.send(json.loads(re.sub(place, "…", json.dumps(record, ensure_ascii=False))))


def _attempt(name: str, task: str, folder: Path) -> dict[str, Any]:
    from interop.errors import ModelError
    from interop.export import ExportOptions, export
    from interop.identity import identify_file
    from interop.identity.user_facts import UserFacts

    path, arch, options = saved(name, task, folder)
    identity = identify_file(path, UserFacts(arch=arch), content_hash=True, whole=True)
    if task == "int8, refused":
        try:
            export(identity, folder / "out")
        except ModelError as error:
            return {"holds": True, "route": "refused", "why": str(error).replace(str(folder), "")}
        return {"holds": False, "why": "was not refused"}
    weights = sum(t.nbytes for t in identity.tensors)
    report = export(identity, folder / "out", ExportOptions(**options))
    proofs = {p.name: p for p in report.proofs}
    parity = proofs.get("parity")
    found: dict[str, Any] = {
        "holds": report.exit_code == 0,
        "route": report.details.route,
        "attempts": [f"{a.route}: {a.why}"[:240] for a in report.details.attempts],
        "inputs": [f"{i.name}({', '.join(map(str, i.shape))})"
                   for i in report.details.inputs or ()],
        "weights_mb": round(weights / 1e6, 1),
        "axes": _axes(report.details.domain or ()),
    }  # fmt: skip
    if parity is not None:
        found["relative"] = max(
            (b["relative"] for b in parity.facts["batches"].values()
             if isinstance(b["relative"], float)), default=None,
        )  # fmt: skip
    if report.exit_code:
        found["why"] = "; ".join(f"{p.name}: {p.what}" for p in report.proofs if not p.holds)[:400]
    elif fault := _loads(name, folder / "out", folder):
        found |= {"holds": False, "why": fault}
    return found


def _axes(domain: Any) -> dict[str, str]:
    """Each axis of the inputs, with its state and the sizes that it was proved for."""
    return {a.name or f"{a.input} axis {a.axis}": a.words() for a in domain}


def _loads(name: str, bundle: Path, folder: Path) -> str:
    """What is wrong where the bundle's own library loads it: other weights than went in, say."""
    library, _, own = name.partition("/")
    if library == "transformers":
        import transformers

        kind = getattr(transformers, own.partition("?")[0])
        before, after = (kind.from_pretrained(p).state_dict() for p in (folder / "model", bundle))
    elif library == "timm":
        import timm
        import torch

        if json.loads((bundle / "config.json").read_text()).get("architecture") is None:
            return ""  # known as torchvision's, whose form the bundle has
        after = timm.create_model(f"local-dir:{bundle}", pretrained=True).state_dict()
        before = torch.load(folder / "model.pth", weights_only=True)
    else:
        return ""
    wrong = [n for n in before if n not in after or not before[n].equal(after[n])]
    return f"loaded by {library}, {len(wrong)} weights differ ({wrong[:2]})" if wrong else ""


def saved(name: str, task: str, folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    """A file of the model as people save it; the architecture to be named, and export's options."""
    import torch

    torch.manual_seed(0)
    library, _, own = name.partition("/")
    if library == "transformers":
        return _pretrained(own, folder), None, {}
    if library == "torchaudio":
        from interop.models.libraries.torchaudio import build as torchaudio

        if own == "deepspeech":
            module = torchaudio.imported(own, own).DeepSpeech(
                n_feature=80, n_hidden=256, n_class=29
            )
        else:
            module = getattr(torchaudio.imported("wav2vec2.model", own), own)(aux_num_out=29)
        arch, options = name, {"arch": name}
    elif library == "fixtures":
        from interop.models import call_by_path

        module = call_by_path(f"{ROOT}/{name}")
        arch, options = None, {"factory": f"{ROOT}/{name}"}
    else:
        module = _fine_tuned(library, own, task)
        arch, options = name, {"arch": name}
    if task != "int8, refused":
        _shake(module)
        _settle(module, library, own)
    path = folder / "model.pth"
    torch.save(module.state_dict(), path)
    return str(path), arch, options


def _fine_tuned(library: str, name: str, task: str) -> Any:
    import torch

    if library == "timm":
        import timm

        return timm.create_model(name, num_classes=CLASSES)
    from torchvision import models

    if task == "int8, refused":
        torch.backends.quantized.engine = "x86"
        return models.get_model(name, weights=None, quantize=True)
    options: dict[str, Any] = {"weights": None, "num_classes": CLASSES}
    if task in ("detection", "segmentation"):
        options["weights_backbone"] = None
    if task == "optical flow":
        del options["num_classes"]
    if "googlenet" in name or "inception" in name:
        options["init_weights"] = False
    if task == "segmentation" and not name.startswith("lraspp"):
        options["aux_loss"] = True
    return models.get_model(name, **options)


def _pretrained(name: str, folder: Path) -> str:
    """The class with a tiny config of its family, as `save_pretrained` leaves it."""
    from interop.models.libraries.transformers import catalog as library

    own, _, extra = name.partition("?")
    fields: dict[str, Any] = dict(library.configs(own)[0]) if own not in _MORE else {}
    fields |= _FIELDS.get(own, {})
    if extra:
        fields["num_labels"] = int(extra.partition("=")[2])
    module: Any = library._build(own, fields)
    if own.endswith("ForSequenceClassification") and module.config.pad_token_id is None:
        module.config.pad_token_id = 0  # as whoever trained it on batches had to
    encodes = getattr(module.config, "is_encoder_decoder", False)
    if encodes and getattr(module.config, "decoder_start_token_id", None) is None:
        module.config.decoder_start_token_id = 0  # as every published one of its family has
    _shake(module)
    if own.startswith(_FAINT):
        _widen(module)
    _settle(module, "transformers", own)
    with library.quiet():
        module.save_pretrained(folder / "model")
    return str(folder / "model")


def _shake(module: Any) -> None:
    """Weights that are not trivial: normalisation's statistics, and whatever starts as zero."""
    import torch

    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, buffer in module.named_buffers():
            if key.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=draw) * 0.1)
            elif key.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)
        for key, weight in module.named_parameters():
            if weight.is_floating_point() and weight.numel() and not weight.any():
                scale = 0.02 if weight.ndim > 1 else 0.1
                weight.copy_(torch.randn(weight.shape, generator=draw) * scale)
            elif weight.numel() > 1 and weight.min() == weight.max() and weight.abs().max() < 0.1:
                weight.copy_(torch.rand(weight.shape, generator=draw) + 0.5)  # a layer's scale
            elif re.search(r"cls_logits\.bias$", key):
                weight.zero_()  # starts so low that nothing is ever found
            if key == "head.head.4.bias":
                weight.fill_(1.0)  # of DPT's depths: a ReLU leaves none that are below zero


def _widen(module: Any) -> None:
    """Convolutions and batch normalisations as wide as training leaves them.

    A deep stack of those that these classes start from gives numbers below the epsilon of batch
    normalisation, and answers the same to every input.
    """
    import torch
    from torch import nn

    draw = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(part.weight, generator=draw)
        elif isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=draw)


def _settle(module: Any, library: str, name: str) -> None:
    """Statistics of batch normalisation that fit the weights: those of two batches of noise.

    With any others a deep network of random weights answers the same to every input, and no proof
    could tell one weight from another.
    """
    import torch
    from torch import nn

    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms or library not in ("torchvision", "timm", "transformers"):
        return
    from interop.models.libraries.timm import catalog as timm
    from interop.models.libraries.torchvision import catalog as torchvision

    if library == "transformers":
        if module.main_input_name != "pixel_values":
            return
        side = getattr(module.config, "image_size", None) or 224
        shape = (3, side, side)
    else:
        shape = (timm if library == "timm" else torchvision).input_size(name) or (3, 224, 224)
        if name == "s3d":
            shape = (3, 16, 224, 224)  # made for larger clips than the others
    draw = torch.Generator().manual_seed(1)
    module.eval()
    before = [(m, m.momentum) for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            pictures = torch.randn((2, *shape), generator=draw)
            detects = torchvision._is_detector(name) if library == "torchvision" else False
            if name.startswith("raft"):
                module(pictures, pictures.flip(-1))
            else:
                module(list(pictures.sigmoid()) if detects else pictures)
    for norm, momentum in before:
        norm.momentum = momentum
    module.eval()


# ---------------------------------------------------------------- all of them


def run(name: str, task: str, limit: float) -> dict[str, Any]:
    """One model in a process of its own, ended after `limit` seconds."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=attempt, args=(name, task, theirs), daemon=True)
    process.start()
    theirs.close()
    record: dict[str, Any] = {"task": task, "holds": False}
    try:
        if ours.poll(limit):
            record = ours.recv()
        else:
            record["why"] = f"not done after {limit:.0f} seconds"
    except EOFError:
        process.join()
        record["why"] = f"the process ended with {process.exitcode}"
    process.kill()
    process.join()
    return record


def store(found: Mapping[str, Any], path: Path) -> None:
    from interop.export.documents import environment

    held = {
        "environment": environment(),
        "machine": machine(),
        "models": dict(sorted(found.items())),
    }
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", "utf-8")
    beside.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("patterns", nargs="*", help="names, as timm/* or */swin_t")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--again", choices=["failed", "all"])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=LIMIT)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(given.out.read_text())["models"] if given.out.exists() else {}
    )
    todo = [
        (name, task)
        for name, task in dict(cases(given.all)).items()
        if not given.patterns or any(fnmatch.fnmatch(name, p) for p in given.patterns)
        if name not in found
        or given.again == "all"
        or (given.again == "failed" and not found[name]["holds"])
    ]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    lock, done = Lock(), Counter[bool]()

    def one(case: tuple[str, str]) -> None:
        record = run(*case, given.limit)
        with lock:
            found[case[0]] = record
            done[record["holds"]] += 1
            store(found, given.out)
            said = record.get("route") if record["holds"] else record.get("why", "")
            print(f"{sum(done.values())}/{len(todo)} {case[0]}: {said} "
                  f"({record.get('cpu_seconds', '?')} s)", flush=True)  # fmt: skip

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(one, todo))
    print(f"{done[True]} hold, {done[False]} do not")
    return 0


if __name__ == "__main__":
    sys.exit(main())
