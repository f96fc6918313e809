"""bench of a module of one's own, or of a bare ONNX file, on an .npz of inputs that are ready."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.bench.bare_graph import bare_graph, graph_file
from interop.data.arrays import TARGETS, Inputs, task_of
from interop.errors import InteropError
from interop.identity import identify_file
from interop.models.signature import Argument
from tests.helpers.commands import here

CODE = """
from torch import nn

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.m, self.o = nn.Conv2d(5, 8, 3), nn.Linear(4, 8), nn.Linear(8, 3)
    def forward(self, batch):
        return {"logits": self.o(self.c(batch["image"]).mean((2, 3)) + self.m(batch["meta"]))}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A module that takes a dict, its weights, and inputs with class numbers."""
    (tmp_path / "net.py").write_text(CODE)
    space: dict[str, type[nn.Module]] = {}
    exec(CODE, space)
    torch.manual_seed(0)
    torch.save(space["Both"]().state_dict(), tmp_path / "net.pth")
    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "d.npz",
        image=draw.standard_normal((24, 5, 8, 8), dtype=np.float32),
        meta=draw.standard_normal((24, 4), dtype=np.float32),
        y=draw.integers(0, 3, 24),
    )
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "batch."])
def test_no_further_flag_is_needed(own: Path, prefix: str) -> None:
    arrays = dict(np.load(own / "d.npz"))
    np.savez(own / "d.npz", y=arrays.pop("y"), **{prefix + n: a for n, a in arrays.items()})
    done = here(
        "bench", own / "net.pth", "--model", f"{own}/net.py:Both", "--data", own / "d.npz",
        "--batch", "none", "--threads", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "top-1" in done.stdout and "agreement" in done.stdout
    assert "image-classification: classes are compared by their numbers" in done.stdout


def test_names_of_another_make_are_not_taken_by_their_order(own: Path, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)\n"
        "    def forward(self, left, right):\n"
        "        return self.a(left) - self.b(right)\n"
    )
    space: dict[str, type[nn.Module]] = {}
    exec((tmp_path / "two.py").read_text(), space)
    torch.save(space["Two"]().state_dict(), tmp_path / "two.pth")
    rows = np.random.default_rng(0).standard_normal((12, 4), dtype=np.float32)
    words = ("bench", tmp_path / "two.pth", "--model", f"{tmp_path}/two.py:Two", "--batch", "none")
    np.savez(tmp_path / "d.npz", b_right=rows, a_left=rows, labels=np.arange(12) % 3)
    refused = here(*words, "--data", tmp_path / "d.npz")
    assert refused.returncode == 2 and "forward takes left, right" in refused.stderr
    np.savez(tmp_path / "d.npz", right=rows, left=rows, labels=np.arange(12) % 3)
    assert here(*words, "--data", tmp_path / "d.npz").returncode == 0


def graph(folder: Path) -> Path:
    module = nn.Sequential(
        nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    path = folder / "net.onnx"
    torch.onnx.export(
        module.eval(), (torch.randn(2, 5, 8, 8),), str(path), dynamo=False,
        input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "N", 2: "height"}, "logits": {0: "N"}},
    )  # fmt: skip
    return path


def test_an_onnx_file_by_itself_is_measured_in_onnx_runtime(own: Path) -> None:
    path = graph(own)
    arrays = dict(np.load(own / "d.npz"))
    np.savez(own / "one.npz", image=arrays["image"], labels=arrays["y"])
    done = here("bench", path, "--data", own / "one.npz", "--batch", "none", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "top-1" in done.stdout and "no PyTorch module" in " ".join(done.stdout.split())
    none = here("bench", path, "--runtime", "pytorch", "--batch", "1", "--threads", 1)
    assert none.returncode == 2 and "no PyTorch module" in none.stderr
    fast = here(
        "bench", path, "--batch", "1", "--seconds", "0.1", "--threads", 1,
        "--input", "image=float32(batch,5,height:8,8)",
    )  # fmt: skip
    assert fast.returncode in (0, 3), fast.stderr
    assert "A onnxruntime" in fast.stdout


def test_what_a_graph_takes_is_read_of_it(own: Path) -> None:
    identity = identify_file(graph(own))
    assert graph_file(identity) == own / "net.onnx"
    assert graph_file(identify_file(own / "net.pth")) is None
    takes = bare_graph(identity, ["image=float32(batch,5,height:8,8)"]).signature
    assert takes.arguments == (Argument("image", ("batch", 5, "height", 8)),)
    assert takes.sizes == {"height": 8}
    assert bare_graph(identity, []).signature.sizes == {"height": 224}


@pytest.mark.parametrize(
    ("arrays", "task"),
    [
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 2])}, "image-classification"),
        ({"x": np.zeros((3, 2), "int64"), "labels": np.array([0, 1, 2])}, "text-classification"),
        ({"x": np.zeros((3, 2)), "labels": np.array([0.5, 1, 2])}, ""),
        ({"x": np.zeros((3, 2))}, ""),
    ],
)
def test_class_numbers_say_the_task(tmp_path: Path, arrays: dict, task: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    assert task_of(Inputs(tmp_path / "d.npz", TARGETS)) == task


def test_y_is_an_input_where_nobody_asks_for_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=np.zeros(3, "int64"))
    assert set(Inputs(tmp_path / "d.npz").arrays) == {"x", "y"}


def test_a_class_number_below_zero_is_refused(own: Path) -> None:
    arrays = dict(np.load(own / "d.npz"))
    np.savez(own / "d.npz", **{**arrays, "y": arrays["y"] - 1})
    with pytest.raises(InteropError, match="class is number -1"):
        from interop.data import open_data

        list(open_data(own / "d.npz", "image-classification", ()).records())
