"""Two lists of tensors in definition order -> which can be made of which, by structure alone.

Tensors are put together into layers (a weight with its bias and running statistics; query, key and
value as one). Layers of one shape and make-up pair in definition order, those of one role (a
shortcut, a class token, the first norm of a block) among themselves. Nothing of this is proof:
layers may be alike and still do different things.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from interop.check.renames import canonical
from interop.facts import Mapped, MapStep, TensorSpec
from interop.patterns import lazy
from interop.records import dataclass, field

_PARTS = ("weight", "bias", "running_mean", "running_var")
_FUSED = ("in_proj_weight", "in_proj_bias")  # torch.nn.MultiheadAttention keeps them by themselves
_SPLIT = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
    ("q", "k", "v"),
)
# The words of the field that tell what a layer is for: (role, words of its path). The first that
# fits counts, so what is more particular stands first.
_ROLES: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (role, frozenset(words.split()))
    for role, words in (
        ("distillation", "dist_token distillation_token head_dist distillation_classifier"),
        ("auxiliary", "aux aux1 aux2 auxlogits aux_classifier auxiliary_head"),
        ("class token", "cls_token class_token class_embedding"),
        ("mask token", "mask_token"),
        ("position", "pos_embed pos_embedding position_embeddings position_embedding wpe"),
        ("token type", "token_type_embeddings"),
        ("first scale", "ls1 gamma_1 lambda_1 layer_scale1 layer_scale_1"),
        ("second scale", "ls2 gamma_2 lambda_2 layer_scale2 layer_scale_2"),
        ("scale", "layer_scale layer_scale_parameter gamma"),
        ("shortcut", "downsample shortcut"),
        ("squeeze", "se squeeze_excite squeeze_excitation"),
        ("patch embedding", "patch_embed patch_embeddings conv_proj"),
        ("first norm", "norm1 ln_1 ln1 layernorm_before layer_norm1 input_layernorm"),
        ("second norm", "norm2 ln_2 ln2 layernorm_after layer_norm2 post_attention_layernorm"),
        ("first layer", "fc1 linear_1 pwconv1 c_fc lin1"),
        ("second layer", "fc2 linear_2 pwconv2 lin2"),
        ("head", "head heads classifier lm_head fc score cls_classifier"),
    )
)
_SHORTCUT = lazy(r"(^|\.)proj\.\d$")  # torchvision's regnets: proj.0, proj.1


@dataclass(frozen=True, slots=True)
class Value:
    """One logical tensor of a layer: `specs` joined along axis 0, each turned round if `turned`."""

    specs: tuple[TensorSpec, ...]
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        shapes = [t.shape[::-1] if self.turned else t.shape for t in self.specs]
        return shapes[0] if len(shapes) == 1 else (sum(s[0] for s in shapes), *shapes[0][1:])


@dataclass(slots=True)
class Layer:
    """Tensors that belong together, by part; a bare parameter is a layer of one weight."""

    path: str
    values: dict[str, Value] = field(default_factory=dict)
    role: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What two layers must share to be paired: the squeezed shapes of all parts."""
        parts = sorted(self.values.items())
        return tuple((part, tuple(n for n in v.shape if n != 1)) for part, v in parts)


def is_derived(spec: TensorSpec) -> bool:
    """Whether a tensor follows from the architecture alone: a counter, an index, a mask."""
    # Integers never are weights either, where layers are matched.
    number = spec.quantizer or spec.dtype.startswith(("float", "bfloat", "complex"))
    return spec.is_buffer or not number


def pair(a: Sequence[TensorSpec], b: Sequence[TensorSpec]) -> list[Mapped]:
    """Tensors of A with those of B that they can be made of; what has no counterpart is left out.

    Both in definition order. Tensors that share their name and need nothing done are among them.
    """
    mine, theirs = _by_key(layers(a)), _by_key(layers(b))
    pair: list[Mapped] = []
    for key, ours in mine.items():
        others = theirs.get(key, [])
        if len(ours) == len(others):
            for one, other, step in _within(ours, others):
                pair += _mapped(one, other, step)
    return pair


def _by_key(given: Iterable[Layer]) -> dict[tuple[object, ...], list[Layer]]:
    by_key: dict[tuple[object, ...], list[Layer]] = defaultdict(list)
    for layer in given:
        by_key[layer.key].append(layer)
    return by_key


def _within(a: list[Layer], b: list[Layer]) -> Iterator[tuple[Layer, Layer, str]]:
    """Layers of one make-up: the roles on which both sides agree, then the rest in its order."""
    roles = {layer.role for layer in (*a, *b)}
    agreed = {r for r in roles if sum(x.role == r for x in a) == sum(x.role == r for x in b)}
    for role in sorted(agreed):
        alike = ([x for x in side if x.role == role] for side in (a, b))
        for one, other in zip(*alike, strict=True):
            yield one, other, MapStep.STRUCTURE
    rest = ([x for x in side if x.role not in agreed] for side in (a, b))
    for one, other in zip(*rest, strict=True):
        # Two roles that both have a name contradict each other: the order alone speaks for it.
        yield one, other, MapStep.ORDER if one.role and other.role else MapStep.STRUCTURE


# ---------------------------------------------------------------- tensors -> layers


def layers(tensors: Sequence[TensorSpec]) -> list[Layer]:
    """The layers in the order of their first tensors; what is derived is left out."""
    weights = [t for t in tensors if not is_derived(t)]
    names = canonical([t.name for t in weights])
    by_path: dict[str, Layer] = {}
    for spec in weights:
        path, _, leaf = names[spec.name].rpartition(".")
        if leaf in _FUSED:
            part = leaf.removeprefix("in_proj_")
            path = f"{path}.in_proj"
        elif leaf in _PARTS:
            part = leaf
        else:
            path, part = names[spec.name], "weight"
        by_path.setdefault(path, Layer(path)).values[part] = Value((spec,))
    _turn(by_path)
    joined = _join(by_path)
    _name_roles(joined)
    return joined


def _turn(by_path: Mapping[str, Layer]) -> None:
    """Marks the weights that are stored as (in, out), as GPT-2's Conv1D stores them.

    A bias of the second axis' length tells; square ones go by others of their name in the file.
    """
    leaves = {False: set[str](), True: set[str]()}
    square = []
    for layer in by_path.values():
        weight, bias = layer.values.get("weight"), layer.values.get("bias")
        if weight is None or bias is None or len(weight.shape) != 2:
            continue
        rows, columns = weight.shape
        leaf = layer.path.rpartition(".")[2]
        if rows == columns:
            square.append(layer)
        elif bias.shape in ((rows,), (columns,)):
            turned = bias.shape == (columns,)
            leaves[turned].add(leaf)
            layer.values["weight"] = Value(weight.specs, turned)
    for layer in square:
        if (leaf := layer.path.rpartition(".")[2]) in leaves[True] - leaves[False]:
            layer.values["weight"] = Value(layer.values["weight"].specs, True)


def _join(by_path: Mapping[str, Layer]) -> list[Layer]:
    """The layers with each query, key and value made one, in the place of the first."""
    gone: dict[str, Layer | None] = {}
    place = {path: i for i, path in enumerate(by_path)}
    for path, layer in by_path.items():
        front, _, leaf = path.rpartition(".")
        front = front + "." if front else ""
        for words in _SPLIT:
            three = [by_path.get(front + word) for word in words]
            if leaf not in words or path in gone or None in three:
                continue
            units = [x for x in three if x is not None]
            if any(_make_up(x) != _make_up(layer) for x in units):
                continue
            if any(not v.shape for x in units for v in x.values.values()):
                continue  # numbers have no axis along which they join
            first = min((front + w for w in words), key=place.__getitem__)
            gone |= dict.fromkeys((front + w for w in words), None)
            values = {
                part: Value(tuple(s for x in units for s in x.values[part].specs), value.turned)
                for part, value in layer.values.items()
            }
            gone[first] = Layer(front + "qkv", values)
    return [x for path, layer in by_path.items() if (x := gone.get(path, layer)) is not None]


def _make_up(layer: Layer) -> tuple[object, ...]:
    """What query, key and value must share: their parts, the input width, how they are stored."""
    return tuple((p, v.shape[1:], v.turned) for p, v in sorted(layer.values.items()))


def _name_roles(layers: Sequence[Layer]) -> None:
    """Gives each layer its role; a batch norm without one takes that of the layer before it."""
    before = ""
    for layer in layers:
        layer.role = _role(layer.path)
        weight = layer.values.get("weight")  # a damaged file may have the bias alone
        if layer.role in ("first layer", "second layer") and weight and len(weight.shape) == 4:
            layer.role = "squeeze"  # torchvision's squeeze-and-excitation: fc1 and fc2 of 1x1
        if "running_mean" in layer.values:
            layer.role = layer.role or before
        before = f"after {layer.role or layer.key}"


def _role(path: str) -> str:
    if _SHORTCUT.search(path):
        return "shortcut"
    words = set(path.lower().split("."))
    return next((role for role, known in _ROLES if words & known), "")


# ---------------------------------------------------------------- what is to be done


def _mapped(a: Layer, b: Layer, step: str) -> Iterator[Mapped]:
    for part, mine in a.values.items():
        theirs = b.values[part]
        if len(mine.specs) == len(theirs.specs):
            for one, other in zip(mine.specs, theirs.specs, strict=True):
                yield Mapped(one, (other,), _how(one, other, mine.turned, theirs.turned), step)
        elif len(mine.specs) == 1:
            how = ["transpose"] * theirs.turned + ["join"] + ["transpose"] * mine.turned
            yield Mapped(mine.specs[0], theirs.specs, ", ".join(how), step)
        else:
            start = 0
            for one in mine.specs:
                rows = one.shape[-1] if mine.turned else one.shape[0]
                how = ["transpose"] * theirs.turned + [f"rows {start}:{start + rows}"]
                how += ["transpose"] * mine.turned
                # A convolution of one point has axes of length 1 beside the matrix.
                how += ["reshape"] * (len(one.shape) > len(theirs.specs[0].shape))
                yield Mapped(one, theirs.specs, ", ".join(how), step)
                start += rows


def _how(a: TensorSpec, b: TensorSpec, mine: bool, theirs: bool) -> str:
    # Of a layer that lies turned only the matrix does; a vector with a 1 beside it does not.
    if mine != theirs and len(b.shape) == 2 and b.shape[::-1] == a.shape:
        return "transpose"
    return "" if a.shape == b.shape else "reshape"
