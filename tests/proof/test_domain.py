"""The sizes for which a graph is claimed: searched by what a made-up graph does at each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from interop.facts import AxisDomain, AxisState, outside
from interop.models.signature import Argument, Signature
from interop.proof import domain, guards
from interop.proof.domain import Explored, Outcome, Search, SizeTrial

TAKES = Signature((Argument("x", ("batch", 3, "height", "width")),), {"height": 32, "width": 32})
HOME = {"batch": 2, "height": 32, "width": 32}
L = "L['given'][0].size()"


def searched(
    texts: tuple[str, ...] | None,
    same: Callable[[int, int, int], bool],
    takes: Callable[[int, int, int], bool] = lambda b, h, w: True,
    home: dict[str, int] = HOME,
    signature: Signature = TAKES,
) -> tuple[dict[str, AxisDomain], Search]:
    """What is claimed of a graph that is its module where `same` says so.

    `takes` says which sizes the module itself takes.
    """

    def run(sizes: dict[str, int]) -> SizeTrial:
        args = tuple(sizes.values())
        if not takes(*args):
            return SizeTrial(sizes, Outcome.REFUSED)
        return SizeTrial(sizes, Outcome.SAME if same(*args) else Outcome.DIFFERS, 0.5, 1e-6)

    known = None if texts is None else guards.parsed(texts, signature)
    numbers = lambda s: sum(torch.Size(a.shape(s)).numel() for a in signature.arguments)  # noqa: E731
    search = Search(home, known, numbers, run, thorough=texts is None)
    search.trials.append(SizeTrial(home, Outcome.SAME))
    ranges = search.explore()
    axes = Explored(signature, ranges, tuple(search.trials)).axes({})
    claims_hold(axes, same, takes, home)
    counted = [t for t in search.trials if t.outcome not in (Outcome.REFUSED, Outcome.UNTRIED)]
    assert len(counted) <= domain.FEEDS + 1
    assert all(numbers(t.sizes) <= domain.LARGEST for t in counted)
    return {a.name: a for a in axes if a.name}, search


def claims_hold(
    axes: tuple[AxisDomain, ...],
    same: Callable[..., bool],
    takes: Callable[..., bool],
    home: dict[str, int],
) -> None:
    """Wherever the claim lets an input through, the graph is its module, or there is none."""
    by_name = {a.name: a for a in axes if a.name}
    some = sorted({*range(1, 70), 96, 97, 100, 128, 129, 224, 256, 500, 512, 1000, 1024})
    first, second = list(home)[1:]
    for b in (1, 2, 3, 5):
        for h in some:
            for w in some:
                named = {next(iter(home)): b, first: h, second: w}
                inside = not any(by_name[n].refuses(named[n], named) for n in named)
                assert not inside or not takes(b, h, w) or same(b, h, w), named


def test_a_graph_that_is_right_everywhere_is_open():
    axes, _ = searched((f"{L}[2] >= 4",), lambda b, h, w: True)
    assert {a.state for a in axes.values()} == {AxisState.OPEN}
    assert {1, 2, 3} <= set(axes["batch"].tried)


def test_a_guard_whose_other_side_is_equal_restricts_nothing():
    axes, search = searched((f"({L}[2] // 4) != 1", f"{L}[0] >= 2"), lambda b, h, w: True)
    assert axes["height"].state is axes["batch"].state is AxisState.OPEN
    assert any(t.sizes["height"] // 4 == 1 for t in search.trials)  # it was tried, not assumed


def test_a_guard_of_two_axes():
    axes, _ = searched(
        (f"torch.sym_min({L}[2] // 4, {L}[3] // 4) > 4",), lambda b, h, w: min(h // 4, w // 4) > 4
    )
    assert axes["height"].state is axes["width"].state is AxisState.RESTRICTED
    assert axes["height"].min == axes["width"].min == 20
    assert "min(height // 4, width // 4) > 4" in axes["height"].why


def test_a_guard_with_a_modulo():
    texts = tuple(f"((1 + (((-1) + {L}[{i}]) // 2)) % 2) != 1" for i in (2, 3))
    axes, _ = searched(texts, lambda b, h, w: all((1 + (n - 1) // 2) % 2 == 0 for n in (h, w)))
    assert axes["height"].multiple_of == axes["width"].multiple_of == 4


def test_a_guard_that_asks_for_equal_axes():
    axes, _ = searched((f"{L}[2] == {L}[3]",), lambda b, h, w: h == w)
    assert (axes["height"].equal_to or axes["width"].equal_to) in ("height", "width")
    assert AxisState.FIXED not in {a.state for a in axes.values()}


def test_a_guard_that_asks_for_unequal_axes():
    takes = Signature((Argument("a", ("batch", "n")), Argument("b", ("batch", "m"))))
    texts = ("L['given'][0].size()[1] != L['given'][1].size()[1]",)
    home = {"batch": 2, "n": 9, "m": 7}
    axes, search = searched(texts, lambda b, n, m: n != m, home=home, signature=takes)
    assert (axes["m"].not_equal_to, axes["n"].not_equal_to).count(None) == 1
    assert any(t.sizes["n"] == t.sizes["m"] for t in search.trials)


def test_a_guard_of_three_axes_is_held_by_fixing_one_at_the_most():
    axes, _ = searched((f"{L}[0] * {L}[2] * {L}[3] < 8192",), lambda b, h, w: b * h * w < 8192)
    assert axes["batch"].state is not AxisState.OPEN or axes["height"].max or axes["width"].max


def test_what_the_module_itself_refuses_is_no_restriction():
    axes, _ = searched(
        (f"{L}[2] % 8 == 0",), lambda b, h, w: True, takes=lambda b, h, w: h % 8 == 0 and w >= 3
    )
    assert axes["height"].state is AxisState.OPEN and axes["height"].multiple_of == 8
    assert "the module itself refuses" in axes["height"].why


def test_without_guards_no_more_is_claimed_than_was_tried():
    axes, search = searched(None, lambda b, h, w: True)
    height = axes["height"]
    assert height.state is AxisState.RESTRICTED
    assert (height.min, height.max) == (min(height.tried), max(height.tried))
    sizes = {t.sizes["height"] for t in search.trials}
    assert {1, 37, 63, 65} <= sizes  # small, prime, next to a power of two
    assert height.gaps and "sizes between them are assumed" in height.words()
    assert "no conditions" in height.why and "too large" not in axes["batch"].why
    assert AxisDomain.from_json(height.json()) == height
    old = {k: v for k, v in height.json().items() if k != "gaps"}  # as older receipts have it
    assert not AxisDomain.from_json(old).gaps


def test_without_guards_odd_sizes_that_fail_are_found():
    axes, _ = searched(None, lambda b, h, w: h % 2 == w % 2 == 0)
    assert axes["height"].state is AxisState.FIXED or axes["height"].multiple_of % 2 == 0


def test_a_side_that_is_too_large_to_be_tried_is_not_claimed(monkeypatch):
    monkeypatch.setattr(domain, "LARGEST", 3 * 32 * 32 * 4)
    axes, _ = searched((f"{L}[2] <= 300",), lambda b, h, w: h <= 300)
    assert axes["height"].max == 300 and axes["height"].state is AxisState.RESTRICTED
    assert "tried" in axes["height"].why


def test_with_guards_nothing_is_assumed():
    axes, _ = searched((f"{L}[2] >= 20",), lambda b, h, w: h >= 20)
    assert not any(axis.gaps for axis in axes.values())


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("({2} * {3}) % 35 != 0", lambda b, h, w: h * w % 35 != 0),
        ("({2} * {3}) != 360", lambda b, h, w: h * w != 360),
        ("({2} + {3}) != 70", lambda b, h, w: h + w != 70),
        ("({0} * {2}) != 96", lambda b, h, w: b * h != 96),
        ("({2} - {3}) != 7", lambda b, h, w: h - w != 7),
        ("({0} * {2} * {3}) != 1800", lambda b, h, w: b * h * w != 1800),
        ("abs({2} - {3}) <= 9", lambda b, h, w: abs(h - w) <= 9),
        ("({2} + {3}) % 3 == 1", lambda b, h, w: (h + w) % 3 == 1),
    ],
)
def test_a_condition_that_comes_and_goes_is_looked_at_everywhere(text, same):
    """`searched` tries the claim at all small sizes: at none of them is it wrong."""
    axes, _ = searched((text.replace("{", f"{L}[").replace("}", "]"),), same)
    assert any(a.state is not AxisState.OPEN for a in axes.values())


@pytest.mark.parametrize("limit", [700, 5000, 100_000])
def test_a_condition_far_away_restricts_what_lies_beyond(limit):
    axes, search = searched((f"{L}[2] <= {limit}",), lambda b, h, w: h <= limit)
    height = axes["height"]
    assert height.state is AxisState.RESTRICTED and height.max <= limit
    assert height.max == limit or limit > 1 << 16
    if any(t.outcome is Outcome.UNTRIED for t in search.trials):
        assert "16 times as many" in height.why


def test_a_long_condition_is_told_by_its_axes():
    long = f"{L}[2] * {L}[3] % 1024 == 0" + f" and {L}[2] + {L}[3] > 0" * 12
    axes, _ = searched((long,), lambda b, h, w: h * w % 1024 == 0)
    why = " ".join(axis.why for axis in axes.values())
    assert "a condition on height and width" in why


def test_a_graph_that_is_right_at_its_own_size_alone_is_fixed():
    axes, _ = searched((f"{L}[2] == 32",), lambda b, h, w: h == 32)
    assert axes["height"].multiple_of is None
    assert (axes["height"].state, axes["height"].min) == (AxisState.FIXED, 32)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_graph_does_no_claim_is_wrong(seed):
    """Drawn modules of one to three conditions, each known to the trace."""
    import random

    draw = random.Random(seed)
    texts, tests = [], []
    for _ in range(draw.randint(1, 3)):
        i, k, c = draw.choice((2, 3)), draw.choice((2, 4, 8)), draw.randint(1, 28)
        text = draw.choice(
            (
                f"({L}[{i}] // {k}) > {c // k}",
                f"({L}[{i}] % {k}) == 0",
                f"{L}[2] + {L}[3] > {c}",
                f"torch.sym_max({L}[2], {L}[3]) >= {c}",
                f"{L}[{i}] <= {32 + 4 * c}",
                f"{L}[2] * {L}[3] < {40 * 40 + c * 64}",
                f"{L}[2] // {k} == {L}[3] // {k}",
            )
        )
        texts.append(text)
        (guard,) = guards.parsed((text,), TAKES) or (None,)
        if guard is not None:
            tests.append(guard)

    def same(b: int, h: int, w: int) -> bool:
        return all(g.holds({"batch": b, "height": h, "width": w}) for g in tests)

    searched(tuple(texts), same)


def test_inputs_outside_are_told_why():
    axes = (
        AxisDomain("x", 2, "height", AxisState.RESTRICTED, 20, None, 4, tried=(20, 64)),
        AxisDomain("x", 3, "width", AxisState.RESTRICTED, 1, 64, equal_to="height"),
        AxisDomain("y", 1, "m", AxisState.OPEN, 1, None, not_equal_to="height"),
    )
    assert outside(axes, {"x": (1, 3, 24, 24), "y": (1, 3)}) == ""
    assert "20 or more" in outside(axes, {"x": (1, 3, 16, 16)})
    assert "multiples of 4" in outside(axes, {"x": (1, 3, 22, 22)})
    assert "equals height" in outside(axes, {"x": (1, 3, 24, 28)})
    assert "1 to 64" in outside(axes, {"x": (1, 3, 68, 68)})
    assert "differs from height" in outside(axes, {"x": (1, 3, 24, 24), "y": (1, 24)})
    for axis in axes:
        assert AxisDomain.from_json(axis.json()) == axis


# ---------------------------------------------------------------- the guards of a real trace


class Windows(nn.Module):
    """Shifts its map only where that is larger than a window."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = min(x.shape[-2:]) // 4 <= 4
        return x if small else torch.roll(x, (2, 2), (2, 3))


def trace(module: nn.Module, budget: int | None = None) -> guards.Capture:
    open_axis = torch.export.Dim.DYNAMIC
    axes = ({0: open_axis, 2: open_axis, 3: open_axis},)
    with guards.captured(budget) as seen:
        torch.export.export(module, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=axes, strict=False)
    return seen


def test_a_trace_tells_its_guards_by_the_names_of_axes():
    found = guards.parsed(trace(Windows()).texts or (), TAKES)
    binding = [g for g in found if guards.fails(g, {"batch": 2, "height": 16, "width": 32})]
    assert binding and not any(guards.fails(g, HOME) for g in found)
    assert any(set(g.axes) == {"height", "width"} for g in binding)


def test_a_trace_with_too_many_conditions_is_given_up():
    class Many(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for n in range(100):
                if (x.shape[2] * x.shape[3]) % (2 * n + 3) == n:
                    x = x + n
            return x

    with pytest.raises(guards.TooManyGuards, match="more than 20 conditions"):
        trace(Many(), 20)


def test_where_torch_keeps_no_guards_none_are_known(monkeypatch):
    monkeypatch.setattr(
        torch.export.ExportedProgram, "_guards_code", property(lambda self: None,
        lambda self, value: None), raising=False,
    )  # fmt: skip
    assert trace(Windows()).texts is None
