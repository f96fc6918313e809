"""A whole pickled module runs only where a person says so, and never what is unsafe."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from interop.errors import ModelError
from interop.facts import Import
from interop.identity import identify_file
from interop.models import built, would_run


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x) * 2


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "epoch": 3}])
@pytest.mark.parametrize("make", [Own, lambda: resnet18(num_classes=3)])
def test_it_is_unpickled_only_when_it_is_trusted(tmp_path, make, wrap):
    module = make().eval()
    torch.save(wrap(module), tmp_path / "whole.pth")
    identity = identify_file(tmp_path / "whole.pth")
    names = would_run(identity)
    assert f"{type(module).__module__}.{type(module).__name__}" in names
    if make is Own:
        with pytest.raises(ModelError, match="Own is not a class of a known library"):
            built(identity)
    again, proof, notes = built(identity, trust=True)
    assert proof.holds, proof.what
    assert type(again) is type(module) and "unpickled" in notes[0]
    x = torch.rand(2, 3, 64, 64) if make is not Own else torch.rand(2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(again(x), module(x))


def test_what_is_unsafe_is_refused_even_then(tmp_path):
    torch.save(Own(), tmp_path / "whole.pth")
    identity = identify_file(tmp_path / "whole.pth")
    imports = (*identity.manifest.imports, Import("os", "system", "unsafe"))
    hostile = replace(identity, manifest=replace(identity.manifest, imports=imports))
    with pytest.raises(ModelError, match=r"would run os\.system"):
        built(hostile, trust=True)


def test_a_class_that_is_not_there_is_one_clear_error(tmp_path, monkeypatch):
    torch.save(Own(), tmp_path / "whole.pth")
    monkeypatch.delattr(f"{__name__}.Own")
    with pytest.raises(ModelError, match="cannot be unpickled") as error:
        built(identify_file(tmp_path / "whole.pth"), trust=True)
    assert "state_dict" in error.value.fix


def test_a_torchscript_program_stays_refused(digits):
    identity = identify_file(digits / "shufflenet.pth")
    script = replace(identity, manifest=replace(identity.manifest, container="torchscript"))
    with pytest.raises(ModelError, match="TorchScript"):
        built(script, trust=True)


def test_a_state_dict_runs_nothing(digits):
    assert would_run(identify_file(digits / "shufflenet.pth")) == ()
