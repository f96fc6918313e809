"""Tensors -> the head among them: the layers that were replaced for the task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from interop.facts import Head, HeadInput, HeadKind, HeadRole, TensorSpec
from interop.identity.index.lookup import under
from interop.identity.index.match import Match
from interop.identity.index.order import in_definition_order
from interop.patterns import lazy
from interop.records import replace

# What configs call the width of the vectors that a head is given.
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
ONE_LAYER = (HeadKind.LINEAR, HeadKind.CONV1X1)
# The matrix of a layer under torch's own names, those of its reparametrisations included; any other
# tensor of two axes (a recurrent layer's, "W", "kernel") does not say which axis is which.
_MATRIX = lazy(r"(^|\.)(weight|weight_orig|weight_v|weight\.original1?)$")
_SCALE = lazy(r"(^|\.)(weight_g|weight\.original0)$")
_TABLE = lazy(r"(^|\.|_)(embed\w*|wte|wpe|quer(y|ies)|queue|prompts?|tokens?|codebook)(\.|$)")
_LEADS_ON = lazy(r"(^|\.)(pooler|pre_classifier|pre_logits)(\.|$)")
_TRAINING = lazy(r"(^|_)(aux\w*|loss\w*|criterion|metrics?|acc|accuracy|lpips|perceptual)(_|$)")
_BY_CHANCE = 8  # names that no module defines in the alphabet's order
_PICTURE = 4  # channels; a convolution of no more takes pictures, not features


def found(
    tensors: Sequence[TensorSpec], match: Match | None, ordered: bool = False
) -> tuple[Head | None, tuple[Head, ...]]:
    """The main head and the others of a file whose architecture is known.

    What lies beside the backbone is the head where the library's own is gone, or where it takes
    what that gives. `ordered` tells that the tensors are as their module defines them. No head is
    the main one where that is not known.
    """
    if match is None:
        return None, ()
    heads = [
        _tied(at_path(tensors, path, role, match.takes, ordered=ordered), match)
        for path, role in match.heads
    ]
    there = [h for h in heads if h.kind != HeadKind.REMOVED]
    there += [h for own in there for h in _side_by_side(tensors, own, ordered)]
    main = there[0] if there else (heads[0] if heads else None)
    if match.heads and main is not None and main.path != match.heads[0][0]:
        main = heads[0]  # gone, with others (auxiliary ones) left
    beside = _beside(tensors, match, ordered)
    able = [h for h in beside if _may_be_main(h, tensors)]
    if main is not None and main.kind != HeadKind.REMOVED:
        if any(h.in_width > main.outputs and h.in_width != main.in_width for h in able):
            main = None  # something may take what it gives together with other things
        else:
            able = [h for h in able if _follows(h, main)]
    if able:
        main = _last(able, ordered)
    if main in able and any(_consumes(h, main, tensors) for h in beside):
        main = None
    # What takes the same as the main head is one too; all else merely lies there.
    rest = [*there, *(h if _is_like(h, main) else _no_head(h) for h in beside)]
    return main, tuple(h for h in rest if h is not main)


def _is_like(beside: Head, main: Head | None) -> bool:
    """Whether a module beside the backbone is a head next to the main one, or that itself."""
    if main is None or beside is main:
        return main is not None
    own = beside.in_width == main.in_width != beside.outputs
    return own and beside.evidence == main.evidence and beside.outputs > 0


def _no_head(beside: Head) -> Head:
    return replace(beside, role=HeadRole.BESIDE, takes=HeadInput.UNKNOWN)


def _consumes(other: Head, main: Head, tensors: Sequence[TensorSpec]) -> bool:
    """Whether a module of unknown make may take what the main head would give."""
    if other.outputs or _TRAINING.search(other.path.partition(".")[0]):
        return False
    shapes = [t.shape for t in tensors if t.name in other.tensors and len(t.shape) > 1]
    # A square (scores of going from one label to the next) gives as many as it takes.
    return any(main.outputs in s and len(set(s)) > 1 for s in shapes)


def _follows(beside: Head, main: Head) -> bool:
    """Whether a module beside the backbone takes what the library's own head gives."""
    return beside.in_width == main.outputs != main.in_width


def _may_be_main(head: Head, tensors: Sequence[TensorSpec]) -> bool:
    """Whether a module beside the backbone can be what gives the outputs."""
    if not head.outputs or not head.in_width or _TRAINING.search(head.path.partition(".")[0]):
        return False
    own = set(head.tensors)
    first = next(t for t in tensors if t.name in own and len(t.shape) >= 2)
    if len(first.shape) > 2 and first.shape[1] <= _PICTURE and first.shape[0] > 1:
        return False  # another branch, that takes pictures itself
    if _LEADS_ON.search(head.path):
        return False
    return any(n.endswith("bias") for n in own) or not _TABLE.search(head.path)


def _last(able: Sequence[Head], ordered: bool) -> Head | None:
    """The one that no other takes anything from; None where several are left and no order tells."""
    ends = [
        h for h in able
        if not any(o is not h and o.in_width == h.outputs != o.outputs for o in able)
    ]  # fmt: skip
    if len(ends) == 1 or (ordered and ends) or len({h.in_width for h in ends}) == 1:
        return ends[-1]
    return able[-1] if ordered else None


def _tied(head: Head, match: Match) -> Head:
    """A vocabulary's scores are often the input embeddings, which a file holds once."""
    sizes = match.architectures[0].sizes if match.architectures else {}
    vocabulary = sizes.get("vocab_size", 0)
    # Without its last matrix a head ends in the one before, as wide as the backbone.
    bare = head.kind == HeadKind.REMOVED or head.outputs == head.in_width
    if head.role != HeadRole.VOCABULARY or not vocabulary or not bare:
        return head
    width = head.in_width or next((sizes[n] for n in _WIDTHS if n in sizes), 0)
    kind = HeadKind.TIED if head.kind == HeadKind.REMOVED else head.kind
    evidence = f"{head.evidence}; its scores are the input embeddings"
    return replace(head, kind=kind, in_width=width, outputs=vocabulary, evidence=evidence)


def _beside(tensors: Sequence[TensorSpec], match: Match, ordered: bool) -> list[Head]:
    """The modules beside the backbone that have weights, in the file's order."""
    names = set(match.beside)
    paths: dict[str, None] = {}
    for t in tensors:
        # A lone matrix is a layer that was not made a module; other lone tensors are none.
        if t.name in names and (path := _module(t.name, match.root) or _lone(t)):
            paths[path] = None
    why = f"beside {match.root!r}" if match.root else "beside the backbone"
    heads = [at_path(tensors, p, evidence=why, within=names, ordered=ordered) for p in paths]
    head_names = {n for path, _ in match.heads for n in (t.name for t in tensors) if under(n, path)}
    body = [
        t for t in tensors
        if t.name not in names | head_names and (not match.root or under(t.name, match.root))
    ]  # fmt: skip
    width = _width(body, ordered)
    first = {h.path: next((t for t in tensors if t.name in h.tensors), None) for h in heads}
    flat = {p for p, t in first.items() if t is not None and len(t.shape) < 3}
    return [
        replace(h, takes=match.takes) if h.path in flat and h.in_width == width else h
        for h in heads
    ]


def _width(body: Sequence[TensorSpec], ordered: bool) -> int:
    """How many features a backbone gives: as many as its last normalisation or bias has."""
    vectors = [t for t in body if len(t.shape) == 1]
    line = vectors if ordered else in_definition_order(vectors)
    return line[-1].shape[0] if line else 0


def _lone(spec: TensorSpec) -> str:
    return spec.name if len(spec.shape) == 2 and "." not in spec.name else ""


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
    role: HeadRole = HeadRole.UNKNOWN,
    takes: HeadInput = HeadInput.UNKNOWN,
    evidence: str = "the index",
    *,
    within: Collection[str] | None = None,
    ordered: bool = False,
) -> Head:
    """The head at a path that is known to be a head's; of the tensors named in `within` alone.

    A head whose weights lie deeper than `path` itself has layers without weights around them,
    which no file names: its kind is "several layers". One without any tensor is "removed". Widths
    that the tensors do not tell are 0.
    """
    own = [
        t for t in tensors
        if (under(t.name, path) or t.name == path) and (within is None or t.name in within)
    ]  # fmt: skip
    if not own:
        return Head(path, HeadKind.REMOVED, 0, 0, (), evidence, role, takes)
    names = tuple(t.name for t in own)
    weights = [t for t in own if len(t.shape) >= 2 and not _SCALE.search(t.name)]
    kind: str = HeadKind.SEVERAL_LAYERS
    if set(names) <= {f"{path}.weight", f"{path}.bias", path} and len(weights) == 1:
        kind = _kind(weights[0]) if _MATRIX.search(weights[0].name) else kind
    if kind == HeadKind.LINEAR and takes == HeadInput.MAP:
        takes = HeadInput.UNKNOWN  # what a library's other heads are given: a matrix takes vectors
    width, outputs = _ends(weights, ordered)
    if role == HeadRole.KEYPOINTS and weights and len(weights[-1].shape) == 4:
        width, outputs = weights[-1].shape[:2]  # a transposed convolution: inputs come first
    return Head(path, kind, width, outputs, names, evidence, role, takes)


def _ends(weights: Sequence[TensorSpec], ordered: bool) -> tuple[int, int]:
    """What the first of some layers takes and the last one gives; 0 where that is not known."""
    if not weights:
        return 0, 0
    # A file that sorts its names does not tell by their place which layer is the last.
    line = list(weights if ordered else in_definition_order(weights))
    if not ordered and (chained := _chained(line)):
        line = chained
    first, last = line[0], line[-1]
    return (
        _takes(first) if _MATRIX.search(first.name) else 0,
        last.shape[0] if _MATRIX.search(last.name) and not _apart(line) else 0,
    )


def _takes(weight: TensorSpec) -> int:
    # A depthwise convolution has one input for each of its outputs.
    depthwise = len(weight.shape) > 2 and weight.shape[1] == 1
    return weight.shape[0] if depthwise else weight.shape[1]


def _chained(line: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The first and the last of matrices that only one order links; else nothing."""
    if any(len(t.shape) != 2 for t in line) or len(line) == 1:
        return []
    if all(a.shape[0] == b.shape[1] for a, b in pairwise(line)):
        return []  # they stand in it
    first = [t for t in line if not any(o is not t and o.shape[0] == t.shape[1] for o in line)]
    last = [t for t in line if not any(o is not t and o.shape[1] == t.shape[0] for o in line)]
    return [*first, *last] if len(first) == len(last) == 1 else []


def _apart(line: Sequence[TensorSpec]) -> bool:
    """Whether linear layers lie side by side: all take the same, and none what another gives."""
    widths = {t.shape[1] for t in line}
    return (
        len(line) > 1
        and len(widths) == 1
        and all(len(t.shape) == 2 and t.shape[0] not in widths for t in line)
    )


def _side_by_side(tensors: Sequence[TensorSpec], head: Head, ordered: bool) -> list[Head]:
    """The heads within one that is a ModuleDict or ModuleList of several, each for a task."""
    if head.kind != HeadKind.SEVERAL_LAYERS:
        return []
    depth = len(head.path) + 1
    paths = dict.fromkeys(
        f"{head.path}.{n[depth:].partition('.')[0]}" for n in head.tensors if "." in n[depth:]
    )
    heads = [
        at_path(tensors, p, head.role, head.takes, "within it", ordered=ordered) for p in paths
    ]
    same = {h.in_width for h in heads} == {head.in_width} and head.in_width
    apart = all(h.outputs and h.outputs != h.in_width for h in heads)
    return heads if len(heads) > 1 and same and apart else []


# ---------------------------------------------------------------- nothing known of the module


def sorted_by_name(tensors: Sequence[TensorSpec]) -> bool:
    """Whether names were sorted by the alphabet: no layer of torch's defines its bias first."""
    if (names := [t.name for t in tensors]) != sorted(names):
        return False
    pairs = pairwise(names)
    biased = any(a.endswith("bias") and b == f"{a.removesuffix('bias')}weight" for a, b in pairs)
    return biased or len(names) >= _BY_CHANCE


def by_definition_order(tensors: Sequence[TensorSpec]) -> Head | None:
    """The head of an unknown module: its last weight, where that is a linear layer's.

    The last weight of two or more dimensions in definition order is the head in nearly every
    classifier; one that is no matrix (an autoencoder's last convolution) is none, nor is one of a
    block like its neighbours (a transformer's without a head), nor one of several heads.
    """
    weights = [t for t in tensors if len(t.shape) >= 2]
    if len(weights) < 2 or len(weights[-1].shape) != 2 or not weights[-1].name.endswith(".weight"):
        return None
    last = weights[-1]
    path = last.name.removesuffix(".weight")
    own = tuple(t.name for t in tensors if under(t.name, path))
    if set(own) - {f"{path}.weight", f"{path}.bias"} or _LEADS_ON.search(path):
        return None
    if any(map(_TRAINING.search, path.split("."))) or (len(own) == 1 and _TABLE.search(path)):
        return None
    names = {t.name for t in tensors}
    if _is_neighbour(weights[-2], last, names) or _repeated(tensors, path):
        return None
    evidence = "the last weight in definition order"
    return Head(path, HeadKind.LINEAR, last.shape[1], last.shape[0], own, evidence)


def _is_neighbour(before: TensorSpec, last: TensorSpec, names: Collection[str]) -> bool:
    """Whether the layer before takes what the last one takes, and gives it nothing."""
    if len(before.shape) != 2 or f"{before.name.removesuffix('weight')}bias" not in names:
        return False
    (gives, takes), (outputs, width) = before.shape, last.shape
    level = before.name.count(".") == last.name.count(".")
    return level and takes == width and width not in (gives, outputs)


def _repeated(tensors: Sequence[TensorSpec], path: str) -> bool:
    """Whether a module around the path has its like beside it.

    Two modules are alike where they hold the same; of numbered ones it is enough that the same
    layer lies in both, since the first or the last of a row often has something more.
    """
    parts = path.split(".")
    for depth in range(len(parts) - 1):
        front = ".".join(parts[:depth])
        inner: dict[str, dict[str, tuple[int, ...]]] = {}
        for t in tensors:
            if not front or under(t.name, front):
                token, _, rest = t.name[len(front) + 1 if front else 0 :].partition(".")
                inner.setdefault(token, {})[rest] = t.shape
        mine, own = parts[depth], inner[parts[depth]]
        leaf = ".".join([*parts[depth + 1 :], "weight"])
        for token, other in inner.items():
            numbered = token.isdigit() and mine.isdigit() and other.get(leaf) == own[leaf]
            if token != mine and (other == own or numbered):
                return True
    return False


def _kind(weight: TensorSpec) -> str:
    if len(weight.shape) == 2:
        return HeadKind.LINEAR
    sizes = set(weight.shape[2:])
    # A 1x1x1 convolution of a video model is no other thing than one of a picture.
    return f"conv{(size := sizes.pop())}x{size}" if len(sizes) == 1 else "conv"
