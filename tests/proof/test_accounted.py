"""Each step by which a weight may come about is told from what is no step."""

import numpy as np
import pytest
import torch
from torch import nn

from interop.proof.accounted import ArtefactWeights, Codes, Norm, SourceWeights, accounted
from interop.proof.computed import constants_of

RNG = np.random.default_rng(3)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CONV, OTHER = drawn(8, 6, 3, 3), drawn(8, 6, 3, 3)
SQUARE, WIDE, HEAD = drawn(24, 24), drawn(72, 24), drawn(20, 24)
BIAS, MORE = drawn(20), drawn(20)
GAMMA, BETA, MEAN = drawn(8), drawn(8), drawn(8)
VAR = np.abs(drawn(8)) + 0.5
SOURCE = SourceWeights(
    {
        "conv.weight": CONV, "other.weight": OTHER, "square": SQUARE, "wide": WIDE, "head": HEAD,
        "bias": BIAS, "more": MORE, "bn.weight": GAMMA, "bn.bias": BETA, "bn.mean": MEAN,
        "bn.var": VAR,
    },
    [Norm("bn.weight", "bn.bias", "bn.mean", "bn.var", 1e-5)],
)  # fmt: skip
SCALE = GAMMA / np.sqrt(VAR + np.float32(1e-5))


def blocked(kernel, b):
    outer, inner, *rest = kernel.shape
    return (
        kernel.reshape(outer // b, b, inner, *rest).transpose(0, 2, 3, 4, 1).reshape(kernel.shape)
    )


RIGHT = {
    "the same bits": CONV,
    "transposed": HEAD.T,
    "transposed by another order": CONV.transpose(2, 3, 1, 0),
    "reshaped": SQUARE.reshape(24, 24, 1),
    "cast": SQUARE.astype(np.float16),
    "merged": np.concatenate([SQUARE, HEAD]),
    "merged along the other axis": np.concatenate([SQUARE.T, HEAD.T], 1),
    "a block": WIDE[24:48],
    "gates in another order": WIDE[np.r_[0:18, 54:72, 18:54]],
    "batch normalisation folded": CONV * SCALE[:, None, None, None],
    "a bias that went through it": (BETA - MEAN * SCALE),
    "times a root": SQUARE / np.float32(24**0.5),
    "a sum of two": BIAS + MORE,
}
WRONG = {
    "another number": CONV + np.eye(3, dtype=np.float32) * 1e-3,
    "rows in another order": HEAD[[1, 0, *range(2, 20)]],
    "times a number that nobody folds": SQUARE * np.float32(1.001),
    "a sign": -SQUARE,
    "another epsilon": CONV * (GAMMA / np.sqrt(VAR + np.float32(1e-2)))[:, None, None, None],
    "noise": drawn(24, 24),
    "rounded on the way": SQUARE.astype(np.float16).astype(np.float32),
}


def proof(array, codes=None, name="any", **more):
    coded = {name: codes} if codes is not None else {}
    return accounted(ArtefactWeights([(name, array)], coded, **more), SOURCE)


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_made_of_the_source_is_accounted_for(kind):
    assert proof(RIGHT[kind]).holds


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_is_a_fault(kind):
    assert not proof(WRONG[kind]).holds


def test_rows_in_another_order_are_called_so():
    assert "numbers of head in another order" in proof(WRONG["rows in another order"]).what


def test_another_tensor_under_a_name_of_the_source_is_a_fault():
    assert proof(CONV, name="conv.weight").holds
    assert not proof(OTHER, name="conv.weight").holds
    assert not proof(np.zeros(20, np.float32), name="bias").holds


def test_blocks_of_channels_count_only_where_the_artefact_has_them():
    assert proof(blocked(CONV, 8), blocked=frozenset(["any"])).holds
    assert not proof(blocked(CONV, 8)).holds


def codes_of(array, axis=0):
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = (np.abs(array).max(axis=others) / 127).astype(np.float32)
    codes = np.rint(array / scale.reshape(shape)).astype(np.int8)
    return codes, Codes(scale, np.zeros(len(scale), np.int8), axis)


@pytest.mark.parametrize("array", [SQUARE, HEAD.T, CONV * SCALE[:, None, None, None]])
def test_codes_stand_for_a_weight_within_half_a_step(array):
    codes, meant = codes_of(array)
    assert proof(codes, meant).holds
    assert not proof(codes, Codes(meant.scale * np.float32(1.02), meant.zero, 0)).holds
    assert not proof(codes, Codes(meant.scale, meant.zero + 1, 0)).holds
    assert not proof(codes, Codes(np.roll(meant.scale, 1), meant.zero, 0)).holds
    assert not proof(np.roll(codes, 1, axis=0), meant).holds


def test_a_tensor_that_acts_and_is_not_there_is_a_fault():
    every = [(n, a) for n, a in SOURCE.tensors.items() if n != "bias"]
    whole = accounted(ArtefactWeights([*every, ("bias", BIAS)]), SOURCE, lambda names: names)
    assert whole.holds and whole.facts["not_used"] == []
    lacking = accounted(ArtefactWeights(every), SOURCE, lambda names: names)
    assert list(lacking.facts["faults"]) == ["bias"]
    idle = accounted(ArtefactWeights(every), SOURCE, lambda names: ())
    assert idle.holds and idle.facts["not_used"] == ["bias"]


def test_a_small_constant_is_arithmetic_and_a_large_one_is_not():
    assert proof(drawn(3)).facts["arithmetic"] == ["any"]
    assert not proof(drawn(17)).holds


class Computes(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 24))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(24, 30))

    def forward(self, x):
        places = torch.tensor([4, 0, 1, 2, 3, 0])
        return self.normed(x + self.table[places].mean(0) + x.new_zeros(24))


def test_what_a_module_computes_without_its_input_is_kept_and_nothing_else():
    module = Computes().eval()
    kept = constants_of(module, (torch.randn(2, 24),))
    by_of = {name for one in kept for name in one.of}
    assert {"table", "normed.parametrizations.weight.original1"} <= by_of
    weight = module.normed.weight.detach().numpy()
    assert any(
        one.array.shape == weight.shape and np.array_equal(one.array, weight) for one in kept
    )
    answer = module(torch.randn(2, 24)).shape
    assert all(one.array.shape != tuple(answer) for one in kept)
    source = SourceWeights(
        {n: p.detach().numpy() for n, p in module.named_parameters()}, (), lambda: kept
    )
    assert accounted(ArtefactWeights([("any", weight.T)]), source).holds
    assert not accounted(ArtefactWeights([("any", weight.T * 1.01)]), source).holds


class Keeps(nn.Module):
    """Keeps a table between calls until it is trained, as LeViT does."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(4, 9))
        self.kept = {}

    def train(self, mode=True):
        super().train(mode)
        self.kept = {} if mode else self.kept
        return self

    def forward(self, x):
        if "table" not in self.kept:
            self.kept["table"] = self.bias[:, [8, 1, 2, 3, 4, 5, 6, 7, 0]]
        return x @ self.kept["table"]


def test_what_a_module_keeps_between_calls_is_computed_anew():
    module = Keeps().eval()
    with torch.no_grad():
        module(torch.randn(2, 4))
    kept = module.kept["table"]
    found = constants_of(module, (torch.randn(2, 4),))
    assert any(np.array_equal(one.array, kept.numpy()) and one.of == ("bias",) for one in found)
    assert module.kept["table"] is kept
