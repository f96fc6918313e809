"""The config.json beside a file's weights -> transformers' module in exactly that config.

Attention heads, epsilons and activations are in no weight: without the config nothing is built.
Code that lies beside the weights is never run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from interop.errors import ExtraMissing, ModelError
from interop.facts import Identity, Json
from interop.models.heads import OWN
from interop.models.init_modes import Undrawn
from interop.models.libraries.transformers.catalog import quiet

_FLOATS = ("float32", "float16", "bfloat16", "float64")


def described(identity: Identity) -> Mapping[str, Json] | None:
    """The config.json beside the weights, where it is of transformers' schema."""
    config = identity.manifest.metadata.get("config.json")
    if not isinstance(config, Mapping) or not isinstance(config.get("model_type"), str):
        return None
    return config


def build(
    identity: Identity, name: str = "", *, instead: Mapping[str, Json] | None = None
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module of the class that config.json names, or else `name`; and notes.

    `instead` are fields that replace config.json's; then `name` is the class. Raises ModelError
    without a config.json, and where it asks for code that transformers has not.
    """
    where = identity.manifest.path
    config = described(identity)
    if config is None:
        raise ModelError(
            f"{name} is transformers', and its attention heads, epsilons and activations are in no "
            "weight",
            where=where,
            fix="put the model's config.json beside it and give the folder, or "
            "give the module with --model package.module:factory",
        )
    if "auto_map" in config:
        what = (
            "its config.json takes the model's classes from Python files beside it (auto_map), "
            "which are not run here"
        )
        raise ModelError(what, where=where, fix=OWN)
    if "quantization_config" in config:
        raise ModelError(
            "its config.json says that the weights are quantised codes, and float weights alone "
            "are exported",
            where=where,
            fix="give the float model, and quantise the export with --precision int8",
        )
    kind = _class(name if instead is not None else _named(config) or name, where)
    own_config = built_config(kind, {**config, **_labels_aside(instead)}, where)
    with _as_saved(identity), Undrawn(), quiet():
        # A real device, not meta: buffers that no file keeps (rotary frequencies, position numbers)
        # are computed by the constructor, and only weights are left undrawn. What is never written
        # to takes no memory before `load` puts the file's tensors in its place.
        try:
            module: nn.Module = kind(own_config)
        except ImportError as error:
            what = f"{kind.__name__} needs a package that is not installed ({_line(error)})"
            raise ExtraMissing(what, fix="install it") from error
        except Exception as error:  # a library's constructors may raise anything
            raise ModelError(
                f"transformers does not build {kind.__name__} from its config.json: "
                f"{type(error).__name__}: {_line(error)}",
                where=where,
                fix="mend config.json, or install the transformers that wrote it",
            ) from error
    return module, ()


def _labels_aside(instead: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """Fields that stand instead of config.json's, whose labels are then another head's."""
    if not instead or "num_labels" not in instead:
        return instead or {}
    names = {str(n): f"LABEL_{n}" for n in range(instead["num_labels"])}
    return {
        **{k: v for k, v in instead.items() if k != "num_labels"},
        "id2label": names,
        "label2id": {name: int(n) for n, name in names.items()},
    }


def _named(config: Mapping[str, Json]) -> str:
    names = config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""


def _class(name: str, where: str) -> Any:
    name = name.rpartition("/")[2]
    try:
        import transformers
    except ImportError:
        what = f"{name or 'the model'} is transformers', which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[hf]'") from None
    if not name:
        fix = "say which with --arch, or write it into config.json"
        raise ModelError("its config.json names no class (architectures)", where=where, fix=fix)
    kind = getattr(transformers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        what = f"the transformers {transformers.__version__} here has no model class {name!r}"
        raise ModelError(what, where=where, fix=f"install the transformers that wrote it, or {OWN}")
    return kind


def built_config(kind: Any, config: Mapping[str, Json], where: str) -> Any:
    """The config as the class's own object; never that of another family."""
    own = kind.config_class
    stated = config["model_type"]
    if getattr(own, "model_type", stated) not in (stated, ""):
        what = f"its config.json is of {stated!r}, and {kind.__name__} is of {own.model_type!r}"
        raise ModelError(what, where=where, fix="mend model_type or architectures in config.json")
    try:
        with quiet():
            return own.from_dict(deepcopy(dict(config)))
    except Exception as error:  # a library's validation may raise anything
        what = f"transformers refuses its config.json: {type(error).__name__}: {_line(error)}"
        fix = "mend config.json, or install the transformers that wrote it"
        raise ModelError(what, where=where, fix=fix) from error


@contextlib.contextmanager
def _as_saved(identity: Identity) -> Iterator[None]:
    """Within it, floats are made in the weights' own type, as `from_pretrained` makes them.

    A table computed in float32 beside float16 weights would make the layers behind it fail.
    """
    dtypes = {t.dtype for t in identity.tensors if t.dtype in _FLOATS}
    before = torch.get_default_dtype()
    if len(dtypes) == 1:
        torch.set_default_dtype(getattr(torch, dtypes.pop()))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
