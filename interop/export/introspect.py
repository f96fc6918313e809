"""A module and its graph -> what an export must know of them: dtype, widths, ties, answers."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree

from interop.export import documents, library_files, observe, routes, weights
from interop.export.size_agnostic import agnostic
from interop.facts import AxisDomain, AxisState, Identity, Json, Proof
from interop.facts.sections.export import Attempt
from interop.models.libraries.sentence_transformers.build import SentenceModel
from interop.models.libraries.transformers.signature import is_one
from interop.models.signature import BATCH, Argument, Arrays, Forward, Signature
from interop.models.signature.calling import root
from interop.models.signature.types import DETECTIONS
from interop.proof.graph import DTYPES
from interop.proof.parity import KEPT, repeated
from interop.rules import listed
from interop.runtimes.pytorch import dtype_of, host, tensors

if TYPE_CHECKING:
    import onnx_ir as ir

SPARE = 0.01  # of the weight bytes may reach no output
LIBRARIES = ("torchvision", "timm", "transformers", "torchaudio")
_ANEW = 20_011  # a seed that nobody would use
_RECORDED = 256  # numbers of each output that a receipt keeps


dtype = dtype_of


def width(identity: Identity, forward: Forward) -> int | None:
    """How many numbers an output row should have; None where nothing reliable tells.

    Sets of boxes, choices side by side and a part of a model without its head have no such width.
    """
    how, module = forward.signature, forward.model
    if how.part or how.kind == DETECTIONS:
        return None
    if is_one(module):
        classifies = type(module).__name__.endswith("Classification")
        return int(module.config.num_labels) if classifies else None  # type: ignore[union-attr, arg-type]
    return documents.width(identity)


def like(takes: Signature, samples: Mapping[str, NDArray[Any]]) -> Signature:
    """The signature in the sizes that real samples (n, ...) have."""
    sizes, arguments = dict(takes.sizes), []
    for argument in takes.arguments:
        shape = iter(samples[argument.name].shape[1:])
        axes: list[int | str] = []
        for axis in argument.axes:
            size = None if axis == BATCH else next(shape, None)
            if size is not None and isinstance(axis, str):
                sizes[axis] = size
            axes.append(axis if isinstance(axis, str) or size is None else size)
        arguments.append(replace(argument, axes=tuple(axes)))
    others = {a: n if n != sizes.get(a) else n + 32 for a, n in takes.others.items()}
    return replace(takes, arguments=tuple(arguments), sizes=sizes, others=others)


def fitting(forward: Forward, attention: bool) -> list[routes.Route]:
    """Return the routes for this module; `attention` says that torch's fused operator ran.

    A TorchScript program goes through TorchScript's own exporter: torch.export takes none.
    """
    if isinstance(forward.model, torch.jit.ScriptModule):
        return [r for r in routes.fitting(forward.signature) if not r.dynamo]
    parts = list(forward.modules())
    attention = attention or any(isinstance(m, nn.MultiheadAttention) for m in parts)
    # ONNX has recurrent layers as operators, which torch.export takes apart step by step.
    script_first = recurs(forward) or agnostic(forward.model, forward.signature)
    return routes.fitting(forward.signature, attends=attention, script_first=script_first)


def own_size(identity: Identity, takes: Signature) -> list[str]:
    """Say why an image's sides are fixed at the library's own size, if no file states another."""
    library = (identity.architecture or "").partition("/")[0]
    axes = takes.arguments[0].axes
    sides = axes[-2:]
    if identity.image_preprocessing is not None or library not in ("torchvision", "timm"):
        return []
    if len(axes) != 4 or not all(isinstance(side, int) for side in sides):
        return []
    spec = f"{takes.names[0]}=float32(batch,{axes[1]},height:{sides[0]},width:{sides[1]})"
    return [
        f"height and width are fixed at {sides[0]} and {sides[1]}: no file states the size of the "
        f"images, and {library} gives {identity.architecture} this one; --input '{spec}' opens "
        "them if the module takes other sizes"
    ]


def recurs(module: nn.Module) -> bool:
    """Say whether it has LSTM or GRU layers."""
    return any(isinstance(m, nn.RNNBase) for m in module.modules())


def refused(
    described: Sequence[tuple[Argument, Mapping[str, int]]], takes: Signature
) -> dict[tuple[str, int], tuple[str, str]]:
    """Return the axes that were described with a name and that the module takes at one size."""
    now = {a.name: a.axes for a in takes.arguments}
    return {
        (a.name, place): (axis, "the module itself takes no other size")
        for a, _ in described
        for place, axis in enumerate(a.axes)
        if isinstance(axis, str) and isinstance(now.get(a.name, a.axes)[place], int)
    }


def explained(
    domain: Sequence[AxisDomain], pools: Collection[str], attempts: Sequence[Attempt]
) -> tuple[AxisDomain, ...]:
    """Return the axes with the known cause of a size being fixed: `pools` are adaptive poolings
    that were seen, `attempts` the routes that were given up."""
    if pools:
        cause = f"ONNX has no operator for {next(iter(pools))} of an input of open size"
    elif any("inferred a static shape" in attempt.why for attempt in attempts):
        cause = "the module's Python code depends on this size, as a loop over the axis does"
    else:
        return tuple(domain)
    return tuple(
        replace(axis, why=f"{cause}; {axis.why}" if axis.why else cause)
        if axis.state is AxisState.FIXED and axis.name not in ("", BATCH)
        else axis
        for axis in domain
    )


def fixed_notes(domain: Sequence[AxisDomain], *, noted: Sequence[str]) -> list[str]:
    """Return the notes on axes that have a name and one size, with the first one's reason."""
    fixed: dict[int, dict[str, AxisDomain]] = {}
    for axis in domain:
        if axis.state is AxisState.FIXED and axis.name and axis.min is not None:
            fixed.setdefault(axis.min, {}).setdefault(axis.name, axis)
    notes = []
    for size, axes in fixed.items():
        front = f"{' and '.join(axes)} {'are' if len(axes) > 1 else 'is'} fixed"
        if not any(note.startswith(front) for note in noted):
            notes.append(f"{front} at {size}: {next(iter(axes.values())).why}")
    return notes


def plain_weights(forward: Forward) -> set[str]:
    """Return the names of tensors that cannot be masks: parameters, and statistics of one axis."""
    buffers = {name for name, b in forward.model.named_buffers() if b.ndim < 2}
    return {name for name, _ in forward.model.named_parameters(remove_duplicate=False)} | buffers


def said(takes: Signature) -> list[str]:
    """Return the note on inputs that were put into a dict, which nobody said."""
    names = [a.name for a in takes.arguments if a.path]
    if not names:
        return []
    argument = root(takes.arguments[0].path)
    return [
        f"forward takes one argument: {' and '.join(names)} were given to it in a dict, {argument}"
    ]


def with_unused(same: Proof, forward: Forward, answered: tuple[Arrays, Any] | None) -> Proof:
    """The proof "same weights" with the weights that reach no output of the module.

    It fails where they are more than SPARE of the weight bytes. A library's own class may have
    parts that only training runs (auxiliary heads, a pooler): those are named and no fault.
    """
    candidates = same.facts.get("not_in_graph", ())
    if not candidates or answered is None:
        return same
    given = tuple(t.clone() for t in tensors(answered[0], dtype(forward)))
    weights = dict(forward.model.named_parameters())
    unused = _without_gradient(forward, given, [n for n in candidates if n in weights])
    sizes = {name: weights[name].nbytes for name in unused}
    share = sum(sizes.values()) / max(sum(p.nbytes for p in weights.values()), 1)
    library = type(forward.model).__module__.partition(".")[0] in LIBRARIES
    library = library or isinstance(forward.model, SentenceModel)
    fault = share > SPARE and not library
    facts = {**same.facts, "unused": sizes, "unused_share": share, "unused_is_fault": fault}
    if not fault:
        return replace(same, facts=facts)
    what = (
        f"{100 * share:.0f} % of the weight bytes reach no output ({listed(list(sizes))}): the "
        "graph is a part of the model"
    )
    return replace(same, holds=False, what=what, facts=facts)


def rebuilt(
    loaded: Proof, forward: Forward, answered: tuple[Arrays, Any], build: Callable[[], nn.Module]
) -> Proof:
    """The proof "loaded fraction" of a person's own code, built a second time by other random
    numbers: what a file and code alone determine answers the same.

    A tensor in a plain list is in no state dict. It would go into the graph as it happened to be
    drawn, and another run of the same code would be another model. Where the code cannot be built
    a second time in one process, that is noted and nothing is said.
    """
    again: Any = None
    try:
        with torch.random.fork_rng(devices=[]), _drawn_anew():
            again = build().eval()
            outputs = _answer(Forward(again, forward.signature), answered[0])
            same = repeated(answered[1], outputs, KEPT)
            # A module that does not repeat itself is parity's to refuse.
            steady = same or repeated(answered[1], _answer(forward, answered[0]), KEPT)
    except Exception as error:  # a person's own code may raise anything
        facts = {**loaded.facts, "built_twice": f"{type(error).__name__}: {error}"}
        return replace(loaded, facts=facts)
    facts = {**loaded.facts, "built_twice": same}
    if same or not steady:
        return replace(loaded, facts=facts)
    named = _unsaved(forward.model, again)
    what = (
        "rebuilt with the same weights, the module gives other outputs: it uses random values that "
        "no file stores"
    )
    where = f" ({listed(named)})" if named else ""
    advice = "; register them with register_buffer, and save the checkpoint again"
    return replace(loaded, holds=False, what=f"{what}{where}{advice}", facts=facts)


def _answer(forward: Forward, given: Arrays) -> list[NDArray[Any]]:
    example = tuple(t.clone() for t in tensors(given, dtype(forward)))
    return [host(t).copy() for t in forward.learn_outputs(example)]


@contextlib.contextmanager
def _drawn_anew() -> Iterator[None]:
    """Within it, random numbers are others than a new process draws."""
    kept = random.getstate(), np.random.get_state()
    random.seed(_ANEW)
    np.random.seed(_ANEW)
    torch.manual_seed(_ANEW)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _unsaved(module: nn.Module, again: nn.Module) -> list[str]:
    """Where two modules have tensors of other values that no state dict names."""
    paths = []
    others = dict(again.named_modules())
    for name, part in module.named_modules():
        attributes = {**part._buffers, **{k: v for k, v in vars(part).items() if k[0] != "_"}}
        other = others.get(name)
        theirs = {**other._buffers, **vars(other)} if other is not None else {}
        for attribute, value in attributes.items():
            one, two = (
                [x for x in _pytree.tree_leaves(v) if isinstance(x, torch.Tensor | np.ndarray)]
                for v in (value, theirs.get(attribute))
            )
            if len(one) == len(two) and not all(
                np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, two, strict=True)
            ):
                paths.append(f"{name}.{attribute}".removeprefix("."))
    return paths


def _without_gradient(
    forward: Forward, given: tuple[torch.Tensor, ...], names: Sequence[str]
) -> list[str]:
    """Those of some weights on which no output depends; [] where that cannot be computed."""
    weights = {n: p for n, p in forward.model.named_parameters() if n in set(names)}
    before = {n: p.requires_grad for n, p in weights.items()}
    try:
        for p in weights.values():
            p.requires_grad_(p.is_floating_point())
        with torch.enable_grad(), contextlib.redirect_stdout(sys.stderr):
            outputs = [o for o in forward(*given) if o.requires_grad]
            if not outputs:
                return list(weights)
            sums = sum(o.float().sum() for o in outputs)
            gradients = torch.autograd.grad(sums, list(weights.values()), allow_unused=True)
    except Exception:  # a module's own code, or an operator without a derivative
        return []
    finally:
        for n, p in weights.items():
            p.requires_grad_(before[n])
    return [n for n, g in zip(weights, gradients, strict=True) if g is None]


def tied_names(module: nn.Module) -> tuple[str, ...]:
    """The names that transformers itself calls second ones of a tied weight."""
    tied: Any = getattr(module, "all_tied_weights_keys", None) or ()
    return tuple(tied)


def once(identity: Identity, module: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors to be written, and second names of tied ones, which are not.

    timm's own loader asks for every name, so there each stands in full.
    """
    if library_files.library(identity, module) == "timm":
        return dict(module.state_dict()), {}
    return weights.untied(module.state_dict(), tied_names(module))


def remedy(forward: Forward, walked: Collection[str], *, described: bool) -> str:
    """Return what to do about a module that fails on its input.

    `walked` are inputs that were indexed along their batch axis; `described` says that a person
    described them.
    """
    module = forward.model
    whole = [
        n for n, p in module.named_parameters() if not (p.is_floating_point() or p.is_complex())
    ]
    if whole:
        kind = str(module.get_parameter(whole[0]).dtype).removeprefix("torch.")
        return (
            f"save the float weights: {whole[0]} is {kind}, cast without the scales that a "
            "quantised model needs"
        )
    if walked:
        return observe.lists(list(walked))
    if any(a.path for a in forward.signature.arguments):
        name = root(forward.signature.arguments[0].path)
        return (
            f"forward takes one argument, {name}, and was given a dict; if it is a list, write "
            f"--input '{name}[0]=…'; if its keys are other ones, --input '{name}.KEY=…'"
        )
    if described:
        return (
            "correct --input: NAME=DTYPE(batch,…) for a tensor, NAME.KEY=… for an entry of a dict, "
            "NAME[0]=… for one of a list"
        )
    return "give the preprocessing with --preprocess, or samples with --data"


def inputs(model: ir.Model, axes: Mapping[str, str]) -> tuple[dict[str, Json], ...]:
    """The graph's inputs as config.json has them."""
    entries: list[dict[str, Json]] = []
    for value in model.graph.inputs:
        shape = [
            d if isinstance(d, int) else axes.get(str(d.value), str(d.value))
            for d in value.shape or ()
        ]
        kind = DTYPES.get(int(value.dtype), "") if value.dtype is not None else ""
        entries.append({"name": value.name, "dtype": kind, "shape": shape})
    return tuple(entries)


def recorded(answers: Sequence[NDArray[Any]]) -> dict[str, Json]:
    """What the module answers to its first seeded input, for the receipt.

    On a machine that lacks the module's code, a graph can still be held against it.
    """
    return {
        "outputs": [
            {
                "shape": list(a.shape),
                "scale": float(np.abs(a).max()) if a.size else 0.0,
                "values": [float(v) for v in a.reshape(-1)[:_RECORDED]],
            }
            for a in answers
        ]
    }
