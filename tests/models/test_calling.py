"""Inputs by their paths, and the ways to give them to a forward."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Optional

import numpy as np
import pytest
import torch
from torch import nn

from interop.errors import ConfigError
from interop.models.signature import (
    Argument,
    Forward,
    Signature,
    drawn,
    parse_argument,
    runs,
    settled,
)
from interop.models.signature.calling import assembled, ways
from interop.models.signature.lengths import said
from interop.models.signature.types import padded


class Pair(NamedTuple):
    a: object
    b: object


@dataclasses.dataclass
class Whole:
    pairs: list[Pair]
    rest: object = None


def takes_whole(batch: Optional[Whole]) -> None: ...  # noqa: UP045
def takes_tuple(feats: tuple[Pair, ...]) -> None: ...


@pytest.mark.parametrize(
    ("paths", "forward", "made"),
    [
        (["x", "y"], None, {"x": 0, "y": 1}),
        (["b.x", "b.y", "z"], None, {"b": {"x": 0, "y": 1}, "z": 2}),
        (["f[1]", "f[0]"], None, {"f": [1, 0]}),
        (["b.v[0].x", "b.v[1].x"], None, {"b": {"v": [{"x": 0}, {"x": 1}]}}),
        (["batch.pairs[0].a", "batch.pairs[0].b"], takes_whole, {"batch": Whole([Pair(0, 1)])}),
        (["feats[0].a", "feats[0].b"], takes_tuple, {"feats": (Pair(0, 1),)}),
    ],
)
def test_arguments_are_assembled(paths, forward, made):
    assert assembled(paths, range(len(paths)), forward) == made


def test_entries_of_a_dict_are_attributes_too():
    (batch,) = assembled(["b.x"], [7]).values()
    assert batch["x"] == batch.x == 7 and isinstance(batch, dict)
    assert not hasattr(batch, "y")


def module(forward) -> nn.Module:
    made = nn.Module()
    made.forward = forward
    return made


@pytest.mark.parametrize(
    ("forward", "paths", "found"),
    [
        (lambda x, mask=None: 0, ["x", "mask"], [(("x", "mask"), False)]),
        (lambda x, n=1, mask=None: 0, ["x", "mask"], [(("x", "mask"), True)]),
        (lambda x, mask: 0, ["mask", "x"], [(("mask", "x"), True)]),
        (lambda *, x: 0, ["x"], [(("x",), True)]),
        (lambda **batch: 0, ["x", "y"], [(("x", "y"), True)]),
        (lambda *given: 0, ["x", "y"], [(("x", "y"), False)]),
        (lambda x, y: 0, ["one", "two"], [(("one", "two"), False)]),
        (lambda batch: 0, ["x", "y"], [(("batch.x", "batch.y"), False)]),
        (lambda batch: 0, ["input"], [(("input",), False), (("batch.input",), False)]),
        (lambda feats: 0, ["feats[0]", "feats[1]"], [(("feats[0]", "feats[1]"), False)]),
    ],
)
def test_ways_to_call_a_forward(forward, paths, found):
    assert ways(paths, module(forward)) == found


@pytest.mark.parametrize(
    ("forward", "paths", "said"),
    [
        (lambda x, lengths: 0, ["x"], "takes x, lengths, and is given x"),
        (lambda x, lengths: 0, ["x", "lengths", "mask"], "takes x, lengths"),
        (lambda x, y, mask=None: 0, ["mask", "other"], "takes x, y, mask"),
        (lambda x: 0, ["x", "x.y"], "x is one tensor, and x.y a part of it"),
        (lambda x: 0, ["x[0]", "x[2]"], r"x\[1\] is missing before x\[2\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_what_does(forward, paths, said):
    with pytest.raises(ConfigError, match=said):
        ways(paths, module(forward))


def test_a_path_is_a_name_and_is_kept_in_a_receipt():
    argument, sizes = parse_argument("batch.views[0].image=float32(batch,3,h:8,8)")
    assert argument == Argument("batch.views[0].image", ("batch", 3, "h", 8)) and sizes == {"h": 8}
    takes = Signature((dataclasses.replace(argument, path="b.image", within="h", falling=True),))
    assert Signature.from_json(takes.json()) == takes
    with pytest.raises(ConfigError, match="describes no input"):
        parse_argument("batch[x]=float32(batch)")


# ---------------------------------------------------------------- numbers that a module takes


class Lengths(nn.Module):
    """Refuses what its flags say, as packed sequences do."""

    def __init__(self, least: int, ordered: bool) -> None:
        super().__init__()
        self.least, self.ordered = least, ordered

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        assert n.min() >= self.least and n.max() < x.shape[1] + self.least
        assert not self.ordered or (n.diff() <= 0).all()
        return x * n[:, None]


@pytest.mark.parametrize("least", [0, 1])
@pytest.mark.parametrize("ordered", [False, True])
def test_lengths_are_drawn_as_the_module_takes_them(least, ordered):
    specs = ["x=float32(batch,t:6)", "n=int64<50(batch)"]
    takes = Signature(tuple(parse_argument(s)[0] for s in specs), {"t": 6})
    forward = Forward(Lengths(least, ordered), takes)
    found = settled(forward, torch.float32)
    n = found.arguments[1]
    # Zero is taken: then nothing says that the numbers are lengths.
    assert (n.low, n.within, n.falling) == (least, "t", ordered)
    for t in (1, 6, 19):
        assert runs(forward, drawn(found, 8, {"t": t}), torch.float32)
    (note,) = said(found)
    assert f"n was drawn from {least} to the size of t" in note
    assert ("in falling order" in note) is ordered


def test_numbers_that_the_module_takes_as_they_are_stay():
    takes = Signature((parse_argument("n=int64<9(batch)")[0],))
    assert settled(Forward(nn.Embedding(9, 2), takes), torch.float32) == takes
    assert said(takes) == []


def test_masks_have_both_values_in_each_row():
    takes = Signature((parse_argument("m=bool(batch,t)")[0],), {"t": 2})
    for t in (2, 3, 9):
        mask = drawn(takes, 65, {"t": t})["m"]
        assert mask.any(1).all() and not mask.all(1).any()
    assert {drawn(takes, 3, {"t": 1}, seed)["m"].all() for seed in range(4)} == {True, False}


def test_rows_are_padded_at_their_end():
    specs = "ids=int64<9(batch,6)", "m=bool(batch,6)", "x=float32(batch,6)"
    takes = Signature(tuple(parse_argument(s)[0] for s in specs))
    batch = drawn(takes, 3)
    changed = padded(takes, batch, True)
    assert (changed["ids"][:, -1] == 0).all() and changed["m"][:, -1].all()
    assert not padded(takes, batch, False)["m"][:, -1].any()
    np.testing.assert_array_equal(changed["x"], batch["x"])
    np.testing.assert_array_equal(changed["ids"][0, :-1], batch["ids"][0, :-1])
