"""An ONNX graph and an architecture's names -> the state dict that the graph was exported from.

Exporters rename weights, turn Linear's round, keep one of several equal ones and leave zeros out.
All of that can be undone; batch normalisation that was folded into a convolution cannot.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch

from interop.errors import ModelError
from interop.facts import Identity
from interop.models.weights import state_dict
from interop.proof import graph as graphs
from interop.proof.scopes import module_path

BY_NAME, BY_SCOPE = "name", "the module that its node came of"
BY_SHAPE, BY_ORDER = "the only one of its shape", "order of use"
REPEATED = "one of equal rows, one for each of a fixed batch"
ZEROS, BUILT = "zeros, which the exporter leaves out", "built by the architecture"
KEEPING = (
    "export with torch.onnx.export(…, dynamo=True, optimize=False), or with dynamo=False, "
    "do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE"
)
_NORMS = ("weight", "bias", "running_mean", "running_var")
# Which of a module's tensors an operator takes as its 1st, 2nd, … input; "" is the data.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "BatchNormalization": ("", *_NORMS),
    "InstanceNormalization": ("", "weight", "bias"),
    "LayerNormalization": ("", "weight", "bias"),
    "GroupNormalization": ("", "weight", "bias"),
    "RMSNormalization": ("", "weight"),
    "PRelu": ("", "weight"),
    "Gather": ("weight",),
}
_LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_QUANTISED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
     "MatMulInteger", "DynamicQuantizeLinear", "MatMulNBits"}
)  # fmt: skip
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class WantedTensor:
    """An architecture's state dict: shapes in definition order, and where its heads lie.

    A head may have another number of rows. `optional` are modules that may be absent.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    heads: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def modules(self) -> set[str]:
        """The paths of all modules that hold a tensor, and of those around them."""
        paths = set()
        for name in self.shapes:
            while name := name.rpartition(".")[0]:
                paths.add(name)
        return paths


@dataclass(frozen=True, slots=True)
class Use:
    """One place at which a graph takes a weight; `turned`: the module holds its transpose."""

    weight: str
    operator: str
    index: int
    module: str | None
    turned: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Which initialiser a tensor is ("" where none is), turned round or not, and by what step.

    `shape` is the module's where the graph has axes of length one more or less; else None.
    With `repeated`, the graph holds it several times along its first axis.
    """

    weight: str
    turned: bool
    step: str
    shape: tuple[int, ...] | None = None
    repeated: bool = False


@dataclass(slots=True)
class Recovered:
    """The state dict, and how each of its tensors was found."""

    state: dict[str, torch.Tensor]
    found: dict[str, Found]
    unclaimed: list[str] = field(default_factory=list)

    @property
    def steps(self) -> dict[str, int]:
        """How many tensors each step found."""
        return dict(Counter(f.step for f in self.found.values()))


def recover(identity: Identity, wanted: WantedTensor) -> Recovered:
    """Matches the graph's initialisers to the architecture's tensors.

    In this order: by name; by the module that the node using it came of; the only one of its
    shape; by order of use, among those of one shape. Nothing here is proof. Raises ModelError where
    a tensor has no counterpart, naming the cause: quantised, batch normalisation folded, or what is
    missing.
    """
    graph = graphs.read(Path(identity.manifest.file)).graph
    _refuse_quantised(identity)
    given = initialisers(identity)
    search = _Search(wanted, given, list(_uses(graph, given, wanted)))
    search.by_name()
    search.by_scope()
    search.by_width()
    search.by_shape()
    search.by_order()
    search.repeated()
    search.left_out(_without_bias(graph, wanted))
    left = [n for n in search.left() if not _may_lack(n, wanted)]
    if left:
        raise _lacking(identity, wanted, left, graph)
    state: dict[str, torch.Tensor] = {}
    for name, shape in wanted.shapes.items():
        source = search.found.get(name)
        if source is not None and source.weight:
            state[name] = undone(given[source.weight], source)
        elif source is not None:
            dtype = next((t.dtype for t in state.values() if t.is_floating_point()), torch.float32)
            state[name] = torch.zeros(shape, dtype=dtype)
    claimed = {f.weight for f in search.found.values()}
    unclaimed = [n for n, t in given.items() if n not in claimed and _is_weight(t)]
    return Recovered(state, search.found, unclaimed)


def initialisers(identity: Identity) -> dict[str, torch.Tensor]:
    """The graph's initialisers by name, mapped from where they lie."""
    specs = [
        t for s in identity.manifest.state_dicts for t in s.tensors
        if t.storage is not None and not t.quantizer and not t.parts
        and isinstance(getattr(torch, t.dtype, None), torch.dtype)
    ]  # fmt: skip
    return state_dict(specs, identity.manifest.path)


def undone(tensor: torch.Tensor, found: Found) -> torch.Tensor:
    """An initialiser as the module holds it."""
    tensor = tensor.t().contiguous() if found.turned else tensor
    tensor = tensor[:1] if found.repeated else tensor
    return tensor.reshape(found.shape) if found.shape is not None else tensor


def is_made_by_code(name: str) -> bool:
    """Whether a tensor follows from the architecture alone, so that any module of it has it."""
    leaf = name.rpartition(".")[2]
    return leaf in (
        "num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask",
        "position_ids", "token_type_ids", "inv_freq", "masked_bias",
    )  # fmt: skip


class _Search:
    """The steps, one after the other; each leaves alone what an earlier one has found."""

    def __init__(
        self, wanted: WantedTensor, given: Mapping[str, torch.Tensor], uses: Sequence[Use]
    ) -> None:
        self.wanted, self.given, self.uses = wanted, given, uses
        self.found: dict[str, Found] = {}

    def left(self) -> list[str]:
        return [n for n in self.wanted.shapes if n not in self.found]

    def by_name(self) -> None:
        for name in self.left():
            if name not in self.given:
                continue
            # Under its own name nothing is turned round, unless its shape says so.
            for turned in (False, True):
                if self._fits(name, name, turned, exactly=True):
                    self.found[name] = Found(name, turned, BY_NAME)
                    break

    def by_scope(self) -> None:
        for use in self.uses:
            if use.module is None:
                continue
            parts = _PARTS.get(use.operator, ())
            leaf = parts[use.index] if use.index < len(parts) else ""
            front = f"{use.module}." if use.module else ""
            name = front + leaf
            if not (leaf and self._open(name) and self._fits(name, use.weight, use.turned)):
                own = [n for n in self.left() if n.rpartition(".")[0] == use.module
                       and self._fits(n, use.weight, use.turned)]  # fmt: skip
                if len(own) != 1 or self._claimed(use.weight, use.module):
                    continue
                name = own[0]
            self._take(name, use, BY_SCOPE)

    def by_width(self) -> None:
        """A head's weight by the width that it takes, its bias by the rows of that weight."""
        heads = [n for n in self.left() if self._in_head(n)]
        for name in sorted(heads, key=lambda n: -len(self.wanted.shapes[n])):
            module, _, leaf = name.rpartition(".")
            rows = self._rows(f"{module}.weight") if leaf == "bias" else None
            candidates = [
                u for u in self._unclaimed()
                if self._fits(name, u.weight, u.turned)
                and (rows is None or len(self.given[u.weight]) == rows)
            ]  # fmt: skip
            if len(candidates) == 1:
                self._take(name, candidates[0], BY_SHAPE)

    def by_shape(self) -> None:
        for names, uses in self._alike():
            if len(names) == len(uses) == 1:
                self._take(names[0], uses[0], BY_SHAPE)

    def by_order(self) -> None:
        for by_part in (True, False):
            for names, uses in list(self._alike(by_part)):
                if len(names) == len(uses):
                    for name, use in zip(names, uses, strict=True):
                        self._take(name, use, BY_ORDER)

    def repeated(self) -> None:
        """A class token that was expanded to the batch before the exporter computed with it."""
        for name in self.left():
            wanted = self.wanted.shapes[name]
            candidates = [
                u for u in self._unclaimed()
                if wanted[:1] == (1,) and self._shape(u)[1:] == wanted[1:] and not u.turned
                and _rows_are_equal(self.given[u.weight])
            ]  # fmt: skip
            if len(candidates) == 1:
                self.found[name] = Found(candidates[0].weight, False, REPEATED, None, True)

    def left_out(self, modules: set[str]) -> None:
        """Biases of zeros: the operator is there, and takes none."""
        for name in self.left():
            module, _, leaf = name.rpartition(".")
            if leaf == "bias" and module in modules:
                self.found[name] = Found("", False, ZEROS)

    def _alike(self, by_part: bool = False) -> Iterator[tuple[list[str], list[Use]]]:
        """The tensors and the weights that are left, by the shape that the module would hold.

        `by_part` also by what they are for: a running mean, the bias of something else, …
        """
        names: dict[object, list[str]] = defaultdict(list)
        uses: dict[object, list[Use]] = defaultdict(list)
        for name in self.left():
            part = self._part(name) if by_part else None
            names[part, _squeezed(self.wanted.shapes[name])].append(name)
        for use in self._unclaimed():
            part = _part_of(use) if by_part else None
            uses[part, _squeezed(self._shape(use))].append(use)
        for key, open_names in names.items():
            if uses.get(key):
                yield open_names, uses[key]

    def _unclaimed(self) -> list[Use]:
        """The first use of each weight that is no tensor's yet, in the graph's order."""
        claimed = {f.weight for f in self.found.values()}
        first: dict[str, Use] = {}
        for use in self.uses:
            if use.weight not in claimed and _is_weight(self.given[use.weight]):
                first.setdefault(use.weight, use)
        return list(first.values())

    def _shape(self, use: Use) -> tuple[int, ...]:
        """A weight's shape as the module would hold it."""
        shape = tuple(self.given[use.weight].shape)
        return shape[::-1] if use.turned else shape

    def _rows(self, name: str) -> int | None:
        source = self.found.get(name)
        if source is None:
            return None
        return int(self.given[source.weight].shape[-1 if source.turned else 0])

    def _in_head(self, name: str) -> bool:
        return any(name.startswith(f"{path}.") for path in self.wanted.heads)

    def _part(self, name: str) -> tuple[bool, str]:
        module, _, leaf = name.rpartition(".")
        return f"{module}.running_mean" in self.wanted.shapes, leaf

    def _take(self, name: str, use: Use, step: str) -> None:
        shape, wanted = self._shape(use), self.wanted.shapes[name]
        other = wanted if _squeezed(shape) == _squeezed(wanted) and shape != wanted else None
        self.found[name] = Found(use.weight, use.turned, step, other)

    def _open(self, name: str) -> bool:
        return name in self.wanted.shapes and name not in self.found

    def _claimed(self, weight: str, module: str) -> bool:
        """Whether a tensor of that very module has taken the weight."""
        return any(
            f.weight == weight and n.rpartition(".")[0] == module for n, f in self.found.items()
        )

    def _fits(self, name: str, weight: str, turned: bool, *, exactly: bool = False) -> bool:
        shape = tuple(self.given[weight].shape)
        shape = shape[::-1] if turned else shape
        wanted = self.wanted.shapes[name]
        if shape == wanted:
            return not turned or len(shape) == 2
        if not exactly and _squeezed(shape) == _squeezed(wanted):
            return True  # axes of length one come and go: a scale is shaped for what it scales
        return self._in_head(name) and len(shape) == len(wanted) > 0 and shape[1:] == wanted[1:]


def _uses(
    graph: onnx.GraphProto, given: Mapping[str, torch.Tensor], wanted: WantedTensor
) -> Iterator[Use]:
    """Each place at which a node takes a weight, through nodes that only hand it on."""
    modules = wanted.modules | {""}
    handed: dict[str, tuple[str, bool]] = {name: (name, False) for name in given}
    for node in graph.node:
        source = handed.get(node.input[0]) if node.input else None
        if source is not None and node.op_type == "Identity":
            handed[node.output[0]] = source
            continue
        if source is not None and node.op_type == "Transpose" and _swaps(node):
            handed[node.output[0]] = source[0], not source[1]
            continue
        for index, taken in enumerate(node.input):
            if taken in handed:
                name, turned = handed[taken]
                turned ^= _turns(node, index) and given[name].ndim == 2
                yield Use(name, node.op_type, index, module_path(node, modules), turned)


def _part_of(use: Use) -> tuple[bool, str]:
    """Whether a normalisation with statistics takes it, and as what."""
    parts = _PARTS.get(use.operator, ())
    leaf = parts[use.index] if use.index < len(parts) else "bias"
    return use.operator == "BatchNormalization", leaf


def _swaps(node: onnx.NodeProto) -> bool:
    return any(list(a.ints) == [1, 0] for a in node.attribute if a.name == "perm")


def _turns(node: onnx.NodeProto, index: int) -> bool:
    """Whether the operator takes the transpose of what a Linear holds."""
    if node.op_type == "MatMul":
        return index == 1
    kept = any(a.name == "transB" and a.i for a in node.attribute)
    return node.op_type == "Gemm" and index == 1 and not kept


def _without_bias(graph: onnx.GraphProto, wanted: WantedTensor) -> set[str]:
    """Modules whose linear operator is in the graph, and no bias with it."""
    modules = wanted.modules
    there: set[str] = set()
    biased: set[str] = set()
    for node in graph.node:
        path = module_path(node, modules)
        if path is None:
            continue
        if node.op_type in _LINEAR:
            there.add(path)
        if node.op_type == "Add" or (node.op_type in _LINEAR and len(node.input) > 2):
            biased.add(path)
    return there - biased


def _rows_are_equal(tensor: torch.Tensor) -> bool:
    return len(tensor) > 0 and bool((tensor == tensor[:1]).all())


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _may_lack(name: str, wanted: WantedTensor) -> bool:
    return is_made_by_code(name) or any(name.startswith(f"{p}.") for p in wanted.optional)


def _is_weight(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 1


# ---------------------------------------------------------------- what cannot be undone


def _refuse_quantised(identity: Identity) -> None:
    graph = identity.manifest.graph
    used = sorted(_QUANTISED.intersection(n.rpartition("::")[2] for n in graph.operators)
                  if graph else ())  # fmt: skip
    if used:
        what = f"is quantised ({', '.join(used)}): the float weights that it was made of are gone"
        fix = "give the float graph, or the checkpoint that it was exported from"
        raise ModelError(what, where=identity.manifest.path, fix=fix)


def _lacking(
    identity: Identity, wanted: WantedTensor, left: Sequence[str], graph: onnx.GraphProto
) -> ModelError:
    where = identity.manifest.path
    norms = [n for n in wanted.shapes if n.endswith(".running_var")]
    folded = [n for n in left if n.endswith(".running_var")]
    kept = sum(n.op_type == "BatchNormalization" for n in graph.node)
    if folded and kept < len(norms):
        return ModelError(
            f"{len(folded)} of {len(norms)} batch normalisations of {wanted.name} were folded into "
            f"convolutions (first {folded[0].rpartition('.')[0]}; {kept} stand in the graph): "
            "only their product with the convolution is left, and no split of it is the "
            "checkpoint's",
            where=where,
            fix=f"{KEEPING}: batch normalisation is then kept",
        )
    shown = ", ".join(f"{n} {wanted.shapes[n]}" for n in left[:_SHOWN])
    more = ", …" if len(left) > _SHOWN else ""
    return ModelError(
        f"{len(left)} of {len(wanted.shapes)} tensors of {wanted.name} are not in the graph: "
        f"{shown}{more}",
        where=where,
        fix=f"name another architecture with --arch, or {KEEPING}",
    )
