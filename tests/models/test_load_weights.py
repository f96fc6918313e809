"""The proof "loaded fraction": every byte, both ways, or it fails and says which."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fixtures.autoencoder import ConvAutoencoder
from interop.identity import identify
from interop.models import build, load
from interop.models.load_weights import same_bits
from interop.reading import read


def of(path):
    return identify(read(path))


def saved(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    return of(tmp_path / "a.pth")


def test_it_holds_for_a_training_checkpoint_and_states_its_prefix(derived):
    identity = of(derived / "training.pth")
    proof = load(build(identity), identity)
    assert proof.holds
    assert proof.name == "loaded fraction"
    assert proof.facts["prefix"] == "module."
    assert proof.facts["place"] == "model"
    assert proof.facts["checkpoint_fraction"] == proof.facts["module_fraction"] == 1.0
    assert proof.facts["loaded"] == proof.facts["tensors"] == 338
    assert proof.seconds > 0


def test_the_trap_loads_nothing_and_says_so(digits):
    classifier = build(of(digits / "shufflenet.pth"))
    before = {n: t.clone() for n, t in classifier.state_dict().items()}
    proof = load(classifier, of(digits / "autoencoder.pth"))
    assert not proof.holds
    assert proof.facts["loaded"] == 0
    assert proof.facts["checkpoint_fraction"] == 0.0
    assert "0 of 18 tensors fit" in proof.what
    assert all(same_bits(t, before[n]) for n, t in classifier.state_dict().items())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "decoder.0.bias"}, "missing"),
        (lambda s: {**s, "extra.weight": torch.ones(2)}, "unexpected"),
        (lambda s: {**s, "encoder.0.bias": torch.ones(9)}, "reshaped"),
    ],
)
def test_one_tensor_that_does_not_fit_fails_it(tmp_path, change, kind):
    identity = saved(tmp_path, change(ConvAutoencoder().state_dict()))
    proof = load(ConvAutoencoder(), identity)
    assert not proof.holds
    assert len(proof.facts[kind]) == 1
    assert min(proof.facts["checkpoint_fraction"], proof.facts["module_fraction"]) < 1


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


def test_ties_that_the_file_does_not_have_fail_it(tmp_path):
    one, other = torch.randn(3, 3), torch.randn(3, 3)
    assert load(Tied(), saved(tmp_path, {"a.weight": one, "b.weight": one})).holds
    proof = load(Tied(), saved(tmp_path, {"a.weight": one, "b.weight": other}))
    assert not proof.holds
    assert proof.facts["untied"] == ["a.weight = b.weight"]


class Scales(nn.Linear):
    """A module that changes what it is given while loading."""

    def _load_from_state_dict(self, state, prefix, *rest):
        state[prefix + "weight"] = state[prefix + "weight"] * 2
        super()._load_from_state_dict(state, prefix, *rest)


def test_a_module_that_changes_its_weights_while_loading_fails_it(tmp_path):
    identity = saved(tmp_path, nn.Linear(3, 3).state_dict())
    proof = load(Scales(3, 3), identity)
    assert not proof.holds
    assert proof.facts["unequal"] == ["weight"]


class Refuses(nn.Linear):
    def _load_from_state_dict(self, *rest):
        raise ValueError("wrong moon phase")


def test_a_module_that_refuses_to_load_fails_it(tmp_path):
    proof = load(Refuses(3, 3), saved(tmp_path, nn.Linear(3, 3).state_dict()))
    assert not proof.holds
    assert "wrong moon phase" in proof.what


def test_versions_that_a_bare_state_dict_lacks_are_the_modules_own(tmp_path):
    """MNASNet loads nothing that does not tell its version, which only pickles of today do."""
    from torchvision.models import mnasnet0_5

    module = mnasnet0_5(weights=None, num_classes=3)
    assert load(module, saved(tmp_path, dict(module.state_dict()))).holds


def test_counters_that_old_files_lack_are_stated(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    state = {k: v for k, v in module.state_dict().items() if "num_batches" not in k}
    proof = load(module, saved(tmp_path, state))
    assert proof.holds
    assert proof.facts["counters_absent"] == 1


def test_half_precision_stays_half_and_nan_equals_itself(tmp_path):
    state = nn.Linear(3, 3).half().state_dict()
    state["bias"][1] = float("nan")
    module = nn.Linear(3, 3)
    identity = saved(tmp_path, state)
    assert load(module, identity).holds
    assert module.weight.dtype == torch.float16
    assert load(nn.Linear(3, 3), replace(identity, tensors=identity.tensors[:1])).holds is False
