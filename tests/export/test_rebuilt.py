"""Numbers that neither the file nor the code fixes must not become constants of a proved graph."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from interop.export import ExportOptions, export
from interop.facts import Answer, Report
from interop.identity import identify_file
from interop.models import call_by_path

MODULES = """
import numpy, os, random, torch
from torch import nn
from helper import DRAWN

AT_IMPORT = torch.randn(8, 8)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
        self.prepare()

    def prepare(self):
        pass


class Listed(Net):
    def prepare(self):
        self.more = [torch.randn(8, 8)]

    def forward(self, x):
        return self.fc(x @ self.more[0])


class Unsaved(Net):
    def prepare(self):
        self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, x):
        return self.fc(x * self.scale)


class ByNumpy(Net):
    def prepare(self):
        self.more = {"w": torch.from_numpy(numpy.random.rand(8).astype("float32"))}

    def forward(self, x):
        return self.fc(x * self.more["w"])


class ByPython(Net):
    def prepare(self):
        self.order = random.sample(range(1000), 8)

    def forward(self, x):
        return self.fc(x * torch.tensor(self.order, dtype=torch.float32))


class Global(Net):
    def forward(self, x):
        return self.fc(x @ AT_IMPORT)


class Beside(Net):
    def forward(self, x):
        return self.fc(x * DRAWN)


class Computed(Net):
    def prepare(self):
        self.more = [torch.arange(8.0)]
        self.unused = torch.randn(3)
        self.register_buffer("scale", torch.linspace(0, 1, 8), persistent=False)

    def forward(self, x):
        return self.fc(x * self.more[0] + self.scale)


class Seeded(Net):
    def prepare(self):
        drawn = torch.Generator().manual_seed(3)
        self.more = [torch.randn(8, 8, generator=drawn)]

    def forward(self, x):
        return self.fc(x @ self.more[0])


class Once(Net):
    def prepare(self):
        if "ONLY_ONCE" in os.environ:
            raise RuntimeError("only one of these can be")
        os.environ["ONLY_ONCE"] = "taken"

    def forward(self, x):
        return self.fc(x)
"""


def exported(folder: Path, name: str, *, module: str = "") -> Report:
    (folder / "odd_nets.py").write_text(MODULES)
    sys.modules.pop("helper", None)  # of another test
    (folder / "helper.py").write_text("import torch\nDRAWN = torch.rand(8)\n")
    factory = f"{module or folder / 'odd_nets.py'}:{name}"
    state = {"fc.weight": torch.randn(4, 8), "fc.bias": torch.randn(4)}
    torch.save(state, folder / "net.pth")
    identity = identify_file(folder / "net.pth", content_hash=True, whole=True)
    return export(
        identity, folder / "out", ExportOptions(factory=factory, inputs=["x=float32(batch,8)"])
    )


@pytest.mark.parametrize(
    ("name", "where"),
    [("Listed", "(more)"), ("Unsaved", "(scale)"), ("ByNumpy", "(more)"), ("ByPython", ""),
     ("Global", ""), ("Beside", "")],
)  # fmt: skip
def test_what_is_drawn_by_chance_and_in_no_file_is_refused(name, where, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    report = exported(tmp_path, name)
    (proof,) = report.proofs
    assert (proof.name, proof.holds, report.outcome) == ("loaded fraction", False, Answer.NO)
    assert "random values that no file stores" in proof.what and where in proof.what
    assert not (tmp_path / "out").exists()


def test_so_it_is_for_a_module_of_a_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = exported(tmp_path, "Global", module="odd_nets")
    assert (
        report.outcome is Answer.NO and "random values that no file stores" in report.proofs[0].what
    )


@pytest.mark.parametrize("name", ["Computed", "Seeded", "Once"])
def test_what_the_code_computes_is_no_fault(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ONLY_ONCE", "")  # so that it is as it was afterwards
    monkeypatch.delenv("ONLY_ONCE")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = exported(tmp_path, name)
    assert report.outcome is Answer.YES, report.proofs[0].what
    twice = report.proofs[0].facts["built_twice"]
    assert ("only one of these" in twice) if name == "Once" else (twice is True)
    said = [n for n in report.details.notes if "could not be rebuilt" in n]
    assert bool(said) == (name == "Once")


def test_the_random_state_of_the_caller_stays(tmp_path, monkeypatch):
    import random

    import numpy as np

    monkeypatch.syspath_prepend(str(tmp_path))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    exported(tmp_path, "Computed")
    call_by_path(f"{tmp_path}/odd_nets.py:Computed")
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
