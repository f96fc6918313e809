"""The widths of Keras's and TensorFlow's layers, whose weights have their outputs last."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from interop.facts import Case, TensorSpec, TextPreprocessing
from interop.identity import identify
from interop.identity.block_summary import blocks
from interop.identity.describe import facts
from interop.reading import read
from interop.rules import preprocessing_misfit

LAYERS = {
    "dense": ({"kernel": (64, 10), "bias": (10,)}, (64, 10)),
    "wide": ({"kernel": (10, 64), "bias": (64,)}, (10, 64)),
    "conv2d": ({"kernel": (3, 3, 3, 16), "bias": (16,)}, (3, 16)),
    "square": ({"kernel": (3, 3, 16, 16)}, (16, 16)),
    "conv1d": ({"kernel": (5, 8, 12), "bias": (12,)}, (8, 12)),
    "mask": ({"kernel": (3, 3, 16, 1), "bias": (1,)}, (16, 1)),
    "conv2d_transpose": ({"kernel": (2, 2, 8, 32), "bias": (8,)}, (32, 8)),
    "up": ({"vars/0": (2, 2, 8, 32), "vars/1": (8,)}, (32, 8)),
    "depthwise": ({"kernel": (3, 3, 16, 2), "bias": (32,)}, (16, 32)),
    "layer": ({"vars/0": (3, 3, 16, 2), "vars/1": (32,)}, (16, 32)),
    "dw": ({"kernel": (3, 3, 16, 1), "bias": (16,)}, (16, 16)),
    "separable": (
        {"depthwise_kernel": (3, 3, 32, 1), "pointwise_kernel": (1, 1, 32, 12), "bias": (12,)},
        (32, 12),
    ),
    "embedding": ({"embeddings": (100, 16)}, (100, 16)),
    "lstm": (
        {"cell/kernel": (16, 128), "cell/recurrent_kernel": (32, 128), "cell/bias": (128,)},
        (16, 128),
    ),
    "gru": ({"cell/vars/0": (32, 21), "cell/vars/1": (7, 21), "cell/vars/2": (2, 21)}, (32, 21)),
    "attention": ({"query/bias": (2, 8), "query/kernel": (12, 2, 8)}, (12, 16)),
    "joined": ({"output_dense/vars/0": (2, 8, 12), "output_dense/vars/1": (12,)}, (16, 12)),
    "norm": ({"gamma": (8,), "beta": (8,)}, None),
    "several": ({"a/kernel": (4, 8), "b/kernel": (8, 2)}, None),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_are_the_last_axis(layer: str) -> None:
    shapes, widths = LAYERS[layer]
    tensors = [TensorSpec(f"{layer}/{n}", "float32", s) for n, s in sorted(shapes.items())]
    other = TensorSpec("other/kernel", "float32", (7, 9))
    found = {b.path: b.widths for b in blocks([*tensors, other], 2, channels_last=True)}
    assert found == {layer: widths, "other": (7, 9)}


def test_torchs_order_is_another() -> None:
    weight = [TensorSpec("fc.weight", "float32", (10, 64)), TensorSpec("a.x", "float32", (1,))]
    assert blocks(weight)[0].widths == (64, 10)
    assert blocks(weight, channels_last=True)[0].widths == (10, 64)


def test_the_container_decides(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["model_weights/dense/dense/kernel:0"] = np.zeros((64, 10), "f4")
        file["model_weights/dense/dense/bias:0"] = np.zeros(10, "f4")
        file["model_weights/conv/conv/kernel:0"] = np.zeros((3, 3, 3, 16), "f4")
    found = facts(identify(read(tmp_path / "w.h5")))["blocks"]
    assert [(b["path"], tuple(b["widths"])) for b in found] == [
        ("conv", (3, 16)),
        ("dense", (64, 10)),
    ]


@pytest.mark.parametrize(("shape", "pictures"), [((1, 3, 8, 8), False), ((5, 5, 3, 8), True)])
def test_a_convolution_takes_pictures_by_its_last_axis_but_one(
    tmp_path: Path, shape: tuple[int, ...], pictures: bool
) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["conv/kernel"] = np.zeros(shape, "f4")
    model = identify(read(tmp_path / "w.h5"), preprocessing=TextPreprocessing())
    found = [one.what for one in preprocessing_misfit.check(Case(b=model))]
    assert found == ["the preprocessing is for text, but conv/kernel takes images"] * pictures
