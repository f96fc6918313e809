"""A call that a pickle asks for -> the record of what it would give, for the calls that we know.

Every function here takes the call's arguments as the file has them and checks their types; where
they do not fit, the call stays an opaque Made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interop.facts import DTYPE_BITS, Layout
from interop.reading.pickle.imports import plain
from interop.reading.pickle.records import (
    Array,
    Bag,
    Blob,
    Broken,
    Constructed,
    Global,
    Mapping,
    Node,
    OverLimit,
    PickleMachine,
    StorageRef,
    Tensor,
    Text,
)

Arguments = tuple[Node, ...]
_STORAGE_DTYPES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
    "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4", "Untyped": "uint8", "_Untyped": "uint8",
}  # fmt: skip
_DTYPE_ALIASES = {
    "double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32",
    "short": "int16", "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32",
}  # fmt: skip
# Attributes of a tensor by which its values are another's.
_REPLACING = frozenset({"data", "_data", "real", "imag", "__class__", "__dict__", "__setstate__"})
MAX_AXES = 64
_MAX_ALLOCATION = 1 << 30


class Unfit(Exception):
    """The arguments are not what the function takes."""


def rebuild(machine: PickleMachine, func: Global, args: Arguments) -> Node:
    """The record of `func(*args)`, or of `func.__new__(func, *args)`."""
    if func.maker is False:
        func.maker = _MAKERS.get(plain(func.module, func.name))
    if func.maker is not None:
        try:
            rebuild: Node = func.maker(machine, *args)
            return rebuild
        except (Unfit, TypeError, ValueError, OverflowError):
            pass
    return Constructed(func, args)


# ---------------------------------------------------------------- torch


def storage_dtype(kind: Node) -> str:
    """The dtype of a storage class: torch.FloatStorage holds float32."""
    if type(kind) is Global and kind.module.split(".")[0] == "torch":
        name = _STORAGE_DTYPES.get(kind.name.removesuffix("Storage"))
        if name:
            return name
    raise Unfit


def dtype(node: Node) -> str:
    """The name of a torch dtype, without its aliases."""
    if type(node) is Global and node.module == "torch":
        name = _DTYPE_ALIASES.get(node.name, node.name)
        if name in DTYPE_BITS:
            return name
    raise Unfit


def _whole(node: Node) -> int:
    if type(node) is not int or not -(1 << 63) <= node < 1 << 63:
        raise Unfit
    return node


def _axes(node: Node) -> tuple[int, ...]:
    if type(node) not in (tuple, list) or len(node) > MAX_AXES:
        raise Unfit
    for axis in node:
        if type(axis) is not int or not 0 <= axis < 1 << 63:
            raise Unfit
    return node if type(node) is tuple else tuple(node)


def _tensor(
    m: PickleMachine, storage: Node, offset: Node, shape: Node, stride: Node, *_: Node
) -> Tensor:
    if type(storage) is not StorageRef:
        raise Unfit
    axes, steps = _axes(shape), _axes(stride)
    if len(axes) != len(steps) or type(offset) is not int or not 0 <= offset < 1 << 63:
        raise Unfit
    place = None if storage.location == "meta" else storage
    return Tensor(storage.dtype, axes, place, storage.shift + offset, steps)


def _tensor_v2(m: PickleMachine, *args: Node) -> Tensor:
    tensor = _tensor(m, *args)
    if len(args) > 6:
        _view_flags(tensor, args[6])
    return tensor


def _tensor_v3(m: PickleMachine, *args: Node) -> Tensor:
    tensor = _tensor(m, *args)
    tensor.dtype = dtype(args[6])
    if len(args) > 7:
        _view_flags(tensor, args[7])
    return tensor


def _view_flags(tensor: Tensor, flags: Node) -> None:
    # Conjugate and negative views store the values as they were before.
    if type(flags) is Mapping:
        tensor.conj = flags.named.get("conj") is True
        tensor.neg = flags.named.get("neg") is True


def _parameter(m: PickleMachine, data: Node, *_: Node) -> Node:
    if type(data) not in (Tensor, Constructed):
        raise Unfit
    return data


def _parameter_with_state(
    m: PickleMachine, data: Node, grad: Node, hooks: Node, state: Node
) -> Node:
    parameter = _parameter(m, data)
    _set_state(m, parameter, state)
    return parameter


def _set_state(m: PickleMachine, node: Node, state: Node) -> None:
    """torch sets what the state names as attributes: some of a tensor's are its values."""
    m.set_attributes(node, state)
    if type(node) is Constructed and node.state is None:
        node.state = state
    if type(node) is Array and state is not None:
        m.altered(node)  # an array, or a dtype of another size than by its name
    if type(node) is not Tensor or state is None:
        return
    for mapping in state if type(state) is tuple else (state,):
        if mapping is None:
            continue
        if type(mapping) is not Mapping or not _REPLACING.isdisjoint(mapping.named):
            m.altered(node)


def _meta_tensor(m: PickleMachine, kind: Node, shape: Node, stride: Node, *_: Node) -> Tensor:
    return Tensor(dtype(kind), _axes(shape), None, 0, _axes(stride))


def _wrapper(m: PickleMachine, cls: Node, kind: Node, shape: Node, *_: Node) -> Tensor:
    return Tensor(dtype(kind), _axes(shape), layout=Layout.SUBCLASS)


# What torch passes to rebuild a sparse tensor, in this order; its size follows.
_SPARSE_PARTS: dict[str, tuple[str, ...]] = {
    Layout.SPARSE_COO: ("indices", "values"),
    Layout.SPARSE_CSR: ("crow_indices", "col_indices", "values"),
    Layout.SPARSE_BSR: ("crow_indices", "col_indices", "values"),
    Layout.SPARSE_CSC: ("ccol_indices", "row_indices", "values"),
    Layout.SPARSE_BSC: ("ccol_indices", "row_indices", "values"),
}


def _sparse(m: PickleMachine, layout: Node, data: Node, *_: Node) -> Tensor:
    name = layout.text.removeprefix("torch.") if type(layout) is Text else ""
    names = _SPARSE_PARTS.get(name, ())
    if not names or type(data) is not tuple or len(data) <= len(names):
        raise Unfit
    parts = tuple(zip(names, data, strict=False))
    if any(type(part) is not Tensor for _, part in parts):
        raise Unfit
    return Tensor(parts[-1][1].dtype, _axes(data[len(names)]), layout=Layout(name), parts=parts)


def _quantized(m: PickleMachine, *args: Node) -> Tensor:
    tensor = _tensor(m, *args)
    params = args[4]
    if type(params) is not tuple or len(params) < 3 or type(params[0]) is not Global:
        raise Unfit
    scheme = params[0].name
    if type(params[1]) is Tensor and type(params[2]) is Tensor and len(params) > 3:
        tensor.quantizer = f"{scheme} axis {_whole(params[3])}"
        tensor.parts = (("scales", params[1]), ("zero_points", params[2]))
    else:
        scale, zero = _number(m, params[1]), _number(m, params[2])
        tensor.quantizer = f"{scheme} scale {scale!r} zero point {zero!r}"
    return tensor


def _nested(m: PickleMachine, buffer: Node, *about: Node) -> Tensor:
    # It has no one shape: its buffer's stands for it.
    parts = tuple(zip(("values", "sizes", "strides", "offsets"), (buffer, *about), strict=False))
    if any(type(part) is not Tensor for _, part in parts):
        raise Unfit
    return Tensor(buffer.dtype, buffer.shape, layout=Layout.JAGGED, parts=parts)


def _jagged(m: PickleMachine, *args: Node) -> Tensor:
    parts = tuple((n.lstrip("_"), t) for a in args for n, t in _tensors_in(a))
    if (values := next((t for n, t in parts if n == "values"), None)) is None:
        raise Unfit
    return Tensor(values.dtype, values.shape, layout=Layout.JAGGED, parts=parts)


def _tensors_in(state: Node) -> list[tuple[str, Tensor]]:
    """The tensors among an object's attributes; (attributes, slots) is how Python keeps both."""
    mappings = state if type(state) is tuple else (state,)
    return [
        (name, value)
        for mapping in mappings
        if type(mapping) is Mapping
        for name, value in mapping.named.items()
        if type(value) is Tensor
    ]


def _from_type(m: PickleMachine, func: Node, cls: Node, args: Node, state: Node = None) -> Node:
    node = m.call(func, args)
    m.exposed(node)  # its `as_subclass` is called, unless it is of the class already
    _set_state(m, node, state)
    if type(node) is Tensor and node.layout == Layout.SUBCLASS:
        parts = _tensors_in(state)
        alone = parts[0][1] if len(parts) == 1 else None
        if alone is not None and (alone.dtype, alone.shape) == (node.dtype, node.shape):
            return alone  # a DTensor that is whole in this file
        node.parts = tuple(parts)
        if type(cls) is Global and cls.name == "DTensor":
            node.layout = Layout.SHARD
    return node


def _from_numpy(m: PickleMachine, data: Node, kind: Node, *_: Node) -> Tensor:
    if type(data) is not Array or data.shape is None:
        raise Unfit
    return Tensor(dtype(kind), data.shape)


def _size(m: PickleMachine, axes: Node = ()) -> Node:
    return _axes(axes)


def _device(m: PickleMachine, kind: Node, index: Node = None) -> Text:
    if type(kind) is not str:
        raise Unfit
    return Text(kind if index is None else f"{kind}:{_whole(index)}", "device")


def _layout(m: PickleMachine, name: Node) -> Text:
    return Text(str(name) if type(name) is str else "")


def _torchscript_list(m: PickleMachine, items: Node) -> Node:
    return items


def _torchscript_typed(m: PickleMachine, item: Node, kind: Node) -> Node:
    return item


# ---------------------------------------------------------------- Python


def _mapping(m: PickleMachine, items: Node = (), *_: Node) -> Mapping:
    mapping = Mapping()
    if items == ():
        return mapping
    if type(items) is Mapping:
        m.copied(len(items.named) + len(items.others))
        mapping.named.update(items.named)
        mapping.others.extend(items.others)
        return mapping
    for pair in _copied(m, items):
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise Unfit
        mapping.put(*pair)
    return mapping


def _default_mapping(m: PickleMachine, factory: Node = None, *items: Node) -> Mapping:
    return _mapping(m, *items)


def _sequence(node: Node) -> list[Node]:
    if type(node) is Bag:
        return node.items
    if type(node) is list or type(node) is tuple:
        return list(node)
    raise Unfit


def _bag(m: PickleMachine, items: Node = ()) -> Bag:
    return Bag(_copied(m, items))


def _list(m: PickleMachine, items: Node = (), *_: Node) -> list[Node]:
    return _copied(m, items)


def _tuple(m: PickleMachine, items: Node = ()) -> tuple[Node, ...]:
    return tuple(_copied(m, items))


def _copied(m: PickleMachine, items: Node) -> list[Node]:
    copy = _sequence(items)
    m.copied(len(copy))
    return copy


def _encode(m: PickleMachine, text: Node, encoding: Node = "utf-8", *_: Node) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise Unfit
    m.copied(len(text) >> 3)
    return text.encode(encoding)


def _bytearray(m: PickleMachine, data: Node = b"", *rest: Node) -> Node:
    if type(data) is int and data > _MAX_ALLOCATION:
        raise OverLimit(f"a bytearray of {data:,} bytes")
    if type(data) is str:
        return _encode(m, data, *rest)
    if type(data) not in (bytes, Blob):
        raise Unfit
    return data


def _number(m: PickleMachine, value: Node = 0) -> Node:
    if type(value) not in (int, float, bool):
        raise Unfit
    return value


def _string(m: PickleMachine, value: Node = "") -> str:
    if type(value) is not str:
        raise Unfit
    return value


def _complex(m: PickleMachine, real: Node = 0.0, imaginary: Node = 0.0) -> complex:
    return complex(_number(m, real), _number(m, imaginary))


def _path(m: PickleMachine, *parts: Node) -> Text:
    if len(parts) > 1000 or any(type(part) is not str or len(part) > 4096 for part in parts):
        raise Unfit
    root = bool(parts) and parts[0] == "/"
    return Text("/" + "/".join(parts[1:]) if root else "/".join(parts))


def _moment(m: PickleMachine, *args: Node) -> Text:
    import datetime

    if not args or len(args) > 8:
        raise Unfit
    if type(args[0]) is str and len(args[0]) in (4, 6, 10):
        args = (args[0].encode("latin-1"), *args[1:])  # a Python 2 pickle
    kinds: dict[int, Any] = {10: datetime.datetime, 4: datetime.date, 6: datetime.time}
    if type(args[0]) is not bytes or len(args[0]) not in kinds:
        raise Unfit
    return Text(kinds[len(args[0])](args[0]).isoformat())


def _reconstructor(m: PickleMachine, cls: Node, base: Node, state: Node) -> Node:
    m.used(base, called=True)  # with the state
    return m.make(cls, ())


def _new_object(m: PickleMachine, cls: Node, *args: Node) -> Node:
    return m.make(cls, args)


def _new_object_ex(m: PickleMachine, cls: Node, args: Node, options: Node) -> Node:
    return m.make_ex(cls, args, options)


# ---------------------------------------------------------------- numpy


def _array(m: PickleMachine, cls: Node, shape: Node, code: Node) -> Array:
    return Array(shape=())


def _array_dtype(m: PickleMachine, code: Node, *_: Node) -> Array:
    if type(code) is not str or len(code) > 100:
        raise Unfit
    return Array("|" + code)


def _array_scalar(m: PickleMachine, kind: Node, data: Node = None) -> Node:
    if type(kind) is not Array or kind.shape is not None:
        raise Unfit
    if "O" in kind.code:  # an object as it is
        return data
    array = Array(kind.code, ())
    array.data = data
    return array


def _from_buffer(m: PickleMachine, data: Node, kind: Node, shape: Node, order: Node) -> Array:
    if type(kind) is not Array or kind.shape is not None:
        raise Unfit
    array = Array(kind.code, _axes(shape))
    array.data = data
    array.fortran = order == "F"
    return array


def is_own(kind: Array, state: Node) -> bool:
    """Is a dtype's state one that numpy writes for it: of the size that its name says, and no
    array of others?"""
    if type(state) is not tuple or not 8 <= len(state) <= 9 or state[0] not in (3, 4):
        return False
    size = state[5]
    wide = 8 if kind.code[1:2] == "O" else kind.width
    return state[2] is None and type(size) is int and (size == -1 or size == wide > 0)


def array_of(state: Node) -> tuple[Array, bool]:
    """The array that joblib's wrapper tells of, without its numbers; and whether a byte before
    them tells of how many there are to align them."""
    named = state.named if type(state) is Mapping else {}
    kind = named.get("dtype")
    try:
        if type(kind) is Array and kind.shape is None and _is_plain(kind):
            array = Array(kind.code, _axes(named.get("shape")))
            array.fortran = named.get("order") == "F"
            return array, type(named.get("numpy_array_alignment_bytes")) is int
    except Unfit:
        pass
    raise Broken("a joblib array whose dtype or shape is not understood")


def _is_plain(kind: Array) -> bool:
    """Is it known how many bytes an element has, or that it is an object and nothing else?"""
    if kind.fields is None:
        return kind.code[1:2] == "O" or (kind.code[1:2] in "biufcSUVMm" and kind.width > 0)
    if type(kind.fields) is not Mapping or kind.code[1:2] != "V" or not kind.width:
        return False
    return all(
        type(one) is tuple and one and type(one[0]) is Array and one[0].width > 0
        and one[0].code[1:2] in "biufcSUMm"
        for one in kind.fields.named.values()
    )  # fmt: skip


def _dill_array(m: PickleMachine, func: Node, args: Node, state: Node, own: Node = None) -> Node:
    array = m.call(func, args)
    if type(array) is not Array:
        raise Unfit
    if array.shape is None:
        m.altered(array)
    build(array, state)
    m.set_attributes(array, own)
    return array


def build(array: Array, state: Node) -> None:
    """Fill in what BUILD gives a numpy array (version, shape, dtype, order, data) or dtype."""
    if type(state) is not tuple:
        return
    if array.shape is None:
        if len(state) > 1 and type(state[1]) is str and state[1] in ("<", ">", "|", "="):
            array.code = state[1] + array.code[1:]
        if len(state) > 4 and state[4] is not None:
            array.fields = state[4]
        return
    if len(state) != 5 or type(state[2]) is not Array:
        return
    try:
        array.shape = _axes(state[1])
    except Unfit:
        return
    array.code = state[2].code
    array.fortran = state[3] is True
    array.data = state[4]


_PATHS = "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath"
_MAKERS: dict[tuple[str, str], Callable[..., Node]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._utils", "_rebuild_qtensor"): _quantized,
    ("torch._utils", "_rebuild_nested_tensor"): _nested,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): _jagged,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta_tensor,
    ("torch._utils", "_rebuild_wrapper_subclass"): _wrapper,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_numpy,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): _layout,
    **{("torch.jit._pickle", f"build_{kind}list"): _torchscript_list
       for kind in ("int", "double", "bool", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): _torchscript_typed,
    ("collections", "OrderedDict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("collections", "defaultdict"): _default_mapping,
    ("collections", "deque"): _list,
    ("builtins", "dict"): _mapping,
    ("builtins", "set"): _bag,
    ("builtins", "frozenset"): _bag,
    ("builtins", "list"): _list,
    ("builtins", "tuple"): _tuple,
    ("builtins", "bytes"): _bytearray,
    ("builtins", "bytearray"): _bytearray,
    **{("builtins", name): _number for name in ("int", "float", "bool")},
    ("builtins", "str"): _string,
    ("builtins", "complex"): _complex,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): _new_object,
    ("copyreg", "__newobj_ex__"): _new_object_ex,
    **{("datetime", name): _moment for name in ("datetime", "date", "time")},
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy.core.multiarray", "scalar"): _array_scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "dtype"): _array_dtype,
    ("dill._dill", "_create_array"): _dill_array,
    **{("pathlib", name): _path for name in _PATHS.split()},
}  # fmt: skip
