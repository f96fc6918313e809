"""float64 without a copy of the whole module: the same numbers, and the weights as they were."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from interop.proof import float64_reference as at
from interop.proof.float64_reference import exact


@pytest.fixture(autouse=True)
def in_parts(monkeypatch):
    """Small parts, so that these small modules are widened piece by piece."""
    monkeypatch.setattr(at, "_AT_ONCE", 3000)


class Tied(nn.Module):
    """A weight under two names, at both ends."""

    def __init__(self):
        super().__init__()
        self.embed, self.middle = nn.Embedding(40, 24), nn.Linear(24, 24)
        self.out = nn.Linear(24, 40, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(torch.tanh(self.middle(self.embed(x))))


class Attends(nn.Module):
    """torch reads the attention's own weights, and calls no part of it."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(24, 4, 40, batch_first=True)

    def forward(self, x):
        return self.layer(self.attention(x, x, x, need_weights=False)[0])


class Reaches(nn.Module):
    """Uses a part's weight without calling the part, and a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 24))
        self.own = nn.Parameter(torch.randn(24, 24))
        self.register_buffer("shift", torch.randn(24))

    def forward(self, x):
        return self.inner(x @ self.own + self.shift)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3)
        )

    def forward(self, x):
        return self.layers(x).mean((2, 3))


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


CASES = {
    "tied": (Tied, np.arange(12).reshape(2, 6)),
    "attention": (Attends, floats(2, 5, 24)),
    "reaches": (Reaches, floats(2, 24)),
    "norms": (Norms, floats(2, 3, 9, 9)),
}


def built(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().eval().requires_grad_(False)


def bits(module):
    return {n: (t.dtype, t.data_ptr(), t.clone()) for n, t in module.state_dict().items()}


def unchanged(module, before):
    after = module.state_dict()
    return after.keys() == before.keys() and all(
        t.dtype == before[n][0] and t.data_ptr() == before[n][1] and torch.equal(t, before[n][2])
        for n, t in after.items()
    )


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_of_a_whole_copy_in_float64(name):
    kind, batch = CASES[name]
    module = built(kind)
    before = bits(module)
    found = exact(module, {"input": batch})
    assert found is not None and found[0].dtype == np.float64
    whole = copy.deepcopy(module).double()
    given = torch.from_numpy(batch)
    with torch.inference_mode():
        right = whole(given.double() if given.is_floating_point() else given).numpy()
    np.testing.assert_allclose(found[0], right, rtol=1e-11, atol=1e-13)
    # In float32 the numbers are others: the comparison can fail.
    with torch.inference_mode():
        assert not np.allclose(found[0], module(given).double().numpy(), rtol=1e-11, atol=1e-13)
    assert unchanged(module, before)


class Breaks(nn.Module):
    """Fails behind its second part."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(24, 40), nn.Linear(40, 24)

    def forward(self, x):
        self.second(self.first(x))
        raise RuntimeError("no")


class Inside(Breaks):
    """Fails within a part."""

    def forward(self, x):
        return self.first(self.first(x))


@pytest.mark.parametrize("kind", [Breaks, Inside])
def test_a_module_that_raises_has_its_weights_back(kind):
    module = built(kind)
    before = bits(module)
    assert exact(module, floats(2, 24)) is None
    assert unchanged(module, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    with torch.inference_mode():  # and computes as before
        assert module.first(torch.zeros(1, 24)).dtype == torch.float32


def test_a_constant_of_another_dtype_is_no_answer():
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(24, 24)

        def forward(self, x):
            return nn.functional.linear(self.layer(x), torch.ones(5, 24))

    assert exact(built(Narrow), floats(2, 24)) is None


class Named(nn.Module):
    """Asks for float32 by its name, as RAFT does for the places that it samples at."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.linear, self.dtype = nn.Linear(4, 4), dtype

    def forward(self, x):
        places = torch.arange(4)
        places = places.float() if self.dtype is torch.float32 else places.double()
        ones = torch.ones(4, 4, dtype=self.dtype)
        return nn.functional.linear(self.linear(x) + places, ones.to(self.dtype) / 3)


def test_what_is_asked_for_in_float32_by_name_is_float64():
    module, wide = Named().eval(), Named(torch.float64).eval()
    wide.load_state_dict(module.state_dict())
    batch = np.random.default_rng(0).standard_normal((2, 4), dtype=np.float32)
    with pytest.raises(RuntimeError), torch.inference_mode():
        copy.deepcopy(module).double()(torch.from_numpy(batch).double())
    found = exact(module, batch)
    assert found is not None
    with torch.inference_mode():
        expected = wide.double()(torch.from_numpy(batch).double()).numpy()
    np.testing.assert_array_equal(found[0], expected)


class Deep(nn.Module):
    """Eight equal layers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(8))
        self.most = 0

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def widest(module, batch):
    """The most bytes of weights that stand in float64 at one time."""
    seen = []

    def look(*_):
        seen.append(sum(t.nbytes for t in module.state_dict().values() if t.dtype == torch.float64))

    handles = [m.register_forward_hook(look) for m in module.modules() if not list(m.children())]
    assert exact(module, batch) is not None
    for handle in handles:
        handle.remove()
    return max(seen)


def test_no_more_than_the_largest_part_is_widened_at_a_time(monkeypatch):
    module = built(Deep)
    one = sum(t.nbytes for t in module.layers[0].state_dict().values())
    assert widest(module, floats(2, 24)) == 2 * one
    monkeypatch.setattr(at, "_AT_ONCE", 1 << 28)
    assert widest(module, floats(2, 24)) == 16 * one


def test_half_precision_is_widened_and_narrowed_again():
    module = built(Reaches).half()
    before = bits(module)
    found = exact(module, floats(2, 24))
    assert found is not None and found[0].dtype == np.float64
    assert unchanged(module, before)


def test_a_module_that_keeps_its_input_keeps_nothing_of_this_run() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = nn.Linear(3, 2), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x if self.last is None else self.last + x
            return self.layer(self.last)

    module = Keeps()
    assert exact(module, {"x": np.ones((1, 3), np.float32)}) is not None
    assert module.last is None, "else its next run would mix float64 with float32"
