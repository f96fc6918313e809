"""A built module and what is known of its file -> its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import ModelError
from interop.facts import Identity
from interop.models import programs
from interop.models.libraries.sentence_transformers.build import SentenceModel
from interop.models.libraries.torchaudio import signature as torchaudio
from interop.models.libraries.torchvision import signature as torchvision
from interop.models.libraries.transformers import signature as transformers
from interop.models.signature import BATCH, Argument, Forward, Signature, drawn, runs
from interop.models.signature.calling import root, ways
from interop.models.signature.first_layers import asked, by_first_layer, takes_by_name
from interop.models.signature.forward import argument_like

_SIZE = 16  # of a named axis that a person gave none
_CHANNELS: Mapping[str, int] = {"RGB": 3, "L": 1}


def signature(
    identity: Identity,
    module: nn.Module,
    given: Sequence[tuple[Argument, Mapping[str, int]]] = (),
    samples: Mapping[str, NDArray[Any]] | None = None,
) -> Signature:
    """What the module takes.

    In this order: what a person said (`given`), what the library's own modules are known to take,
    the preprocessing, the module's `example_input_array`, real inputs by name (`samples`, rows
    first). Raises ModelError where none tells, and ConfigError where forward takes other inputs.
    """
    if given:
        return _stated(given, module)
    if isinstance(module, SentenceModel):
        return replace(transformers.signature(module.transformer), leave=())
    if (program_signature := programs.signature(identity, module)) is not None:
        return program_signature
    if transformers.is_one(module):
        return _by_config(identity, module)
    library, _, name = (identity.architecture or "").partition("/")
    if library == "torchvision" and (library_signature := torchvision.signature(name, module)):
        return library_signature
    if library == "torchaudio":
        return torchaudio.signature(name, module)
    try:
        return _plain(identity, module, library, name)
    except ModelError:
        if samples:
            return _of_samples(samples, module)
        if (first := by_first_layer(module)) is None:
            raise
        return replace(first.signature, assumed=first.assumed)


def _by_config(identity: Identity, module: nn.Module) -> Signature:
    """What a module of transformers takes; ModelError if its config does not say."""
    try:
        return transformers.signature(module)
    except (AttributeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        # A pickled config holds what somebody put into it, which no class has checked.
        what = f"its config does not say what it takes: {type(error).__name__}: {error}"
        fix = f"give {_inputs_of(module)}"
        raise ModelError(what, where=identity.manifest.path, fix=fix) from error


def _stated(given: Sequence[tuple[Argument, Mapping[str, int]]], module: nn.Module) -> Signature:
    named = (x for a, _ in given for x in a.axes if isinstance(x, str) and x != BATCH)
    sizes = dict.fromkeys(named, _SIZE)
    sizes |= {axis: size for _, known in given for axis, size in known.items() if axis != BATCH}
    others = {axis: size + max(size // 2, 1) for axis, size in sizes.items()}
    return _called(Signature(tuple(argument for argument, _ in given), sizes, others), module)


def _called(signature: Signature, module: nn.Module) -> Signature:
    """The signature with the way to call forward with inputs of these names: the first one in which
    the module runs, if there are several."""
    found = []
    for paths, by_name in ways(signature.names, module):
        arguments = tuple(
            replace(a, path=path if path != a.name else "")
            for a, path in zip(signature.arguments, paths, strict=True)
        )
        found.append(replace(signature, arguments=arguments, by_name=by_name))
    if len(found) == 1:
        return found[0]
    dtype = next((t.dtype for t in module.parameters() if t.is_floating_point()), torch.float32)
    run = (one for one in found if runs(Forward(module, one), drawn(one, 1), dtype))
    return next(run, found[0])


def _plain(identity: Identity, module: nn.Module, library: str, name: str) -> Signature:
    """One picture, or whatever the module gives an example of."""
    how = identity.image_preprocessing
    example: Any = getattr(module, "example_input_array", None)
    if how is not None and how.size is not None:
        return _picture(how.channels, *how.size)
    if example is not None:
        return _of_example(example, identity)
    if library == "torchvision":
        side = torchvision.side(name, module)
        if side is not None:
            return _picture(3, side, side)
    if library == "timm":
        return _picture(*_timms(module))
    fix = f"give --preprocess, --data or {_inputs_of(module)}"
    if not programs.is_program(identity):
        fix += ", or set example_input_array on the module"
    raise ModelError("the size of its input is in no file", where=identity.manifest.path, fix=fix)


def _inputs_of(module: nn.Module) -> str:
    """--input for each thing that the module's forward asks for, to be filled in."""
    names = asked(module)
    if len(names) < 2:
        return f"--input '{(names or ['input'])[0]}=float32(batch,3,224,224)' (say its own shape)"
    return " ".join(f"--input '{name}=float32(batch,…)'" for name in names)


def _picture(*shape: int) -> Signature:
    return Signature((Argument("input", (BATCH, *shape)),))


def _timms(module: nn.Module) -> tuple[int, ...]:
    """Channels and sides that a module of timm was built for."""
    stated: Any = module
    cfg = getattr(stated, "pretrained_cfg", None) or {}
    channels, *sides = cfg.get("input_size") or (3, 224, 224)
    sides = list((cfg.get("fixed_input_size") and sides) or sides)
    own = getattr(getattr(stated, "patch_embed", None), "img_size", None)
    if isinstance(own, tuple) and len(own) == 2:
        sides = list(own)
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.groups == 1 and first.in_channels in (1, 3, 4):
        channels = first.in_channels
    return (int(channels), *(int(s) for s in sides))


def _of_example(example: Any, identity: Identity) -> Signature:
    """A tensor, several in their order, or some by name; the first axis is the batch's."""
    if isinstance(example, torch.Tensor):
        named = {"input": example}
    elif isinstance(example, Mapping):
        named = dict(example)
    elif isinstance(example, Sequence):
        named = {f"input_{i}": value for i, value in enumerate(example)}
    else:
        named = {}
    if not named or not all(isinstance(t, torch.Tensor) and t.ndim for t in named.values()):
        what = "its example_input_array is neither a tensor with a batch axis nor several of them"
        fix = "set a tensor, a tuple or a dict of tensors"
        raise ModelError(what, where=identity.manifest.path, fix=fix)
    arguments = tuple(argument_like(name, tensor) for name, tensor in named.items())
    return Signature(arguments, by_name=isinstance(example, Mapping))


def _of_samples(samples: Mapping[str, NDArray[Any]], module: nn.Module) -> Signature:
    """Arrays with a row a sample, in the order in which forward names them.

    A file has no order of its own: ModelError if there are several under names of another make.
    """
    fit = {name: array for name, array in samples.items() if array.dtype.kind in "fiub"}
    taken = takes_by_name(module)
    known = [name for name in taken if name in fit]
    # One argument may be a dict of them: then their order is of no matter.
    if len(fit) > 1 and len(asked(module)) > 1 and not {root(n) for n in fit} <= set(taken):
        what = f"holds {', '.join(fit)}, and forward takes {', '.join(taken)}"
        raise ModelError(what, where="--data", fix="save each array under the name of its input")
    names = known if len(known) == len(fit) else list(fit)
    arguments = (argument_like(n, torch.from_numpy(np.ascontiguousarray(fit[n]))) for n in names)
    return _called(Signature(tuple(arguments)), module)
