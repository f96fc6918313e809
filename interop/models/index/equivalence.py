"""Models of the same weights, by name -> those that compute the same, and what tells others apart.

Each is built, given the same weights and run on the same input. Nothing is taken from names.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import nn

from interop.facts import HeadRole
from interop.identity.index.build import IndexEntry, Twins
from interop.models import catalog

# Outputs this far apart, of the largest output, are the same: rounding alone comes to 1e-6.
AGREE = 1e-5
# Differences up to this may be rounding that a deep model has amplified: float64 decides.
DOUBTFUL = 1e-2
# Weights of more elements than this (1 GB of float32) are not run.
LARGEST = 250_000_000
TOO_LARGE = "not compared: too large"
BLIND = "not compared: the input makes no difference"
HEAD = "head"
OWN_CODE = "the library's own code"

# What a module's attribute is in words; the order is that in which words are given.
_ATTRIBUTES = {
    "padding": "padding",
    "eps": "epsilon",
    "stride": "stride",
    "dilation": "dilation",
    "ceil_mode": "pooling",
    "output_size": "pooling",
    "pool_type": "pooling",
    "global_pool": "pooling",
    "window_size": "window size",
    "pretrained_window_size": "window size",
    "num_heads": "attention heads",
    "num_attention_heads": "attention heads",
    "padding_idx": "padding index",
    "transform_input": "normalisation",
    "min_size": "input size",
    "max_size": "input size",
    "pos_embed_ar_preserving": "aspect ratio",
}
# Modules that do nothing when a model is run; `Identity` stands where another has one of them.
_IDLE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
_IDLE_NAMES = ("DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout")
_ACTIVATIONS = (
    "Swish", "HardSwish", "GELUTanh", "QuickGELU", "GELUActivation", "NewGELUActivation",
    "QuickGELUActivation", "FastGELUActivation", "SiLUActivation",
)  # fmt: skip
# Attributes that follow from the input's size or the classifier's width, and compute nothing.
_OF_SIZE = frozenset({"num_classes", "out_features", "num_patches", "img_size"})
# Attributes that count even where the outputs of random weights do not show them.
_ALWAYS = frozenset({"epsilon", "aspect ratio"})


def twins(
    groups: Sequence[Sequence[IndexEntry]], progress: Callable[[str], object] | None = None
) -> list[Twins]:
    """What each group of entries with one backbone comes to.

    A name may stand in several groups: with and without its classifier, under its names in memory
    and on disk. Raises what a library raises where one of its models does not run.
    """
    twins: list[Twins] = []
    for group in groups:
        if progress:
            progress(", ".join(dict.fromkeys(entry.name for entry in group)))
        twins.append(compare(group))
    return twins


def compare(group: Sequence[IndexEntry]) -> Twins:
    """The names of one group, those that compute the same together.

    Models with other heads are told apart by these and are not run against each other; classifiers
    of pictures are compared by the features that their heads are given.
    """
    kinds: dict[object, dict[str, IndexEntry]] = {}
    for entry in group:
        kinds.setdefault(_kind(entry), {}).setdefault(entry.name, entry)
    same: list[tuple[str, ...]] = []
    words: list[str] = [HEAD] if len(kinds) > 1 else []
    for members in kinds.values():
        apart, reasons = _split(list(members.values()))
        same += map(tuple, apart)
        words += reasons
    return Twins(_in_order(same), ", ".join(dict.fromkeys(words)))


def preference(name: str) -> tuple[int, int, str]:
    """The order in which names are preferred: by library, then the shortest, then the alphabet."""
    library = name.partition("/")[0]
    if library == "transformers":  # in the catalog's order, which sorting leaves as it is
        return len(catalog.LIBRARIES), 0, ""
    return list(catalog.LIBRARIES).index(library), len(name), name


def _in_order(same: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    groups = [tuple(sorted(group, key=preference)) for group in same]
    return tuple(sorted(groups, key=lambda group: preference(group[0])))


def _kind(entry: IndexEntry) -> object:
    """What has to be equal for two models to be worth running against each other.

    Vision libraries' classifiers are compared by their features, so that one with a classifier can
    be a twin of one without.
    """
    if entry.name.startswith("transformers/"):
        return tuple(entry.heads)
    roles = {role for _, role in entry.heads}
    classifier = roles <= {HeadRole.CLASSES, HeadRole.AUXILIARY_CLASSES, HeadRole.DISTILLATION}
    return "pictures" if classifier else frozenset(roles)


def _split(entries: Sequence[IndexEntry]) -> tuple[list[list[str]], list[str]]:
    """Groups of names that agree, and what tells these groups apart."""
    if len(entries) == 1:
        return [[entries[0].name]], []
    if sum(prod(shape) for shape in entries[0].shapes.values()) > LARGEST:
        reasons = _differences([catalog.outline(entry) for entry in entries], entries)
        reasons = [word for word in reasons if word != OWN_CODE]  # it may well be the same
        return [[entry.name] for entry in entries], [*reasons, TOO_LARGE]
    try:
        outputs = _outputs(entries, torch.float32)
    except FloatingPointError:
        outputs = _outputs(entries, torch.float64)
    modules = [catalog.outline(entry) for entry in entries]
    if _blind(entries[0], _size(entries), outputs[0]):
        return [[entry.name] for entry in entries], [*_differences(modules, entries), BLIND]
    groups = _grouped(outputs, modules)
    if len(groups) > 1 and any(
        AGREE < _distance(outputs[a[0]], outputs[b[0]]) < DOUBTFUL
        for a, b in combinations(groups, 2)
    ):
        groups = _grouped(_outputs(entries, torch.float64), modules)
    firsts = [group[0] for group in groups]
    reasons = _differences([modules[i] for i in firsts], [entries[i] for i in firsts])
    if OWN_CODE in reasons and len({tuple(t.shape for t in outputs[i]) for i in firsts}) > 1:
        reasons[reasons.index(OWN_CODE)] = HEAD
    return [[entries[i].name for i in group] for group in groups], reasons


def _grouped(
    outputs: Sequence[Sequence[torch.Tensor]], modules: Sequence[nn.Module]
) -> list[list[int]]:
    groups: list[list[int]] = []
    for place, output in enumerate(outputs):
        for group in groups:
            known = group[0]
            if _distance(output, outputs[known]) <= AGREE and not (
                _ALWAYS & set(words(modules[known], modules[place]))
            ):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _distance(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    """The largest difference, of the largest output; infinite where the outputs' shapes differ."""
    if [t.shape for t in a] != [t.shape for t in b]:
        return float("inf")
    worst = 0.0
    for left, right in zip(a, b, strict=True):
        scale = max(float(left.abs().max()), float(right.abs().max())) if left.numel() else 0.0
        if scale:
            worst = max(worst, float((left - right).abs().max()) / scale)
    return worst


# ---------------------------------------------------------------- running


def _outputs(entries: Sequence[IndexEntry], dtype: torch.dtype) -> list[list[torch.Tensor]]:
    """What each gives for the same input and the same weights."""
    size = _size(entries)
    outputs = [_run(entry, size, dtype) for entry in entries]
    if not any(tensor.numel() for output in outputs for tensor in output):
        raise ValueError(f"{entries[0].name} and its twins give nothing to compare")
    return outputs


def _size(entries: Sequence[IndexEntry]) -> tuple[int, ...] | None:
    """The smallest of the input sizes that the libraries state."""
    sizes = [catalog.input_size(entry) for entry in entries]
    return min((size for size in sizes if size), default=None)


def _blind(entry: IndexEntry, size: tuple[int, ...] | None, output: Sequence[torch.Tensor]) -> bool:
    """Whether a model gives the same for its input turned round: agreeing would show nothing."""
    try:
        other = _run(entry, size, torch.float32, turned=True)
    except FloatingPointError:
        return False
    return _distance(output, other) <= 10 * AGREE


def _run(
    entry: IndexEntry, size: tuple[int, ...] | None, dtype: torch.dtype, *, turned: bool = False
) -> list[torch.Tensor]:
    own = catalog.input_size(entry)
    try:
        return _answer(catalog.hollow(entry), entry, size, dtype, turned)
    except (AssertionError, RuntimeError, ValueError):
        if own == size or size is None:
            raise
        # A model that insists on its size is built for the one that all are run at.
        return _answer(catalog.hollow(entry, img_size=size[-1]), entry, size, dtype, turned)


def _answer(
    module: nn.Module,
    entry: IndexEntry,
    size: tuple[int, ...] | None,
    dtype: torch.dtype,
    turned: bool,
) -> list[torch.Tensor]:
    shake(module, entry.root)
    if not entry.name.startswith("transformers/"):
        _leave_out(module, entry)
    module = module.to(dtype).eval()
    with torch.inference_mode():
        inputs = _cast(catalog.inputs(entry, module, size), dtype, turned)
        outputs = list(_tensors(module(**inputs)))
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        raise FloatingPointError(f"{entry.name} gives numbers beyond {dtype} for seeded weights")
    return outputs


def _cast(inputs: Mapping[str, Any], dtype: torch.dtype, turned: bool) -> dict[str, Any]:
    """Inputs in a model's precision; `turned` runs their last axis backwards."""

    def cast(value: Any) -> Any:
        if isinstance(value, list):
            return [cast(part) for part in value]
        value = value.flip(-1) if turned else value
        return value.to(dtype) if value.is_floating_point() else value

    return {name: cast(value) for name, value in inputs.items()}


def _leave_out(module: nn.Module, entry: IndexEntry) -> None:
    """Puts nothing where the classifiers are, so that what they are given comes out."""
    for path, role in entry.heads:
        if role in (HeadRole.CLASSES, HeadRole.DISTILLATION):
            module.set_submodule(path, nn.Identity())


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    """The tensors of a model's output, however it is put together, in order."""
    if isinstance(output, torch.Tensor):
        yield output.detach().double()
    elif isinstance(output, Mapping):
        # Of what transformers gives: caches and what lies on the way are not the answer.
        answers = [key for key in output if "logits" in key] or sorted(output)
        answers = ["last_hidden_state"] if "last_hidden_state" in output else answers
        for key in answers:
            yield from _tensors(output[key])
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _tensors(part)


def shake(module: nn.Module, root: str = "") -> None:
    """Gives a module seeded weights, each by its name below `root`, none of them trivial.

    A zero (a layer scale, the last normalisation of a block) would hide what comes before it; a
    variance of one hides an epsilon.
    """
    below = f"{root}." if root else ""
    places: dict[int, list[tuple[dict[str, Any], str, str]]] = {}
    for path, part in module.named_modules():
        for holder in (part._parameters, part._buffers):
            for own, tensor in holder.items():
                if tensor is not None:
                    name = f"{path}.{own}".lstrip(".").removeprefix(below)
                    places.setdefault(id(tensor), []).append((holder, own, name))
    for shared in places.values():
        holder, own, _ = shared[0]
        value = _value(min(name for _, _, name in shared), holder[own])  # tied: one name for all
        for holder, own, _ in shared:
            holder[own] = value


def _value(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The weight of that name; buffers that were computed stay as they are."""
    learned = isinstance(tensor, nn.Parameter)
    statistic = name.endswith(("running_mean", "running_var"))
    if not tensor.is_floating_point() or not (learned or statistic):
        return tensor
    value = _drawn(name, tuple(tensor.shape))
    return nn.Parameter(value, False) if learned else value


def _drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers of the size that such a weight has in a trained model, none of them 0 or 1."""
    seed = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return torch.rand(shape, generator=seed) + 0.1
    if len(shape) < 2 and not name.endswith(("bias", "running_mean")):
        return torch.rand(shape, generator=seed) + 0.5
    alone = len(shape) < 2 or shape[0] == 1
    scale = 0.1 if alone else max(prod(shape[1:]), 1) ** -0.5
    return torch.randn(shape, generator=seed) * scale


# ---------------------------------------------------------------- what tells two apart


def _differences(modules: Sequence[nn.Module], entries: Sequence[IndexEntry]) -> list[str]:
    """What tells any two apart, in words."""
    differences: set[str] = set()
    for (a, left), (b, right) in combinations(zip(modules, entries, strict=True), 2):
        stated = catalog.stated(left, a), catalog.stated(right, b)
        differences.update(words(a, b) or _attributes(a, b) or [OWN_CODE])
        differences.update(key for key, value in stated[0].items() if stated[1].get(key) != value)
    order = list(dict.fromkeys(_ATTRIBUTES.values()))
    return sorted(differences, key=lambda w: (order.index(w) if w in order else len(order), w))


def _attributes(a: nn.Module, b: nn.Module) -> list[str]:
    """The settings, by their own names, that differ between modules at the same paths."""
    left, right = dict(_active(a)), dict(_active(b))
    names = {
        name.replace("_", " ")
        for path in left.keys() & right.keys()
        for name, value in vars(left[path]).items()
        if not name.startswith("_")
        and name not in _OF_SIZE
        and isinstance(value, (bool, int, float, str))
        and getattr(right[path], name, value) != value
    }
    return sorted(names)[:3]


def words(a: nn.Module, b: nn.Module) -> list[str]:
    """What differs between modules at the same paths of two models, and in what kinds they have."""
    left, right = dict(_active(a)), dict(_active(b))
    differences = {
        w for path in left.keys() & right.keys() for w in _words(left[path], right[path])
    }
    if set(_kinds(left, _activation)) != set(_kinds(right, _activation)):
        differences.add("activation")
    if set(_kinds(left, _norm)) != set(_kinds(right, _norm)):
        differences.add("kind of normalisation")
    if _kinds(left, _blur) != _kinds(right, _blur):
        differences = (differences | {"anti-aliasing"}) - {
            "padding",
            "stride",
        }  # which it takes over
    return sorted(differences)


def _active(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that compute, by their path below the library's own headless model."""
    root = getattr(module, "base_model_prefix", "")
    for path, part in module.named_modules():
        if not isinstance(part, _IDLE) and type(part).__name__ not in _IDLE_NAMES:
            yield path.removeprefix(f"{root}.") if root else path, part


def _words(a: nn.Module, b: nn.Module) -> Iterator[str]:
    for attribute, word in _ATTRIBUTES.items():
        left, right = getattr(a, attribute, None), getattr(b, attribute, None)
        if left is None or right is None or isinstance(left, nn.Module):
            continue
        if _plain(left) != _plain(right):
            yield word
    if "Same" in f"{type(a).__name__} {type(b).__name__}" and type(a) is not type(b):
        yield "padding"


def _kinds(parts: Mapping[str, nn.Module], kind: Callable[[nn.Module], str]) -> Counter[str]:
    """How many modules of each kind a model has, where the kind has a name."""
    return Counter(name for part in parts.values() if (name := kind(part)))


def _activation(part: nn.Module) -> str:
    name = type(part).__name__
    known = type(part).__module__ == "torch.nn.modules.activation" and "Attention" not in name
    return name if known or name in _ACTIVATIONS else ""


def _norm(part: nn.Module) -> str:
    name = type(part).__name__
    return next((n for n in ("Batch", "Group", "Layer", "RMS") if f"{n}Norm" in name), "")


def _blur(part: nn.Module) -> str:
    name = type(part).__name__
    return name if name in ("BlurPool2d", "AvgPool2d", "AvgPool2dSame") else ""


def _plain(value: Any) -> Any:
    """Numbers as tuples: 1 and (1, 1) are the same to a convolution."""
    if isinstance(value, (list, tuple)):
        parts = tuple(_plain(part) for part in value)
        return parts[0] if len(set(parts)) == 1 else parts
    return value
