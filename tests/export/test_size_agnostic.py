"""Which modules go through TorchScript first: those of which no class looks at the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from interop.export import introspect, routes
from interop.export.open_sizes import recorded
from interop.export.size_agnostic import agnostic, is_listed, listed
from interop.models.signature import BATCH, Argument, Forward, Signature
from interop.proof import Feed, guards

SMALL = ("resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5")
SCRIPT = next(r for r in routes.ROUTES if r.name == "torchscript")


def forward(module: nn.Module, side: int = 64) -> Forward:
    made = Forward(module.eval(), Signature((Argument("input", (BATCH, 3, side, side)),)))
    made.learn_outputs((torch.randn(1, 3, side, side),))
    return made


def small() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(body, nn.Linear(4, 2))


class Looks(nn.Module):
    """Answers otherwise to a batch of more than four."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] > 4 else x


@pytest.mark.parametrize("name", SMALL)
def test_a_trace_of_listed_classes_notes_nothing_of_the_batch(name: str) -> None:
    made = forward(torchvision.models.get_model(name, weights=None))
    assert agnostic(made.model, made.signature)
    noted = routes.guards_of(made, Feed(made.signature), made.signature)
    assert noted is not None and [g.text for g in noted if g.text != "batch >= 2"] == []


def test_a_class_that_looks_is_found_by_the_same_trace() -> None:
    made = forward(nn.Sequential(Looks(), *small()))
    assert not agnostic(made.model, made.signature)
    noted = routes.guards_of(made, Feed(made.signature), made.signature)
    assert noted is not None and any(guards.fails(g, {BATCH: 9}) for g in noted)


def test_only_what_computes_as_its_class_says_is_listed() -> None:
    assert is_listed(small())
    with_hook, with_forward = small(), small()
    with_hook[1].register_forward_hook(lambda layer, given, output: output * 2)
    with_forward[1].forward = lambda x: x  # type: ignore[method-assign]

    class Conv2d(nn.Conv2d):
        """A class of one's own, of a name that is listed."""

    own = nn.Sequential(Conv2d(3, 4, 3))
    assert not any(map(is_listed, (with_hook, with_forward, own, torch.jit.script(small()))))
    assert {"torch.nn.modules.conv.Conv2d", "torchvision.models.resnet.BasicBlock"} <= listed()


def test_an_axis_beside_the_batch_asks_for_a_trace_that_notes_conditions() -> None:
    made = forward(small())
    assert introspect.fitting(made, attention=False)[0] == SCRIPT
    made.signature = Signature(
        (Argument("input", (BATCH, 3, "height", "width")),), {"height": 64, "width": 64}
    )
    assert (
        not agnostic(made.model, made.signature)
        and introspect.fitting(made, attention=False)[0].dynamo
    )


class Windows(nn.Module):
    """Cuts a picture into windows, whose sizes it reads."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        x = x.view(b, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1)
        return x.reshape(x.size(0), -1, 64 * c).mean(1)


def nodes(made: Forward, sizes: list[tuple[int, ...]] | None) -> int:
    model = routes.convert(made, Feed(made.signature), SCRIPT, sizes=sizes).model
    return len(list(model.graph))


def test_sizes_that_no_batch_changes_are_numbers_in_the_trace() -> None:
    made = forward(Windows())
    with recorded() as read:
        made.learn_outputs((torch.randn(1, 3, 64, 64),))
    # `b, c, h, w` at once, and the one axis of `size(0)`
    assert read == [(1, 3, 64, 64), (1, 8, 8, 8, 8, 3)]
    assert nodes(made, read) < nodes(made, None) * 0.8
    # What was read of something else tells nothing.
    assert nodes(made, [(1, 3), (1, 3)]) == nodes(made, None)
    assert nodes(made, []) == nodes(made, None)


def test_the_batch_stays_open_where_sizes_are_numbers() -> None:
    import onnx_ir as ir
    import onnxruntime

    made = forward(Windows())
    with recorded() as read:
        made.learn_outputs((torch.randn(1, 3, 64, 64),))
    model = routes.convert(made, Feed(made.signature), SCRIPT, sizes=read).model
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    for rows in (1, 2, 5):
        x = np.random.default_rng(0).standard_normal((rows, 3, 64, 64), dtype=np.float32)
        (out,) = session.run(None, {"input": x})
        np.testing.assert_allclose(out, made(torch.from_numpy(x))[0].numpy(), atol=1e-6)


def test_weights_are_inputs_of_the_trace_and_come_back_as_they_are() -> None:
    made = forward(small())
    model = routes.convert(made, Feed(made.signature), SCRIPT).model
    state = made.model.state_dict()
    assert {v.name for v in model.graph.inputs} == {"input"}
    assert set(model.graph.initializers) == set(state)
    for name, value in model.graph.initializers.items():
        assert value.const_value.raw.data_ptr() == state[name].data_ptr()  # nothing was copied
