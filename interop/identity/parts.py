"""A state dict with more than a model in it -> the part that is the model, and what is left over.

Beside a model there may be a loss's weights, a metric, counters, a twin (EMA) or the other half of
a GAN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from interop.errors import ModelError
from interop.facts import Identity
from interop.identity.index.lookup import under
from interop.identity.pipeline import identify
from interop.patterns import lazy
from interop.records import replace

Shapes = Mapping[str, tuple[int, ...]]
# Names of what a trainer keeps beside a model, and no model computes with.
_ASIDE = lazy(
    r"(^|\.)((\w+_)?criterion|crit|(\w+_)?loss(es)?(_fn)?(_\d+)?|(\w+_)?metrics?|"
    r"((train|val|valid|test)_)?(acc|accuracy|auroc|auc|f1|iou|map|precision|recall|confmat)(_\w+)?|"
    r"class_weights?|pos_weight|(\w+_)?ema(_model)?|averaged_model|\w*queue(_ptr)?|"
    r"total_ops|total_params)(\.|$)"
    r"|^(\w+\.)?(n_averaged|num_updates|decay|step|initted)$"
)
_FEWEST = 3  # tensors of a part that could be a model


def is_aside(name: str) -> bool:
    """Whether a tensor is by its name something that a trainer keeps beside a model."""
    return bool(_ASIDE.search(name))


def by_architecture(identity: Identity) -> Identity:
    """Return the one part whose architecture is known, if the rest is nothing that it needs.

    The identity itself comes back if it is a plain model, or if no part is one. Raises ModelError
    if several parts are.
    """
    if identity.kind or "…" in identity.prefix or (identity.architectures and not identity.root):
        return identity
    counts = Counter(t.name.partition(".")[0] for t in identity.tensors if "." in t.name)
    tokens = [token for token, count in counts.items() if count >= _FEWEST]
    known: dict[str, Identity] = {}
    for prefix in (*tokens, identity.root):
        if prefix and not any(under(prefix, outer) for outer in known):
            part = _at(identity, prefix)
            if part.architectures and not part.root:
                known[prefix] = part
    if len(known) > 1:
        raise several(identity, list(known))
    for prefix, part in known.items():
        left = _outside(identity, prefix)
        there, own = (_shapes(i) for i in (identity, part))
        if len(twins := _prefixes(there, own)) > 1:
            raise several(identity, twins)
        if all(map(is_aside, left)):
            return replace(part, left_over=left)
    return identity


def by_names(identity: Identity, wanted: Shapes, *, own: bool) -> Identity:
    """Return the part that has all tensors of a module, by name and shape.

    `own` says that the person gave the module: then whatever lies outside the part is left over,
    else only what a trainer keeps beside a model. Raises ModelError if several parts have them, or
    if a tensor that is left over would fit the module.
    """
    there = _shapes(identity)
    wanted = {n: s for n, s in wanted.items() if not n.endswith("num_batches_tracked")}
    if not wanted:
        return identity
    if _has(there, wanted):
        left = tuple(n for n in there if n not in wanted and is_aside(n))
        if not left:
            return identity
        kept = tuple(t for t in identity.tensors if t.name not in left)
        return replace(identity, tensors=kept, left_over=(*identity.left_over, *left))
    fit = _prefixes(there, wanted)
    if len(fit) > 1:
        raise several(identity, fit)
    if not fit:
        return identity
    left = _outside(identity, fit[0])
    if not own and not all(map(is_aside, left)):
        return identity
    if clash := [n for n in left if wanted.get(n) == there[n]]:
        raise ModelError(
            f"{clash[0]!r} would fit the module, and lies outside the part {fit[0]!r} that has "
            "all of its tensors",
            where=identity.manifest.path,
            fix=f"choose the part as {_named(identity, fit[0])}",
        )
    part = replace(_at(identity, fit[0]), assumptions=identity.assumptions, left_over=left)
    if identity.architecture:  # a person named it, or it was assumed
        part = replace(part, architectures=identity.architectures, ambiguity="")
    return by_names(part, wanted, own=own)


def several(identity: Identity, prefixes: Sequence[str]) -> ModelError:
    """The refusal of a file in which several parts are the model that is asked for."""
    names = [_named(identity, p) for p in prefixes]
    return ModelError(
        f"{len(names)} parts of it fit the model",
        where=identity.manifest.path,
        fix=f"choose one: {' or '.join(names)}",
        rule="several-models",
    )


def _prefixes(there: Shapes, wanted: Shapes) -> list[str]:
    """The prefixes under which all the names are, as they are or without their dots.

    Diffusion models keep an average of their weights as "model_ema.modelconv_inweight".
    """
    fit: dict[str, None] = {}
    for names in (wanted, _flat(wanted)):
        tail = f".{next(iter(names))}"
        for prefix in (n.removesuffix(tail) for n in there if n.endswith(tail)):
            if _has(there, {f"{prefix}.{n}": shape for n, shape in names.items()}):
                fit[prefix] = None
    return list(fit)


def _flat(names: Shapes) -> Shapes:
    return {name.replace(".", ""): shape for name, shape in names.items()}


def _shapes(identity: Identity) -> Shapes:
    return {t.name: t.shape for t in identity.tensors}


def _has(there: Shapes, wanted: Shapes) -> bool:
    return all(there.get(name) == shape for name, shape in wanted.items())


def _outside(identity: Identity, prefix: str) -> tuple[str, ...]:
    return tuple(t.name for t in identity.tensors if not under(t.name, prefix))


def _place(identity: Identity, prefix: str) -> str:
    front = identity.prefix.rstrip(".")
    return ".".join(filter(None, (identity.place, front, prefix)))


def _named(identity: Identity, prefix: str) -> str:
    return f"{Path(identity.manifest.path).name}#{_place(identity, prefix)}"


def _at(identity: Identity, prefix: str) -> Identity:
    """What the part under a prefix is of; facts that a person gave stay."""
    part = identify(identity.manifest, place=_place(identity, prefix))
    how = part.preprocessing or identity.preprocessing
    labels = part.labels if part.labels.known else identity.labels
    return replace(part, labels=labels, preprocessing=how)
