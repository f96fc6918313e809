"""Which layers give the outputs, and what merely lies beside a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from interop.facts import Head, Identity
from interop.identity import identify
from tests.helpers.manifests import manifest, shapes_of

Shapes = dict[str, tuple[int, ...]]

BODY = {
    n: s
    for n, s in shapes_of(torchvision.models.resnet18()).items()
    if not n.startswith("fc.")
}  # fmt: skip


def seen(shapes: Shapes, *, ordered: bool = True) -> Identity:
    made = manifest(shapes)
    (state_dict,) = made.state_dicts
    return identify(replace(made, state_dicts=(replace(state_dict, ordered=ordered),)))


def inside(path: str, shapes: Shapes) -> Shapes:
    return {f"{path}.{n}": s for n, s in shapes.items()}


def linear(path: str, inputs: int, outputs: int) -> Shapes:
    return {f"{path}.weight": (outputs, inputs), f"{path}.bias": (outputs,)}


def short(head: Head | None) -> tuple[str, int, int] | None:
    return None if head is None else (head.path, head.in_width, head.outputs)


def heads(found: Identity) -> list[tuple[str, int, int] | None]:
    return [short(h) for h in (found.head, *found.side_heads) if h is None or h.role != "beside"]


def beside(found: Identity) -> list[str]:
    return [h.path for h in found.side_heads if h.role == "beside"]


def test_heads_side_by_side_are_told_one_by_one() -> None:
    found = seen(BODY | linear("fc.age", 512, 101) | linear("fc.gender", 512, 2))
    assert heads(found) == [("fc", 512, 0), ("fc.age", 512, 101), ("fc.gender", 512, 2)]
    found = seen(BODY | linear("fc.0", 512, 512) | linear("fc.2", 512, 2))
    assert heads(found) == [("fc", 512, 2)]


def test_the_last_layer_of_a_head_is_the_last_defined_and_not_the_last_by_name() -> None:
    new = linear("fc.proj", 512, 64) | linear("fc.cls", 64, 5)
    assert heads(seen(BODY | new)) == [("fc", 512, 5)]
    by_name = dict(sorted((BODY | new).items()))
    assert heads(seen(by_name)) == heads(seen(by_name, ordered=False)) == [("fc", 512, 5)]


def test_a_layer_put_behind_the_librarys_own_gives_the_outputs() -> None:
    net = torchvision.models.mobilenet_v3_large()
    net.classifier.append(nn.Linear(1000, 7))
    assert heads(seen(shapes_of(net))) == [("classifier", 960, 7)]
    own = BODY | linear("fc", 512, 1000)
    found = seen(inside("0", own) | linear("2", 1000, 7))
    assert heads(found)[0] == ("2", 1000, 7)
    # Beside one that takes the same it is not known to be used.
    assert heads(seen(own | linear("other", 512, 7))) == [("fc", 512, 1000)]
    found = seen(inside("a", own) | linear("both", 2000, 2))
    assert found.head is None or found.head.path == "both"


@pytest.mark.parametrize(
    ("new", "widths"),
    [
        ({"fc.kernel": (512, 7000)}, (0, 0)),
        ({"fc.W": (7, 512), "fc.scale": ()}, (0, 0)),
        ({"fc.weight": (7, 512)}, (512, 7)),
        ({"fc.weight_g": (7, 1), "fc.weight_v": (7, 512), "fc.bias": (7,)}, (512, 7)),
        ({"fc.bias": (7,), "fc.parametrizations.weight.original0": (7, 1),
          "fc.parametrizations.weight.original1": (7, 512)}, (512, 7)),
        ({"fc.bias": (7,), "fc.weight_orig": (7, 512), "fc.weight_u": (7,),
          "fc.weight_v": (512,)}, (512, 7)),
    ],
)  # fmt: skip
def test_widths_are_told_where_a_name_says_which_axis_is_which(
    new: Shapes, widths: tuple[int, int]
) -> None:
    found = seen(BODY | new).head
    assert found is not None and (found.in_width, found.outputs) == widths


def test_what_lies_beside_a_backbone_is_not_called_a_head() -> None:
    net = inside("model", BODY | linear("fc", 512, 7))
    found = seen(net | {"loss_fn.weight": (7,), "acc.confmat": (7, 7), "norm.mean": (3,)})
    assert (heads(found), beside(found)) == ([("model.fc", 512, 7)], ["loss_fn", "acc", "norm"])
    other = inside("image", shapes_of(torchvision.models.squeezenet1_1(num_classes=9)))
    found = seen(inside("model", BODY) | other | linear("fc", 521, 2))
    assert found.architectures == ()  # two networks of one size: neither is the whole
    small = inside("image", {"conv.weight": (8, 3, 3, 3), "conv.bias": (8,)})
    found = seen(inside("model", BODY) | small | linear("fc", 520, 2))
    assert (heads(found), beside(found)) == ([("fc", 520, 2)], ["image"])


def test_a_decoder_ends_in_its_last_linear_layer_and_never_in_its_lstm() -> None:
    decoder = {"decoder.embed.weight": (99, 256), **linear("decoder.out", 512, 99)}
    decoder |= {"decoder.rnn.weight_ih_l0": (2048, 256), "decoder.rnn.weight_hh_l0": (2048, 512)}
    found = seen(inside("encoder.net", BODY) | linear("encoder.embed", 512, 256) | decoder)
    assert found.head is None  # the LSTM is defined last, and may be
    last = dict(sorted(decoder.items(), key=lambda p: "out" in p[0]))
    found = seen(inside("encoder.net", BODY) | linear("encoder.embed", 512, 256) | last)
    assert heads(found) == [("decoder", 256, 99)] and beside(found) == ["encoder.embed"]
    found = seen(inside("encoder.net", BODY) | {"rnn.weight_ih_l0": (1024, 512)})
    assert found.head is not None and found.head.kind == "removed" and beside(found) == ["rnn"]


def test_a_neck_leads_to_the_head_whatever_their_names_order() -> None:
    neck = linear("neck.0", 512, 128) | {"arc.weight": (1000, 128)}
    for shapes in (inside("backbone", BODY) | neck, neck | inside("backbone", BODY)):
        found = seen(shapes, ordered=False)
        assert (heads(found), beside(found)) == ([("arc", 128, 1000)], ["neck"])
    lone = inside("backbone", BODY | linear("fc", 512, 128)) | {"weight": (1000, 128)}
    assert heads(seen(lone)) == [("weight", 128, 1000), ("backbone.fc", 512, 128)]


def test_what_a_head_is_given_is_told_only_where_it_takes_the_backbones_width() -> None:
    def takes(*layers: Shapes) -> list[str]:
        shapes = inside("encoder", BODY)
        for layer in layers:
            shapes |= layer
        found = seen(shapes)
        return [h.takes for h in (found.head, *found.side_heads) if h is not None]

    assert takes(linear("fc", 512, 3)) == ["avg"]
    assert takes(linear("fc", 1024, 3)) == [""]
    assert takes({"decoder.weight": (16, 512, 3, 3)}, {"out.weight": (3, 16, 3, 3)}) == ["", ""]


def test_a_depthwise_convolution_takes_as_many_channels_as_it_gives() -> None:
    net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    )
    found = seen(shapes_of(net)).head
    assert found is not None and (found.in_width, found.outputs) == (672, 24)


@pytest.mark.parametrize(
    "net",
    [
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3),
        lambda: nn.ModuleDict({f"encoder_{k}": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 4))
                               for k in "ab"}),
        lambda: nn.ModuleDict({"stem": nn.Linear(4, 8), "policy": nn.Linear(8, 3),
                               "value": nn.Linear(8, 1)}),
        lambda: nn.ModuleDict({"body": nn.Linear(4, 8), "pooler": nn.Linear(8, 8)}),
        lambda: nn.ModuleDict({"body": nn.Linear(4, 8), "embed_tokens": nn.Embedding(9, 8)}),
        lambda: nn.ModuleDict({"body": nn.Linear(4, 8), "loss": nn.Linear(8, 2)}),
        lambda: nn.Sequential(nn.Linear(4, 8), nn.LSTM(8, 8)),
    ],
)  # fmt: skip
def test_the_last_matrix_of_an_unknown_module_is_not_always_its_head(
    net: Callable[[], nn.Module],
) -> None:
    assert seen(shapes_of(net())).head is None


def test_names_that_somebody_sorted_tell_no_definition_order() -> None:
    net = nn.ModuleDict({"stem": nn.Linear(4, 8), "cls": nn.Linear(8, 3)})
    shapes = shapes_of(net)
    assert short(seen(shapes).head) == ("cls", 8, 3)
    assert seen(dict(sorted(shapes.items()))).head is None
    bare: Shapes = {f"{n}.weight": (8, 8) for n in "abcdefgh"}
    assert seen(bare).head is None
    assert seen({**bare, "a2.weight": (3, 8)}).head is not None


def test_a_transposed_convolution_counts_its_outputs_on_the_second_axis() -> None:
    net = torchvision.models.detection.keypointrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_keypoints=5
    )
    last = seen(shapes_of(net)).side_heads[-1]
    assert (last.role, last.kind, last.outputs) == ("keypoints", "conv4x4", 5)
    assert torch.Size([512, 5, 4, 4]) == net.state_dict()[f"{last.path}.weight"].shape
