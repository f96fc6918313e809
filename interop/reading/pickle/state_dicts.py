"""A pickle's tree -> its state dicts, and the places of the tensors that are no weights.

Every mapping that holds tensors under string keys is a state dict; a pickled module is flattened
into the one that its state_dict() would give. What is walked, and how deep, is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from interop.facts import DTYPE_BITS, Json, Layout, ModuleSpec, StateDict, Storage, TensorSpec
from interop.reading.bytes.budget import Budget
from interop.reading.pickle.modules import class_path, is_module, members, parts
from interop.reading.pickle.records import (
    Array,
    Bag,
    Constructed,
    Mapping,
    Node,
    OverLimit,
    StorageRef,
    Tensor,
    key_text,
)
from interop.records import replace

MAX_DEPTH = 100
MAX_STATE_DICTS = 3_000
# Nanoseconds of a container's visit, of each of its items, and of a tensor's record; and bytes of
# the last one.
_VISIT, _ITEM, _TENSOR, _TENSOR_MEMORY = 1_800, 150, 4_000, 600

# Keys under which training checkpoints keep tensors that are no weights of the model.
_ASIDE = """
optimizer optimizers optimizer_state optimizer_states optimizer_state_dict optim optim_state
optim_state_dict optim_dict opt opt_state opt_state_dict optimizer_g optimizer_d
last_optimizer_state optimizer_history fp32_optimizer_state
lr_scheduler lr_schedulers lr_scheduler_state lr_scheduler_state_dict scheduler schedulers
scheduler_state scheduler_state_dict sched sched_state
scaler amp_scaler grad_scaler scaler_state scaler_state_dict amp amp_state loss_scaler
native_amp_scaling_state amp_state_dict mixedprecisionplugin
rng rng_state rng_states rng_state_cuda cuda_rng_state cuda_rng_state_all torch_rng_state
random_rng_state numpy_rng_state random_state generator generators generator_state
callbacks loops loop_state train_dataloader dataloader dataloaders sampler samplers
criterion loss loss_state losses metrics normalizer
"""
ASIDE = frozenset(_ASIDE.split())
# Where a checkpoint says how inputs are prepared: a mean kept as a tensor is no weight.
PREPARING = frozenset(("preprocess", "preprocessing"))
# What torch.optim.Optimizer.state_dict() gives, whatever name it was saved under.
_OPTIMIZER = frozenset(("state", "param_groups"))


class Weights:
    """The state dicts of one tree, and the places that were held aside.

    `locate` says where a storage lies, `budget` pays; `as_tensor` takes an array for a tensor,
    where arrays are the weights.
    """

    __slots__ = (
        "_as_tensor", "_barren", "_budget", "_locate", "_path", "held_aside", "state_dicts",
    )  # fmt: skip

    def __init__(
        self,
        tree: Node,
        locate: Callable[[StorageRef], Storage],
        budget: Budget,
        as_tensor: Callable[[Node], Tensor | None] | None = None,
    ) -> None:
        self._locate = locate
        self._budget = budget
        self._as_tensor = as_tensor
        self._path: set[int] = set()
        self._barren: set[int] = set()
        self.state_dicts: list[StateDict] = []
        self.held_aside: list[str] = []
        tree = self._taken(tree)
        if type(tree) is Tensor:
            self._add(len(self.state_dicts), "", [("", tree)])
        else:
            self._visit(tree, "", 0)

    # ------------------------------------------------------------ finding

    def _taken(self, node: Node) -> Node:
        """A node as what it is where arrays are the weights: a tensor, or a list of objects."""
        if type(node) is not Array or self._as_tensor is None:
            return node
        if type(node.data) is list:  # an array of objects: one without axes stands for its object
            return node.data[0] if node.shape == () and node.data else node.data
        return self._as_tensor(node) or node

    def _visit(self, node: Node, place: str, depth: int) -> None:
        kind = type(node)
        if kind not in _CONTAINERS or id(node) in self._path or id(node) in self._barren:
            return
        if depth > MAX_DEPTH:
            raise OverLimit(f"containers nested more than {MAX_DEPTH} deep")
        self._budget.spend(_VISIT)
        count = len(self.state_dicts) + len(self.held_aside)
        self._path.add(id(node))
        if kind is Mapping:
            self._mapping(node, place, depth)
        elif kind is Constructed:
            self._made(node, place, depth)
        else:
            self._sequence(node.items if kind is Bag else node, place, depth)
        self._path.discard(id(node))
        if count == len(self.state_dicts) + len(self.held_aside):
            self._barren.add(id(node))

    def _mapping(self, mapping: Mapping, place: str, depth: int) -> None:
        self._spend(len(mapping.named) + len(mapping.others))
        if mapping.named.keys() >= _OPTIMIZER:
            self.held_aside.append(_join(place, "state"))
            return
        first = len(self.state_dicts)
        tensors = []
        packed = set()
        for key, value in _pairs(mapping):
            value = self._taken(value)
            if type(value) is Tensor:
                tensors.append((key, value))
            elif type(value) is tuple and key.endswith("_packed_params"):
                # A quantized layer keeps weight and bias together, under one name.
                tensors += [(f"{key}.{n}", t) for n, t in enumerate(value) if type(t) is Tensor]
                packed.add(key)
            elif type(value) in _CONTAINERS:
                below = _join(place, key)
                if key.lower() not in ASIDE | PREPARING:
                    self._visit(value, below, depth + 1)
                elif self._holds_tensor(value):
                    self.held_aside.append(below)
        if len(self.state_dicts) > first:
            # Beside a state dict, a lone number is a record ("best_acc1") and no weight.
            loose = [(key, t) for key, t in tensors if key.lower() in ASIDE or _is_number(t)]
            self.held_aside.extend(_join(place, key) for key, _ in loose)
            names = {key for key, _ in loose}
            tensors = [(key, t) for key, t in tensors if key not in names]
        if tensors:
            own = {key for key, _ in tensors} | packed
            others = [key for key in mapping.named if key not in own]
            others += [text for key, _ in mapping.others if (text := key_text(key)) is not None]
            self._add(first, place, tensors, tuple(others), _versions(mapping))

    def _sequence(self, items: Sequence[Node], place: str, depth: int) -> None:
        first = len(self.state_dicts)
        tensors = []
        self._spend(len(items))
        for index, item in enumerate(map(self._taken, items)):
            if type(item) is Tensor:
                tensors.append((str(index), item))
            elif type(item) in _CONTAINERS and not (type(item) is list and not item):
                self._visit(item, _join(place, str(index)), depth + 1)
        self._add(first, place, tensors)

    def _made(self, constructed: Constructed, place: str, depth: int) -> None:
        if is_module(constructed):
            tensors = list(self._flatten(constructed, "", 0))
            tree = () if constructed.module.startswith("__torch__") else parts(
                constructed, self._spend)  # fmt: skip
            name = class_path(constructed)
            self._add(len(self.state_dicts), place, tensors, module=name, tree=tuple(tree))
            return
        for part in (constructed.content, constructed.state, constructed.items):
            if part is not None:
                self._visit(part, place, depth + 1)

    def _flatten(
        self, module: Constructed, prefix: str, depth: int
    ) -> Iterator[tuple[str, Tensor]]:
        """What module.state_dict() gives: its parameters, its buffers, then its submodules'."""
        if depth > MAX_DEPTH:
            raise OverLimit(f"modules nested more than {MAX_DEPTH} deep")
        self._spend(1)
        own, below = members(module)
        for name, value in own:
            self._spend(1)
            if type(value) is Tensor:
                yield prefix + name, value
        for name, value in below:
            if type(value) is Constructed and is_module(value):
                yield from self._flatten(value, f"{prefix}{name}.", depth + 1)

    def _holds_tensor(self, node: Node) -> bool:
        todo, seen = [node], set()
        while todo:
            node = todo.pop()
            if (kind := type(node)) is Tensor:
                return True
            if kind not in _CONTAINERS or id(node) in seen:
                continue
            seen.add(id(node))
            if kind is Mapping:
                children = [*node.named.values(), *(value for _, value in node.others)]
            elif kind is Constructed:
                children = [node.state, node.content, node.items]
            else:
                children = list(node.items if kind is Bag else node)
            self._spend(1 + len(children))
            todo.extend(children)
        return False

    def _spend(self, count: int) -> None:
        """Pay for a look at so many items."""
        self._budget.spend(count * _ITEM)

    # ------------------------------------------------------------ recording

    def _add(
        self,
        at: int,
        place: str,
        tensors: list[tuple[str, Tensor]],
        others: tuple[str, ...] = (),
        versions: dict[str, Json] | None = None,
        module: str = "",
        tree: tuple[ModuleSpec, ...] = (),
    ) -> None:
        if tensors:
            self._pay(len(tensors))
            if len(self.state_dicts) >= MAX_STATE_DICTS:
                raise OverLimit(f"more than {MAX_STATE_DICTS:,} mappings of tensors")
            specs = tuple(self._spec(name, tensor) for name, tensor in tensors)
            state_dict = StateDict(place, specs, True, others, versions or {}, module, tree)
            self.state_dicts.insert(at, state_dict)

    def _pay(self, tensors: int) -> None:
        self._budget.spend(tensors * _TENSOR, tensors * _TENSOR_MEMORY)

    def _spec(self, name: str, tensor: Tensor) -> TensorSpec:
        if tensor.parts:
            self._pay(len(tensor.parts))
        return tensor_spec(name, tensor, self._locate)


def tensor_spec(name: str, tensor: Tensor, locate: Callable[[StorageRef], Storage]) -> TensorSpec:
    """The facts of a tensor's record; `locate` says where its storage lies."""
    stride = tensor.stride
    if stride is not None and _is_row_major(tensor.shape, stride):
        stride = None
    storage = None
    offset = 0
    if tensor.storage is not None:
        storage = locate(tensor.storage)
        offset = tensor.offset
    spec = TensorSpec(
        name, tensor.dtype, tensor.shape, storage, offset, stride, tensor.conj, tensor.neg
    )
    if tensor.layout == Layout.STRIDED and not tensor.quantizer:
        return spec
    below = tuple(tensor_spec(label, part, locate) for label, part in tensor.parts)
    return replace(spec, layout=tensor.layout, quantizer=tensor.quantizer, parts=below)


_CONTAINERS = frozenset({Mapping, Constructed, Bag, list, tuple})


def extent(tensor: TensorSpec) -> int:
    """Bytes of its storage that a tensor needs, from the storage's first to its own last one."""
    if (numel := tensor.numel) == 0:
        return 0
    last = numel - 1
    if tensor.stride is not None:
        last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    return ((tensor.offset + last + 1) * DTYPE_BITS[tensor.dtype] + 7) // 8


def _pairs(mapping: Mapping) -> Iterator[tuple[str, Node]]:
    yield from mapping.named.items()
    for key, value in mapping.others:
        # Only containers matter here: a tensor under a number is an optimizer's, not a weight.
        if type(key) is int and type(value) is not Tensor and (text := key_text(key)) is not None:
            yield text, value


def _versions(mapping: Mapping) -> dict[str, Json]:
    """The `_metadata` that torch sets on a state dict: numbers by module and name."""
    versions = (mapping.attributes or {}).get("_metadata")
    if type(versions) is not Mapping:
        return {}
    return {path: _numbers(own) for path, own in versions.named.items() if type(own) is Mapping}


def _numbers(mapping: Mapping) -> dict[str, Json]:
    """Its numbers, and those one level below (the spectral norm keeps its own version there)."""
    numbers: dict[str, Json] = {}
    for key, value in mapping.named.items():
        if type(value) is Mapping:
            numbers[key] = {k: v for k, v in value.named.items() if type(v) is int}
        elif value is not None:
            # What is no number is no version that torch could compare.
            numbers[key] = value if type(value) is int else str(type(value).__name__)
    return numbers


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _is_number(tensor: Tensor) -> bool:
    return all(axis == 1 for axis in tensor.shape)


def _is_row_major(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    if 0 in shape:
        return True
    step = 1
    for axis, given in zip(reversed(shape), reversed(stride), strict=True):
        if axis != 1 and given != step:
            return False
        step *= axis
    return True
