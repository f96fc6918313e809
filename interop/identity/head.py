"""Tensors -> the head among them: the layers that were replaced for the task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from interop.facts import Head, TensorSpec
from interop.identity.index import under
from interop.identity.match import Match
from interop.identity.order import in_definition_order

# What configs call the width of the vectors that a head is given.
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
ONE_LAYER = ("linear", "conv1x1")


def found(
    tensors: Sequence[TensorSpec], match: Match | None
) -> tuple[Head | None, tuple[Head, ...]]:
    """The main head and the others of a file whose architecture is known.

    What lies beside the backbone is the head where the library's own is gone.
    """
    if match is None:
        return None, ()
    made = [_tied(at_path(tensors, path, role, match.takes), match) for path, role in match.heads]
    there = [h for h in made if h.kind != "removed"]
    beside = _beside(tensors, match)
    if beside and not any(h.path == match.heads[0][0] for h in there):
        # The last module is the answer; what stands before it (a pooler, a neck) leads to it.
        there = [beside[-1], *there, *beside[:-1]]
    else:
        there += beside
    if not there:
        return (made[0] if made else None), ()
    main = there[0]
    if match.heads and not beside and main.path != match.heads[0][0]:
        return made[0], tuple(there)
    return main, tuple(there[1:])


def _tied(head: Head, match: Match) -> Head:
    """A vocabulary's scores are often the input embeddings, which a file holds once."""
    sizes = match.architectures[0].sizes if match.architectures else {}
    vocabulary = sizes.get("vocab_size", 0)
    # Without its last matrix a head ends in the one before, as wide as the backbone.
    bare = head.kind == "removed" or head.outputs == head.in_width
    if head.role != "vocabulary" or not vocabulary or not bare:
        return head
    width = head.in_width or next((sizes[n] for n in _WIDTHS if n in sizes), 0)
    kind = "tied" if head.kind == "removed" else head.kind
    evidence = f"{head.evidence}; its scores are the input embeddings"
    return replace(head, kind=kind, in_width=width, outputs=vocabulary, evidence=evidence)


def _beside(tensors: Sequence[TensorSpec], match: Match) -> list[Head]:
    """The modules beside the backbone that have weights, in the file's order."""
    names = set(match.beside)
    role = match.heads[0][1] if match.heads else ""
    paths: dict[str, None] = {}
    for t in tensors:
        if t.name in names:
            paths[_module(t.name, match.root)] = None
    why = f"it lies beside the backbone{f' {match.root}' if match.root else ''}"
    return [at_path(tensors, p, role, match.takes, why, within=names) for p in paths if p]


def _module(name: str, root: str) -> str:
    """The outermost module of a tensor that is not around the backbone itself."""
    parts, around = name.split("."), root.split(".") if root else []
    shared = 0
    while shared < min(len(parts), len(around)) and parts[shared] == around[shared]:
        shared += 1
    return ".".join(parts[: min(shared + 1, len(parts) - 1)])


def at_path(
    tensors: Sequence[TensorSpec],
    path: str,
    role: str = "",
    takes: str = "",
    evidence: str = "the index",
    *,
    within: Collection[str] | None = None,
) -> Head:
    """The head at a path that is known to be a head's; of the tensors named in `within` alone.

    A head whose weights lie deeper than `path` itself has layers without weights around them,
    which no file names: its kind is "several layers". One without any tensor is "removed".
    """
    own = [t for t in tensors if under(t.name, path) and (within is None or t.name in within)]
    if not own:
        return Head(path, "removed", 0, 0, (), evidence, role, takes)
    names = tuple(t.name for t in own)
    weights = [t for t in own if len(t.shape) >= 2]
    if not weights:
        return Head(path, "several layers", 0, 0, names, evidence, role, takes)
    kind = "several layers"
    if set(names) <= {f"{path}.weight", f"{path}.bias"} and len(weights) == 1:
        kind = _kind(weights[0])
    if kind == "linear" and takes == "map":
        takes = ""  # what a library's other heads are given: a matrix takes vectors
    # A file that sorts its names does not tell by their place which layer is the last.
    weights = list(in_definition_order(weights))
    first, last = weights[0], weights[-1]
    if role == "keypoints" and len(last.shape) == 4:  # a transposed convolution: inputs come first
        return Head(path, kind, last.shape[0], last.shape[1], names, evidence, role, takes)
    return Head(path, kind, first.shape[1], last.shape[0], names, evidence, role, takes)


def by_definition_order(tensors: Sequence[TensorSpec]) -> Head | None:
    """The head of an unknown module: its last weight, where that is a linear layer's.

    The last weight of two or more dimensions in definition order is the head in nearly every
    classifier; one that is no matrix (an autoencoder's last convolution) is none.
    """
    weights = [t for t in tensors if len(t.shape) >= 2 and t.name.endswith("weight")]
    if len(weights) < 2 or len(weights[-1].shape) != 2:
        return None
    last = weights[-1]
    path = last.name.rpartition(".")[0]
    if not path:
        return None
    own = tuple(t.name for t in tensors if under(t.name, path))
    if set(own) - {f"{path}.weight", f"{path}.bias"}:
        return None
    evidence = "the last weight in definition order"
    return Head(path, "linear", last.shape[1], last.shape[0], own, evidence)


def _kind(weight: TensorSpec) -> str:
    if len(weight.shape) == 2:
        return "linear"
    sizes = set(weight.shape[2:])
    # A 1x1x1 convolution of a video model is no other thing than one of a picture.
    return {1: "conv1x1", 3: "conv3x3"}.get(sizes.pop(), "") if len(sizes) == 1 else ""
