"""`--head` beside `--model`: the head goes where the file differs from the module."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from interop.identity import identify_file
from interop.models import built

NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, head=None):
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8))
        self.inner = nn.Module()
        self.inner.head = head or nn.Linear(8, 3)
    def forward(self, tokens):
        return self.inner.head(self.body(tokens).mean(1))

def head():
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
"""


def test_a_head_of_several_layers_replaces_one_of_the_module(tmp_path: Path) -> None:
    (tmp_path / "own_nets.py").write_text(NETS)
    scope: dict[str, type[nn.Module]] = {}
    exec(NETS, scope)
    torch.manual_seed(0)
    module = scope["Net"](scope["head"]())
    torch.save(module.state_dict(), tmp_path / "mlp.pth")
    names = {"factory": f"{tmp_path}/own_nets.py:Net", "head": f"{tmp_path}/own_nets.py:head"}
    again, proof, _ = built(identify_file(tmp_path / "mlp.pth"), **names)
    assert proof.holds, proof.what
    tokens = torch.randint(9, (2, 5))
    assert torch.equal(again(tokens), module.eval()(tokens))
    other = {**names, "head": f"{tmp_path}/own_nets.py:Net"}
    _, proof, _ = built(identify_file(tmp_path / "mlp.pth"), **other)
    assert not proof.holds, "another head is not this one"
