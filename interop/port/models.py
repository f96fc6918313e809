"""A model's name, its options and its class count -> the module, and the call that makes it.

The libraries' constructors are called by `interop.models.catalog`; a few options are given one name
for all of them here, and put into each library's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from interop.check import structure
from interop.check.maps import unmapped
from interop.check.pairing import pair
from interop.errors import ModelError
from interop.facts import Identity, Json, Manifest, Storage, TensorSpec
from interop.models import call_by_path, catalog

# Options that no constructor takes by this name, and the layer whose epsilon each of them sets.
_NORMS = {"bn_eps": nn.BatchNorm2d, "layer_norm_eps": nn.LayerNorm}


@dataclass(frozen=True, slots=True)
class Model:
    """Which module is meant: a library's `name` with `options`, or the person's own `factory`.

    `assumed` says that the options are the sizes that shapes tell and no more: what else a config
    of transformers holds (attention heads, epsilons, activations) would be the class's default.
    """

    name: str
    options: Mapping[str, Json] = field(default_factory=dict)
    factory: str | None = None
    assumed: bool = False

    @property
    def library(self) -> str:
        return "" if self.factory else self.name.partition("/")[0]

    @property
    def family(self) -> str:
        """The name of a transformers class's config class; "" for other models."""
        if self.library != "transformers":
            return ""
        import transformers

        kind = getattr(transformers, self.name.partition("/")[2], None)
        config = getattr(kind, "config_class", None)
        return config.__name__ if config is not None else ""

    def build(self, *, real: bool = False) -> nn.Module:
        """The module in eval mode: without values, or (`real`) with whatever it starts from."""
        if self.factory:
            module = call_by_path(self.factory)
            if not isinstance(module, nn.Module):
                what = f"gave {type(module).__name__}, no torch.nn.Module"
                fix = "give a callable that returns the module"
                raise ModelError(what, where=self.factory, fix=fix)
            return module.eval()
        make = catalog.module if real else catalog.meta
        return make(self.name, **self._own_words())

    @property
    def call(self) -> str:
        """The Python expression that makes the module, as a person would write it."""
        if self.factory:
            return f"{self.factory}()"
        library, _, name = self.name.partition("/")
        given = "".join(f", {k}={v!r}" for k, v in sorted(self.options.items()))
        if library == "transformers":
            config = name.partition("For")[0].removesuffix("Model") + "Config"
            return f"transformers.{name}(transformers.{config}({given.removeprefix(', ')}))"
        if library == "timm":
            return f"timm.create_model({name!r}{self._python()})"
        return f"torchvision.models.get_model({name!r}{self._python()})"

    def _own_words(self) -> dict[str, Any]:
        """The options as the library's constructor takes them."""
        options: dict[str, Any] = dict(self.options)
        for key in self._translated():
            options["norm_layer"] = partial(_NORMS[key], eps=options.pop(key))
        return options

    def _python(self) -> str:
        words = []
        for key, value in sorted(self.options.items()):
            if key in self._translated():
                kind = f"torch.nn.{_NORMS[key].__name__}"
                words.append(f"norm_layer=functools.partial({kind}, eps={value!r})")
            else:
                words.append(f"{key}={value!r}")
        return "".join(f", {word}" for word in words)

    def _translated(self) -> list[str]:
        # timm's mobile networks take bn_eps themselves, transformers' configs layer_norm_eps.
        known = {"torchvision": ("bn_eps", "layer_norm_eps"), "timm": ("layer_norm_eps",)}
        return [k for k in known.get(self.library, ()) if k in self.options]


def identity_of(module: nn.Module, name: str) -> Identity:
    """A module's state dict as if a file held it: in definition order, with its ties."""
    owners = {
        n: id(t)
        for named in (module.named_parameters, module.named_buffers)
        for n, t in named(remove_duplicate=False)
    }
    tensors = tuple(
        TensorSpec(
            n,
            str(t.dtype).removeprefix("torch."),
            tuple(t.shape),
            Storage(name, str(owners.get(n, n)), 0, t.nbytes),
        )
        for n, t in module.state_dict().items()
    )
    return Identity(Manifest(name, name, "module", 0, "", ()), "", "", tensors)


def fitted(model: Model, source: Identity) -> tuple[Model, nn.Module]:
    """The model with as many classes as the tensors of `source` have, where they tell; its module.

    What the default number of classes leaves unpaired is the heads: their rows are the classes.
    """
    module = model.build()
    if model.factory:
        return model, module
    target = identity_of(module, model.name)
    plain = replace(source, head=None, side_heads=())
    if not any(unmapped(target, plain, pair(target, plain).mapped)):
        return model, module
    used = {t.name for m in structure.pair(target.tensors, plain.tensors) for t in m.b}
    rows = {t.shape[0] for t in plain.tensors if t.name not in used and _is_linear(t)}
    if len(rows) != 1:
        return model, module
    key = "num_labels" if model.library == "transformers" else "num_classes"
    model = replace(model, options={**model.options, key: rows.pop()})
    return model, model.build()


def _is_linear(spec: TensorSpec) -> bool:
    """Whether a tensor is the weight of a linear layer, or of a convolution that is none else."""
    return len(spec.shape) >= 2 and set(spec.shape[2:]) <= {1}
