"""What each operation of a map makes, and heads that are carried in their own width."""

from __future__ import annotations

import pytest
import torch

from interop.check.maps import with_heads
from interop.facts import Head, Identity, Manifest, Mapped, TensorSpec
from interop.port.fill import filled, made


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


def identity(*tensors: TensorSpec, head: str = "") -> Identity:
    names = tuple(t.name for t in tensors if head and t.name.startswith(head + "."))
    found = Head(head, "linear", 0, 0, names, "") if head else None
    return Identity(Manifest("f", "f", "torch-zip", 0, "", ()), "", "", tensors, head=found)


Q, K, V = (torch.randn(2, 3) for _ in range(3))
SOURCE = {"q": Q, "k": K, "v": V, "qkv": torch.cat([Q, K, V])}


@pytest.mark.parametrize(
    ("how", "sources", "wanted"),
    [
        ("", ["q"], Q),
        ("transpose", ["q"], Q.t()),
        ("join", ["q", "k", "v"], torch.cat([Q, K, V])),
        ("join, transpose", ["q", "k", "v"], torch.cat([Q, K, V]).t()),
        ("rows 2:4", ["qkv"], K),
        ("rows 2:4, transpose", ["qkv"], K.t()),
        ("reshape", ["q"], Q.reshape(2, 3, 1, 1)),
    ],
)
def test_operations(how: str, sources: list[str], wanted: torch.Tensor) -> None:
    mapped = Mapped(
        spec("a", *wanted.shape), tuple(spec(s, *SOURCE[s].shape) for s in sources), how, ""
    )
    assert torch.equal(made(mapped, SOURCE), wanted)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation 'flip'"):
        made(Mapped(spec("a", 2, 3), (spec("q", 2, 3),), "flip", ""), SOURCE)


def test_counters_go_with_their_statistics() -> None:
    target = identity(spec("bn.running_mean", 4), TensorSpec("bn.num_batches_tracked", "int64", ()))
    mean = Mapped(spec("bn.running_mean", 4), (spec("norm.running_mean", 4),), "", "")
    source = {"norm.running_mean": torch.ones(4), "norm.num_batches_tracked": torch.tensor(7)}
    assert filled([mean], source, target)["bn.num_batches_tracked"] == 7
    assert len(filled([mean], {"norm.running_mean": torch.ones(4)}, target)) == 1


def test_a_head_is_carried_in_its_own_width_and_nothing_else_is() -> None:
    a = identity(spec("w.weight", 8, 3), spec("fc.weight", 10, 8), spec("fc.bias", 10), head="fc")
    b = identity(spec("v.weight", 8, 3), spec("head.weight", 7, 8), spec("head.bias", 7))
    body = [Mapped(a.tensors[0], (b.tensors[0],), "", "structure")]
    assert {m.a.name: m.b[0].name for m in with_heads(body, a, b)} == {
        "w.weight": "v.weight",
        "fc.weight": "head.weight",
        "fc.bias": "head.bias",
    }
    # Another input width, another make-up, or a layer that is known to be no head: left alone.
    for other in (
        identity(spec("v.weight", 8, 3), spec("head.weight", 7, 9), spec("head.bias", 7)),
        identity(spec("v.weight", 8, 3), spec("head.weight", 7, 8)),
        identity(spec("v.weight", 8, 3), spec("head.weight", 7, 8), spec("head.bias", 7), head="v"),
    ):
        assert with_heads(body, a, other) == body
