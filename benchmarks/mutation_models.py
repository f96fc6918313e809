"""The ten models of the mutation study: how each is built, saved and fed.

A name -> a seeded module whose answers differ by input, the source on disk that interop builds it
from, and random inputs that are drawn apart from interop's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fixtures.shaken import shaken

CLASSES = 10
LABELS = tuple(f"kind {i}" for i in range(CLASSES))
VOCABULARY, POSITIONS, TOKENS = 96, 40, 16
_THIS = "benchmarks.mutation_models"

Arrays = dict[str, np.ndarray[Any, Any]]


class Recurrent(nn.Module):
    """An LSTM in one direction, a GRU in both, and a head over the last step and the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 24, batch_first=True)
        self.gru = nn.GRU(24, 16, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        steps = self.gru(self.lstm(signal)[0])[0]
        steps = self.norm(steps)
        return self.head(torch.cat([steps[:, -1], steps.mean(1)], 1))


class Convolved(nn.Module):
    """A net with two outputs that uses many operators, and goes another way on small images."""

    LIMIT = 48  # pixels; above it the image is halved by its mean, else by its largest

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.norm = nn.GroupNorm(3, 12)
        self.wide = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=3)
        self.slope = nn.PReLU(12)
        self.query, self.key, self.value = (nn.Linear(12, 12) for _ in range(3))
        self.up = nn.ConvTranspose2d(12, 12, 4, 2, 1)
        self.gate = nn.Conv2d(12, 12, 1)
        self.head = nn.Linear(48, CLASSES)
        self.score = nn.Linear(12, 4)

    def halved(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] * 2 > self.LIMIT:
            return F.avg_pool2d(x, 3, 2, 1)
        return F.max_pool2d(x, 3, 2, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.leaky_relu(self.norm(self.stem(image)), 0.1)
        x = self.halved(x)
        x = x + self.slope(self.wide(x))
        low = F.max_pool2d(x, 3, 2, ceil_mode=True)
        rows = low.flatten(2).transpose(1, 2)
        near = self.query(rows) @ self.key(rows).transpose(1, 2) / 12**0.5
        rows = rows + near.softmax(-1) @ self.value(rows)
        low = rows.transpose(1, 2).reshape(low.shape)
        high = self.up(low)[:, :, :-1, :-1].clamp(-0.3, 0.5)
        high = F.interpolate(high, size=x.shape[-2:], mode="bilinear", align_corners=False)
        edge = F.pad(x, (1, 1, 1, 1), mode="reflect")[:, :, 2:, 1:-1]
        mixed = torch.where(x > edge, x - edge * torch.sigmoid(self.gate(high)), high)
        left, right = F.gelu(mixed).split([5, 7], 1)
        x = torch.cat([right, left, F.hardsigmoid(high)], 1)
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.head(x), self.score(F.elu(x[:, :12] - 0.5))


# ---------------------------------------------------------------- the ten


@dataclass(frozen=True)
class Model:
    """`make` builds the seeded module; `save` writes the source into a folder and gives its path.

    `options` are fields of interop's options that name the module; `feed` draws inputs of a batch,
    a seed and a choice of size (0 is the usual one). `names` are the forward's own.
    """

    name: str
    make: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], Path]
    feed: Callable[[int, int, int], Arrays]
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("logits",)
    dynamic: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task: str = ""  # optimum's word, of a model of transformers
    sizes: int = 1
    labels: tuple[str, ...] = ()  # that the source states
    guarded: bool = False  # whether it goes another way at other sizes
    quantised: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.feed(1, 0, 0))


class Logits(nn.Module):
    """A model of transformers as a function of positional tensors that gives its logits."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, given, strict=True))).logits


def plain(of: Model, module: nn.Module) -> nn.Module:
    """The module as a function of positional tensors that gives one or more tensors."""
    # A wrapper in training mode would put the model in it, too, when its export ends.
    return (Logits(module, of.names) if of.task else module).eval()


def answers(of: Model, module: nn.Module, given: Arrays) -> list[np.ndarray[Any, Any]]:
    """What the module gives."""
    with torch.no_grad():
        out = plain(of, module)(*(torch.from_numpy(a) for a in given.values()))
    return [t.numpy() for t in (out if isinstance(out, tuple) else (out,))]


def image(name: str, side: int, *others: int) -> Callable[[int, int, int], Arrays]:
    def feed(batch: int, seed: int, size: int) -> Arrays:
        pixels = (side, *others)[size]
        draw = np.random.default_rng([seed, batch, pixels])
        return {name: draw.standard_normal((batch, 3, pixels, pixels), np.float32)}

    return feed


def signal(batch: int, seed: int, size: int) -> Arrays:
    draw = np.random.default_rng([seed, batch, size])
    return {"signal": draw.standard_normal((batch, (12, 17)[size], 8), np.float32)}


def text(kinds: bool) -> Callable[[int, int, int], Arrays]:
    """Tokens with some padding at the end of all rows but the first."""

    def feed(batch: int, seed: int, size: int) -> Arrays:
        draw = np.random.default_rng([seed, batch, size])
        shape = batch, (TOKENS, 23)[size]
        mask = np.ones(shape, np.int64)
        for row in range(1, batch):
            mask[row, shape[1] - int(draw.integers(1, 7)) :] = 0
        given = {"input_ids": draw.integers(8, VOCABULARY - 8, shape), "attention_mask": mask}
        return given | ({"token_type_ids": draw.integers(0, 2, shape)} if kinds else {})

    return feed


def _library(name: str, shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    """A model of torchvision or timm, shaken, its head scaled up."""

    def make() -> nn.Module:
        torch.manual_seed(7)
        library, _, own = name.partition("/")
        if library == "torchvision":
            import torchvision

            module = torchvision.models.get_model(own, weights=None, num_classes=CLASSES)
        else:
            import timm

            module = timm.create_model(own, pretrained=False, num_classes=CLASSES)
        return _louder(shaken(module, shape))

    return make


def _hub(kind: str, **config: Any) -> Callable[[], nn.Module]:
    """A model of transformers from a small config, shaken."""

    def make() -> nn.Module:
        import transformers

        torch.manual_seed(7)
        of = getattr(transformers, kind)
        settings = of.config_class(**config)
        if "num_labels" in config:
            settings.id2label = dict(enumerate(LABELS))
            settings.label2id = {name: i for i, name in enumerate(LABELS)}
        settings._attn_implementation = "sdpa"
        module = of(settings)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for t in module.parameters():
                flat = t.squeeze().ndim < 2
                t.add_(torch.randn(t.shape, generator=draw) * (0.2 if flat else 0.12))
        return module.eval()

    return make


def _own(kind: type[nn.Module], shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(7)
        return _louder(shaken(kind(), shape))

    return make


def _louder(module: nn.Module) -> nn.Module:
    """The last layer three times as large, and attention with larger scores."""
    last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(3)
        for name, t in module.named_parameters():
            if t.ndim == 2 and name.endswith(("qkv.weight", "query.weight", "key.weight")):
                t.mul_(3)
    return module


def _state_dict(module: nn.Module, folder: Path) -> Path:
    torch.save(module.state_dict(), folder / "model.pth")
    return folder / "model.pth"


def _timm_folder(module: nn.Module, folder: Path) -> Path:
    from timm.models._hub import save_for_hf

    save_for_hf(module, folder / "source", safe_serialization=True)
    return folder / "source"


def _pretrained(module: Any, folder: Path) -> Path:
    module.save_pretrained(folder / "source")
    return folder / "source"


def _pictures(name: str, side: int, **more: Any) -> dict[str, Any]:
    options = {"inputs": (f"x=float32(batch,3,{side},{side})",), "arch": name}
    return {
        "make": _library(name, (8, 3, side, side)),
        "feed": image("x", side),
        "dynamic": {"x": ("batch",)},
        "options": options,
        **more,
    }


_BATCH_TOKENS = ("batch", "sequence")
_TEXT = {"input_ids": _BATCH_TOKENS, "attention_mask": _BATCH_TOKENS}

MODELS = {
    m.name: m
    for m in (
        Model("resnet18", save=_state_dict, quantised=("static", "float16"),
              **_pictures("torchvision/resnet18", 64)),
        Model("mobilenet", save=_state_dict, quantised=("static",),
              **_pictures("torchvision/mobilenet_v3_small", 64)),
        Model("convnext", save=_timm_folder, quantised=("float16",),
              **_pictures("timm/test_convnext", 96)),
        Model("vit", save=_timm_folder, quantised=("dynamic",),
              **_pictures("timm/test_vit", 160)),
        Model("efficientnet", save=_timm_folder, quantised=("static",),
              **_pictures("timm/test_efficientnet", 96)),
        Model(
            "bert",
            _hub("BertForSequenceClassification", vocab_size=VOCABULARY, hidden_size=32,
                 num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                 max_position_embeddings=POSITIONS, num_labels=CLASSES),
            _pretrained, text(True), task="text-classification", sizes=2, labels=LABELS,
            dynamic={**_TEXT, "token_type_ids": _BATCH_TOKENS}, quantised=("dynamic",),
        ),
        Model(
            "gpt2",
            _hub("GPT2LMHeadModel", vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4,
                 n_positions=POSITIONS, bos_token_id=1, eos_token_id=1, use_cache=False),
            _pretrained, text(False), task="text-generation", sizes=2, dynamic=_TEXT,
            quantised=("dynamic",),
        ),
        Model(
            "hfvit",
            _hub("ViTForImageClassification", hidden_size=32, num_hidden_layers=2,
                 num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8,
                 num_labels=CLASSES),
            _pretrained, image("pixel_values", 32), task="image-classification", labels=LABELS,
            dynamic={"pixel_values": ("batch",)}, quantised=("float16",),
        ),
        Model(
            "recurrent", _own(Recurrent, (4, 12, 8)), _state_dict, signal,
            {"factory": f"{_THIS}:Recurrent", "inputs": ("signal=float32(batch,sequence:12,8)",)},
            dynamic={"signal": _BATCH_TOKENS}, sizes=2, quantised=("dynamic",),
        ),
        Model(
            "convolved", _own(Convolved, (8, 3, 64, 64)), _state_dict, image("image", 64),
            {"factory": f"{_THIS}:Convolved",
             "inputs": ("image=float32(batch,3,height:64,width:64)",)},
            outputs=("logits", "score"), guarded=True, dynamic={"image": ("batch",)},
            quantised=("float16",),
        ),
    )
}  # fmt: skip
