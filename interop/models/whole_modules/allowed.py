"""A name in a pickle -> the library's class, function or enumeration member that it stands for.

Everything else is refused. What is imported is a library's own module of the packages listed here:
never its scripts, its loaders, or code that came with a model.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from interop.facts import DTYPE_BITS
from interop.reading.pickle.records import Global


class Refused(Exception):
    """What of a pickled module is not rebuilt, in half a sentence."""


# Modules of the libraries in which classes of layers and models are defined.
_PACKAGES = re.compile(
    r"torch\.nn\.modules\.\w+|torchvision\.(models|ops)(\.\w+)+|timm\.(layers|models)(\.\w+)+|"
    r"transformers\.models\.\w+\.modeling_\w+|transformers\.(activations|pytorch_utils)|"
    r"transformers\.(modeling_layers|modeling_rope_utils|modeling_utils)|"
    r"torchaudio\.(models|transforms)(\.\w+)+"
)
# Of these: parts that make, find or fetch models.
_NEVER = re.compile(
    r"torch\.nn\.modules\.lazy|torchvision\.models\._api|"
    r"timm\.models\.(_hub|_factory|_builder|_pretrained|_registry)"
)
# torchvision's quantizable classes are float models, and these are what they hold beside layers.
_STUBS = {
    "torch.ao.quantization.stubs": "QuantStub DeQuantStub",
    "torch.ao.nn.quantized.modules.functional_modules": "FloatFunctional",
}
_DENIED_BASES = (
    torch.jit.ScriptModule,
    torch.fx.GraphModule,
    nn.modules.lazy.LazyModuleMixin,
    torch.nn.parallel.DataParallel,
    torch.nn.parallel.DistributedDataParallel,
)
# Modules whose classes may also be a value, alone or with arguments: a layer's kind of norm.
_LAYERS = re.compile(
    r"torch\.nn\.modules\.\w+|torchvision\.(models|ops)\..+|timm\.(layers|models)\..+"
)
_CONFIGS = re.compile(r"transformers\.models\.\w+\.configuration_\w+")
# Where a name was in older versions.
_MOVED = (("timm.models.layers.", "timm.layers."),)

_FUNCTIONS = {
    "torch.nn.functional": (
        "relu relu6 gelu silu elu selu celu mish leaky_relu softplus softmax log_softmax sigmoid "
        "tanh hardswish hardsigmoid hardtanh logsigmoid softsign tanhshrink glu"
    ),
    "torch._C._nn": "gelu silu mish relu6 hardswish hardsigmoid hardtanh leaky_relu elu softplus",
    "torch._C._VariableFunctionsClass": "relu sigmoid tanh softmax selu celu erf square",
    "timm.layers.activations": (
        "swish mish sigmoid tanh hard_swish hard_sigmoid hard_mish gelu gelu_tanh quick_gelu"
    ),
    "torchvision.ops.boxes": "box_iou generalized_box_iou",
    "torchvision.models.optical_flow.raft": "_pass_through_h",
}
# Plain classes: their attributes are set, nothing of them is called.
_PLAIN = {
    "torchvision.models.detection._utils": (
        "BoxCoder BoxLinearCoder Matcher SSDMatcher BalancedPositiveNegativeSampler"
    ),
    "timm.models._features": "FeatureInfo",
    "transformers.generation.configuration_utils": "GenerationConfig",
}
# What weight_norm and spectral_norm hang on a module.
_HOOKS = {
    "torch.nn.utils.weight_norm": "WeightNorm",
    "torch.nn.utils.spectral_norm": (
        "SpectralNorm SpectralNormStateDictHook SpectralNormLoadStateDictPreHook"
    ),
}
_ENUMS = {"timm.layers.format": "Format"}
# Attributes by which transformers would fetch code from the Hub.
_FETCHING = re.compile(r"_?use_kernels|.*_implementation(_internal)?")


def _in(table: dict[str, str], name: Global) -> bool:
    return name.name in table.get(name.module, "").split()


def spelt(name: Any) -> str:
    """A name as a message shows it."""
    return f"{name.module}.{name.name}" if type(name) is Global else "something that it computes"


def modern(name: Any) -> Any:
    """A name under which today's library has it."""
    for old, new in _MOVED:
        if type(name) is Global and name.module.startswith(old):
            return Global(new + name.module.removeprefix(old), name.name)
    return name


@lru_cache(maxsize=4096)
def _there(module: str, name: str) -> Any:
    """What a library's module has under a name; raises Refused if there is nothing."""
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # a library's module may fail in any way when it is imported
        raise Refused(f"{module}.{name} is not in the installed library") from error


def _found(module: str, name: str) -> Any:
    """What a module defines itself under a name; raises Refused if it does not."""
    found = _there(module, name)
    if getattr(found, "__module__", "") != module or found.__qualname__ != name:
        raise Refused(f"{module}.{name} is not defined there in the installed library")
    return found


def makes_nothing(cls: type[Any]) -> bool:
    """Whether a new object of a class is made without any code of the class."""
    made: Any = cls.__new__
    return made is object.__new__


def module_class(name: Any) -> type[nn.Module]:
    """The class of a module; raises Refused if it is not a listed library's, or is dynamic."""
    name = modern(name)
    listed = type(name) is Global and (_in(_STUBS, name) or _PACKAGES.fullmatch(name.module))
    if not listed:
        raise Refused(f"{spelt(name)} is not a class of a known library")
    if _NEVER.fullmatch(name.module) or not name.name.isidentifier():
        raise Refused(f"{spelt(name)} is a class that is never rebuilt")
    found = _there(name.module, name.name)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise Refused(f"{spelt(name)} is not a module's class")
    if found.__module__ != name.module:  # a later version moved it, and imports it where it was
        return module_class(Global(found.__module__, found.__qualname__))
    if issubclass(found, _DENIED_BASES) or not makes_nothing(found):
        raise Refused(f"{spelt(name)} is a class that is never rebuilt")
    return found


def config_class(name: Any) -> type[Any] | None:
    """The class of a transformers config; None if the name is another one."""
    if type(name) is not Global or not _CONFIGS.fullmatch(name.module):
        return None
    from transformers import PreTrainedConfig

    found = _found(name.module, name.name)
    if not isinstance(found, type) or not issubclass(found, PreTrainedConfig):
        raise Refused(f"{spelt(name)} is not a config's class")
    return found


def plain_class(name: Any) -> type[Any] | None:
    """A class whose objects hold plain values; None if the name is not a listed one."""
    return _found(name.module, name.name) if type(name) is Global and _in(_PLAIN, name) else None


def hook_class(name: Any) -> type[Any]:
    """The class of a hook; raises Refused if it is not one of torch's norms of weights."""
    if type(name) is not Global or not _in(_HOOKS, name):
        raise Refused(f"it hangs a hook on a module: {spelt(name)}")
    found: type[Any] = _found(name.module, name.name)
    return found


def member(name: Any, value: Any) -> Any:
    """The member of a listed enumeration that has a value; None if the name is not one."""
    name = modern(name)
    if type(name) is not Global or not _in(_ENUMS, name):
        return None
    found: type[Enum] = _found(name.module, name.name)
    for one in found:
        if type(one.value) is type(value) and one.value == value:
            return one
    raise Refused(f"{spelt(name)} has no member {value!r}")


def value(name: Global) -> Any:
    """What a name alone stands for: a dtype, a listed function, a class of layers."""
    name = modern(name)
    if name.module == "torch" and name.name in DTYPE_BITS:
        return getattr(torch, name.name)
    if _in(_FUNCTIONS, name):
        return getattr(import_module(name.module), name.name)
    if _LAYERS.fullmatch(name.module):
        return module_class(name)
    raise Refused(f"it refers to {spelt(name)}")


def check_attribute(name: str, given: Any) -> None:
    """Raise Refused for an attribute by which a library would fetch code of somebody's."""
    if not _FETCHING.fullmatch(name):
        return
    for one in given.values() if isinstance(given, dict) else (given,):
        if one is not None and one is not False and (not isinstance(one, str) or "/" in one):
            raise Refused(f"its attribute {name} asks for code from the Hub")


def operation(name: str) -> Any:
    """One of torch's own functions, which pickles reach by getattr."""
    if name not in _FUNCTIONS["torch._C._VariableFunctionsClass"].split():
        raise Refused(f"it refers to torch.{name}")
    return getattr(torch, name)
