"""Which classes of torch, torchvision and timm look at the size of the batch?
-> interop/export/size_agnostic.txt and results/size_agnostic.json.

    python -m benchmarks.size_agnostic [NAME ...] [--seconds N]

Of each architecture torch.export traces the module with the batch open, in a process of its own. If
it notes no condition, and TorchScript's exporter converts the module too, the classes in its tree
are listed. Where a tree of listed classes has a condition all the same, its outermost class is
struck out, and with it what no other tree lists. Without names, a small architecture of each family
that people fine-tune is traced.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, machine, store
from interop.export.size_agnostic import SEQUENCE

SECONDS = 90  # of the processor, for one architecture
SIZE = 224
# torch.export says it of every open axis that it traces at 2; a batch of 1 is always tried.
# A small one of each family that people fine-tune.
ARCHITECTURES = (
    *(f"torchvision/{name}" for name in (
        "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg11_bn", "alexnet",
        "squeezenet1_1", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
        "mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf",
        "regnet_y_400mf", "mnasnet0_5", "shufflenet_v2_x0_5", "convnext_tiny", "vit_b_16",
        "swin_t", "swin_v2_t", "maxvit_t",
    )),
    *(f"timm/{name}" for name in (
        "resnet18", "resnet18d", "resnet50", "resnext50_32x4d", "seresnet50", "ecaresnet50t",
        "resnet26t", "resnetv2_50", "seresnext26d_32x4d", "skresnet18", "res2net50_26w_4s",
        "efficientnet_b0", "tf_efficientnet_b0", "efficientnetv2_rw_t", "tf_efficientnetv2_b0",
        "mobilenetv2_100", "mobilenetv3_small_100", "tf_mobilenetv3_large_100",
        "mobilenetv4_conv_small", "mnasnet_100", "fbnetc_100", "ghostnet_100", "lcnet_050",
        "convnext_atto", "convnextv2_atto", "convnext_tiny", "vit_tiny_patch16_224",
        "vit_small_patch16_224", "deit_tiny_patch16_224", "beit_base_patch16_224",
        "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "resmlp_12_224",
        "regnety_002", "regnetx_002", "densenet121", "vgg11", "inception_v3", "xception41",
        "dla34", "hrnet_w18_small", "darknet53", "cspresnet50", "rexnet_100", "repvgg_a0",
        "nfnet_f0", "dm_nfnet_f0", "poolformer_s12", "edgenext_xx_small", "mobilevit_xxs",
        "mobileone_s0", "fastvit_t8", "tinynet_e", "selecsls42b", "dpn48b", "levit_128s",
        "cait_xxs24_224", "pvt_v2_b0", "twins_svt_small", "xcit_nano_12_p16_224", "coat_tiny",
        "efficientformer_l1", "maxvit_tiny_tf_224",
    )),
    *(f"transformers/{family}For{task}" for family in (
        "Bert", "DistilBert", "Roberta", "Electra", "Albert", "MPNet", "Camembert", "XLMRoberta",
    ) for task in ("SequenceClassification", "TokenClassification", "QuestionAnswering")),
)  # fmt: skip
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 37, "max_position_embeddings": 64, "dim": 32, "n_layers": 2,
         "n_heads": 2, "hidden_dim": 37, "embedding_size": 32}  # fmt: skip
OF_ALL = ("batch >= 2", "sequence >= 2")
LENGTH = 16
TREE, CLEAN = "classes", "clean"


def trace(name: str) -> dict[str, Any]:
    """One architecture: its classes from the outermost in, the conditions, and whether TorchScript
    converts it."""
    import torch

    from interop.export import routes
    from interop.export.size_agnostic import kinds, limits
    from interop.proof import Feed

    torch.manual_seed(0)
    forward = _text(name) if name.startswith("transformers/") else _picture(name)
    module = forward.model
    known = {*OF_ALL, *(g.text for g in limits(module, forward.signature))}
    feed = Feed(forward.signature)
    script = next(r for r in routes.ROUTES if r.name == "torchscript")
    try:
        routes.convert(forward, feed, script)
        why = ""
    except Exception as error:  # an exporter may raise anything
        why = routes.why(error)
    noted = routes.guards_of(forward, feed, forward.signature)
    return {
        "outermost": next(iter(kinds([module]))),
        "axes": list(forward.signature.varying),
        TREE: sorted(kinds(module.modules())),
        "conditions": None if noted is None else [g.text for g in noted if g.text not in known],
        "torchscript": why or "converts it",
    }


def _picture(name: str) -> Any:
    import torch

    from interop.models.signature import BATCH, Argument, Forward, Signature

    library, _, short = name.partition("/")
    if library == "torchvision":
        import torchvision

        takes = {"init_weights": False} if short in ("googlenet", "inception_v3") else {}
        module, side = torchvision.models.get_model(short, weights=None, **takes), SIZE
    else:
        import timm

        module = timm.create_model(short, pretrained=False)
        side = module.pretrained_cfg["input_size"][-1]
    forward = Forward(module.eval(), Signature((Argument("input", (BATCH, 3, side, side)),)))
    forward.learn_outputs((torch.randn(1, 3, side, side),))
    return forward


def _text(name: str) -> Any:
    import transformers

    from interop.models.signature import BATCH, Argument, Forward, Signature, drawn
    from interop.runtimes.pytorch import tensors

    kind = getattr(transformers, name.partition("/")[2])
    config = kind.config_class(vocab_size=99, **SMALL)
    axes = BATCH, SEQUENCE
    arguments = (
        Argument("input_ids", axes, "int64", "whole", 5, 90),
        Argument("attention_mask", axes, "int64", "mask"),
    )
    takes = Signature(arguments, {SEQUENCE: LENGTH}, {SEQUENCE: LENGTH + 8}, by_name=True)
    forward = Forward(kind(config).eval(), takes)
    forward.learn_outputs(tensors(drawn(takes, 1)))
    return forward


def clean(found: dict[str, dict[str, Any]]) -> frozenset[str]:
    """The classes of trees without a condition, less those that a tree with one proves wrong."""
    struck: set[str] = set()
    while True:
        good = [t for t in found.values() if is_clean(t) and t["outermost"] not in struck]
        names = frozenset(c for t in good for c in t[TREE])
        wrong = {
            t["outermost"] for t in found.values() if t.get("conditions") and names >= set(t[TREE])
        }
        if not wrong - struck:
            return names - struck
        struck |= wrong


def is_clean(tree: dict[str, Any]) -> bool:
    """Whether torch.export notes no condition, and TorchScript's exporter takes it."""
    return tree.get("conditions") == [] and tree.get("torchscript") == "converts it"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for name in given.names or ARCHITECTURES:
        found[name] = apart(name, given.seconds)
        said = "clean" if is_clean(found[name]) else found[name].get("conditions") or "no trace"
        print(f"{name}: {said}", flush=True)
    pictures = clean({n: t for n, t in found.items() if not t.get("axes")})
    texts = clean({n: t for n, t in found.items() if t.get("axes")})
    Path(ROOT, "interop", "export", "size_agnostic.txt").write_text(
        "".join(f"{n} {SEQUENCE}\n" if n in texts else f"{n}\n" for n in sorted(pictures | texts)),
        "utf-8",
    )
    for tree in found.values():
        tree.pop(TREE, None)
    result = {"machine": machine("torch", "torchvision", "timm"), "architectures": found}
    store("size_agnostic", result | {CLEAN: sum(map(is_clean, found.values()))})
    return 0


def apart(name: str, seconds: int) -> dict[str, Any]:
    """What `trace` finds, in a process of its own: {"why": ...} where it finds nothing."""
    import timm  # noqa: F401  (once, before the processes part)
    import torchvision  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "said.json")
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                try:
                    result = trace(name)
                except Exception as error:
                    result = {"why": f"{type(error).__name__}: {str(error)[:200]}"}
                said.write_text(json.dumps(result), "utf-8")
            os._exit(0)
        os.waitpid(child, 0)
        if not said.exists():
            return {"why": f"it took over {seconds} s"}
        result: dict[str, Any] = json.loads(said.read_text("utf-8"))
        return result


if __name__ == "__main__":
    sys.exit(main())
