"""torch's exporter -> the same graph from it, without what it does over for nothing.

It traces a captured program a second time, to take operators apart that have no ONNX function and
to write nothing in place any more. For most networks a few known rewritings do the same to the
program as it is, and that tracing is a third of a conversion.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Collection, Iterator
from typing import Any
from unittest import mock

import torch

_ASSERTIONS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata",
               "sym_constrain_range_for_size")  # fmt: skip
# Operators that give memory of their own. What writes in place into such a value, which nobody else
# takes, may as well give a new one.
_FRESH = frozenset(
    ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
     "linear", "matmul", "bmm", "batch_norm", "group_norm", "layer_norm", "instance_norm",
     "add", "sub", "mul", "div", "cat", "mean", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
     "relu", "gelu", "silu", "sigmoid", "hardswish", "hardtanh", "leaky_relu", "elu")
)  # fmt: skip

# What torch takes for the same operator under another name.
_ALSO = {
    torch.ops.aten.__and__.Tensor: torch.ops.aten.bitwise_and.Tensor,
    torch.ops.aten.__or__.Tensor: torch.ops.aten.bitwise_or.Tensor,
    torch.ops.aten.__xor__.Tensor: torch.ops.aten.bitwise_xor.Tensor,
    torch.ops.aten.min.other: torch.ops.aten.minimum.default,
    torch.ops.aten.max.other: torch.ops.aten.maximum.default,
}


def sparingly(convert: Callable[..., Any], *args: Any) -> Any:
    """What `convert`, a call of torch's exporter, gives; traced once where that is enough.

    Should the shorter way fail, the exporter goes its own.
    """
    shorter = False
    try:
        from torch.onnx._internal.exporter import _decomp, _fx_passes

        whole = _fx_passes.decompose_with_registry
        known = _decomp.get_onnx_implemented_overloads
    except (ImportError, AttributeError):  # another torch is built otherwise
        return convert(*args)

    def apart(program: Any, registry: Any) -> Any:
        nonlocal shorter
        if not _rewritten(program, set(known(registry))):
            return whole(program, registry)
        shorter = True
        return program

    with mock.patch.object(_fx_passes, "decompose_with_registry", apart):
        try:
            return convert(*args)
        except Exception:
            if not shorter:
                raise
    return convert(*args)


def _rewritten(program: Any, known: Collection[Any]) -> bool:
    """Whether the program now has known operators alone, none of which writes in place.

    It is left as it was where that cannot be had.
    """
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        return False
    todo: list[tuple[Callable[..., None], Any, Any]] = []
    for node in program.graph.nodes:
        if node.op != "call_function" or _name(node) in _ASSERTIONS:
            continue  # the exporter takes assertions out itself
        rewriting = _rewriting(node, known)
        if rewriting is None:
            return False
        how, to = rewriting
        if how is not _keep:
            todo.append((how, node, to))
    for how, node, to in todo:
        how(node, to)
    return True


def _rewriting(node: Any, known: Collection[Any]) -> tuple[Callable[..., None], Any] | None:
    """What makes a node one that ONNX has a function for; None where it takes more."""
    aten = torch.ops.aten
    schema = getattr(node.target, "_schema", None)
    if node.target in (aten.dropout.default, aten.dropout_.default):
        if node.args[2:] == (False,):
            return _drop, None
    elif _name(node) in ("detach", "detach_"):
        return _drop, None
    elif node.target is aten.batch_norm.default:
        training, scaled = node.args[5], node.args[1] is not None and node.args[3] is not None
        if not training and scaled:
            return _normalise, aten._native_batch_norm_legit_no_training.default
    elif node.target is aten.adaptive_avg_pool2d.default:
        if list(node.args[1]) == [1, 1]:
            return _average, aten.mean.dim
    elif _name(node) == "to":
        return _cast, aten._to_copy.default
    elif _ALSO.get(node.target) in known:
        return _exchange, _ALSO[node.target]
    elif schema is not None and schema.is_mutable:
        other = _out_of_place(node)
        if other in known:
            return _exchange, other
    elif node.target in known:
        return _keep, None
    return None


def _out_of_place(node: Any) -> Any:
    """The operator that gives anew what this one writes into its first argument; None where others
    could see that argument."""
    schema = node.target._schema
    writes = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    if writes != [schema.arguments[0].name] or not node.args:
        return None
    given = node.args[0]
    # One that writes in place itself is exchanged too, and so gives new memory.
    if _name(given).removesuffix("_") not in _FRESH or len(given.users) != 1:
        return None
    # What is written into keeps its type; what is given anew has the wider one of both.
    kinds = {n.meta["val"].dtype for n in node.all_input_nodes if hasattr(n.meta["val"], "dtype")}
    if kinds != {node.meta["val"].dtype}:
        return None
    packet = getattr(torch.ops.aten, _name(node).removesuffix("_"), None)
    return getattr(packet, node.target._overloadname, None)


def _name(node: Any) -> str:
    """The operator's, without its overload's."""
    return getattr(node.target, "_opname", "")


def _keep(node: Any, _: Any) -> None:
    """It is known as it is."""


def _drop(node: Any, _: Any) -> None:
    """It gives what it is given: dropout that is switched off, say."""
    given = node.args[0]
    if any(user.op == "output" for user in node.users):  # outputs are known by their names
        node.target, node.args, node.kwargs = torch.ops.aten.clone.default, (given,), {}
        return
    node.replace_all_uses_with(given)
    node.graph.erase_node(node)


def _exchange(node: Any, other: Any) -> None:
    node.target = other


def _normalise(node: Any, other: Any) -> None:
    """Batch normalisation with its statistics, which has two outputs more that nobody takes."""
    *tensors, _, momentum, eps, _ = node.args
    with node.graph.inserting_before(node):
        whole = node.graph.call_function(other, (*tensors, momentum, eps))
    value = node.meta["val"]
    whole.meta = {**node.meta, "val": (value, value.new_empty((0,)), value.new_empty((0,)))}
    # The value keeps its name, by which it may be an output.
    node.target, node.args = operator.getitem, (whole, 0)


def _cast(node: Any, other: Any) -> None:
    """To a type that it may have already: then it is the same value."""
    value, given = node.meta["val"], node.args[0].meta["val"]
    if value.dtype == given.dtype:
        _drop(node, None)
    else:
        node.target, node.args, node.kwargs = other, (node.args[0],), {"dtype": value.dtype}


def _average(node: Any, other: Any) -> None:
    """The mean over a picture's two sides."""
    node.target, node.args = other, (node.args[0], [-1, -2], True)


class _Signature:
    """What onnxscript says of one of its functions, found out only when it is asked for."""

    def __init__(self, function: Any, whole: Any) -> None:
        self.domain = function.opset.domain
        self._found: Callable[[], Any] = lambda: whole(function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)


@contextlib.contextmanager
def unparsed() -> Iterator[None]:
    """Within it, onnxscript does not parse its functions' source to learn their domain.

    torch's exporter asks that of each of its 500 functions, in every process anew, and uses none of
    the answers: half a second. Where onnxscript is built otherwise, nothing changes.
    """
    try:
        from onnxscript._internal.values import TracedOnnxFunction

        whole: Any = vars(TracedOnnxFunction)["function_ir"].fget
    except (ImportError, KeyError, AttributeError):
        yield
        return
    lazy: Any = property(lambda function: _Signature(function, whole))
    with mock.patch.object(TracedOnnxFunction, "function_ir", lazy):
        yield
