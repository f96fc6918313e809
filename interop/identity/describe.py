"""An identity -> the one line and the facts by which a report shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256

from interop.facts import (
    ABSENT,
    AnyPreprocessing,
    Architecture,
    Head,
    HeadKind,
    Identity,
    Imprint,
    Input,
    Json,
    Labels,
    Layout,
    Part,
    StateDict,
    TensorSpec,
)
from interop.facts.sections.check import TensorRow
from interop.identity import module_classes
from interop.identity.assumed import STATES, assumption
from interop.identity.metadata import preprocessing_json


def describe(role: str, identity: Identity) -> Input:
    """How a report speaks of a file."""
    path = identity.manifest.path
    if len(identity.manifest.state_dicts) > 1:
        path += f"#{identity.place}"
    return Input(role, path, summary(identity), facts(identity))


def dataset_hash(samples: Iterable[str]) -> str:
    """One hash of a data set, from its samples' own: the same whatever their order and place."""
    return sha256("".join(sorted(samples)).encode()).hexdigest()


def parts_hash(parts: Sequence[Part]) -> str | None:
    """One hash of a folder's parts; None where there are none, or one of them is not hashed."""
    if not parts or any(p.sha256 is None for p in parts):
        return None
    lines = sorted(f"{p.sha256} {p.path}" for p in parts)
    return sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def summary(identity: Identity) -> str:
    """ "torchvision/resnet18  head fc 512 -> 10  11.2 M weights  float32"."""
    parts = [_names(identity) or identity.kind or "unknown architecture"]
    if identity.head is not None:
        parts.append(head_line(identity.head))
    parts.append(f"{human(weights(identity))} weights")
    parts.append(", ".join(dtypes(identity)) or "no tensors")
    return "  ".join(parts)


def _names(identity: Identity, most: int = 2) -> str:
    names = [a.name for a in identity.architectures]
    if identity.assumptions and len(names) == 1:
        return f"{names[0]} (assumed)"
    if len(names) > 1 and identity.architectures[0].evidence.endswith(STATES):
        return f"{names[0]} (as {identity.architectures[0].evidence})"
    more = f" or {len(names) - most} more" if len(names) > most else ""
    return " or ".join(names[:most]) + more


def head_line(head: Head) -> str:
    """ "head fc 512 -> 10", with its kind where it is not one layer."""
    if head.kind == HeadKind.REMOVED:
        return f"no head at {head.path}"
    note = "" if head.kind in (HeadKind.LINEAR, HeadKind.CONV1X1) else f" ({head.kind})"
    return f"head {head.path} {head.in_width or '?'} -> {head.outputs or '?'}{note}"


def weights(identity: Identity) -> int:
    """The number of weights, running counters left out."""
    return sum(t.numel for t in identity.tensors if not t.is_counter)


def dtypes(identity: Identity) -> list[str]:
    """The weights' types, the most frequent first."""
    counts = Counter(t.dtype for t in identity.tensors if not t.is_counter)
    return [name for name, _ in counts.most_common()]


def human(number: int) -> str:
    """A count in thousands, millions or billions."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def facts(identity: Identity) -> dict[str, Json]:
    """Everything of an identity but the tensors one by one, as JSON."""
    manifest, head = identity.manifest, identity.head
    graph = manifest.graph
    return {
        "container": manifest.container,
        "bytes": manifest.size,
        "header_sha256": manifest.header_sha256,
        "content_sha256": manifest.content_sha256,
        "state_dicts": [s.place for s in manifest.state_dicts],
        "held_aside": list(manifest.held_aside),
        "place": identity.place,
        "prefix": identity.prefix,
        "kind": identity.kind,
        "architectures": [_architecture_facts(a) for a in identity.architectures],
        "ambiguity": identity.ambiguity,
        **({"assumed": assumptions_facts(identity)} if identity.assumptions else {}),
        **({"would_assume": made.value} if (made := assumption(identity)) else {}),
        **({"left_over": list(identity.left_over)} if identity.left_over else {}),
        "root": identity.root,
        "runner_up": _architecture_facts(near) if (near := identity.runner_up) else None,
        "blocks": [] if identity.architectures or identity.kind else _blocks(identity),
        "head": None if head is None else _head_facts(head),
        "side_heads": [_head_facts(h) for h in identity.side_heads],
        "tensors": len(identity.tensors),
        "weights": weights(identity),
        "dtypes": dtypes(identity),
        "labels": labels_facts(identity.labels),
        "preprocessing": preprocessing_facts(identity.preprocessing),
        **({"imprint": imprint_facts(seen)} if (seen := identity.imprint) else {}),
        "metadata": dict(manifest.metadata),
        "parts": [
            {"path": p.path, "kind": str(p.kind), "bytes": p.size, "sha256": p.sha256}
            | ({"fault": p.fault} if p.fault else {})
            for p in manifest.parts
        ],
        "parts_sha256": parts_hash(manifest.parts),
        "modules": [
            {"path": m.path, "type": m.type, "config": dict(m.config)}
            | ({"fault": m.fault} if m.fault else {})
            for m in manifest.modules
        ],
        **_pickled_module(identity.state),
        "imports": [{"name": str(i), "danger": i.danger} for i in manifest.imports],
        **({"opened": [str(one) for one in manifest.opened]} if manifest.opened else {}),
        "graph": None
        if graph is None
        else {
            "inputs": [[p.name, p.dtype, list(p.shape)] for p in graph.inputs],
            "outputs": [[p.name, p.dtype, list(p.shape)] for p in graph.outputs],
            "opsets": dict(graph.opsets),
            "producer": graph.producer,
            "operators": dict(graph.operators),
        },
    }


def _pickled_module(state: StateDict | None) -> dict[str, Json]:
    """The class of a whole pickled module, and how many modules of each class are in it."""
    if state is None or not state.tree:
        return {}
    own = module_classes.top(state.tree) or state.tree[0]
    classes = Counter(module.type for module in state.tree)
    known = {"type": own.type, "modules": len(state.tree), "scalars": dict(own.scalars)}
    return {"pickled_module": {**known, "classes": dict(classes.most_common())}}


def _blocks(identity: Identity) -> list[Json]:
    from interop.identity.block_summary import blocks

    return [
        {"path": b.path, "count": b.count, "weights": b.weights, "widths": b.widths}
        for b in blocks(identity.tensors, channels_last=identity.manifest.channels_last)
    ]


def _architecture_facts(architecture: Architecture) -> dict[str, Json]:
    return {
        "name": architecture.name,
        "evidence": architecture.evidence,
        "share": architecture.share,
        "also": list(architecture.also),
        "sizes": dict(architecture.sizes),
    }


def _head_facts(head: Head) -> dict[str, Json]:
    names = ("path", "kind", "in_width", "outputs", "role", "takes", "evidence")
    return {name: getattr(head, name) for name in names}


def tensor_row(spec: TensorSpec) -> TensorRow:
    """Everything of one tensor but its values; what is as usual is left out."""
    place, stats = spec.storage, spec.stats
    return TensorRow(
        name=spec.name,
        dtype=spec.dtype,
        shape=spec.shape,
        storage=(place.file, place.key, place.offset, place.nbytes) if place else None,
        minimum=stats.minimum if stats else ABSENT,
        maximum=stats.maximum if stats else ABSENT,
        offset=spec.offset or None,
        stride=spec.stride or None,
        conj=spec.conj,
        neg=spec.neg,
        layout=None if spec.layout == Layout.STRIDED else spec.layout,
        quantizer=spec.quantizer or None,
        parts=tuple(map(tensor_row, spec.parts)) or None,
        nan=(stats and stats.nan) or None,
        inf=(stats and stats.inf) or None,
        constant=stats is not None and stats.constant,
    )


def assumptions_facts(identity: Identity) -> list[Json]:
    """What was assumed of a model as JSON."""
    return [a.json() for a in identity.assumptions]


def labels_facts(labels: Labels) -> dict[str, Json]:
    """Labels as JSON: names, where from, and whether a model of this kind has any."""
    names = None if labels.names is None else list(labels.names)
    return {"names": names, "source": labels.source, "applicable": labels.applicable}


def preprocessing_facts(given: AnyPreprocessing | None) -> dict[str, Json] | None:
    """Preprocessing as a checkpoint states it, where it was learned from, and by what evidence."""
    if given is None:
        return None
    more = {"source": given.source, "evidence": str(given.evidence)}
    return {**preprocessing_json(given), **more}


def imprint_facts(seen: Imprint) -> dict[str, Json]:
    """What the weights remember of their inputs as JSON, and in words."""
    return {
        "layer": seen.layer,
        "norm": seen.norm,
        "batches": seen.batches,
        "mean": [_rounded(m) for m in seen.mean],
        "scale": _rounded(seen.scale),
        "wide": seen.wide,
        "family": seen.family,
        "excluded": list(seen.excluded),
        "scores": {name: _rounded(score) for name, score in seen.scores.items()},
        "residual": _rounded(seen.residual),
        "rms": _rounded(seen.rms),
        "why": seen.why,
        "says": list(seen.sentences),
    }


def _rounded(value: float) -> float:
    # Sums of many numbers end in other digits on other machines.
    return float(f"{value:.4g}")
