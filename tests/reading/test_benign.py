"""A real file of every format, written by its own library: what it holds, and its very values.

fixtures/benign.py wrote the files. Where the library is at hand it says what the values are; else
the numbers are those that were counted into the file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
import torch.distributed.checkpoint as dcp
from onnx import numpy_helper
from safetensors.torch import load_file

from fixtures.benign import OUT, counted
from interop.facts import Manifest, TensorSpec
from interop.reading import read
from interop.reading.formats.table import FORMATS
from interop.reading.values.comparison import array
from tests.helpers.server import Server
from tests.reading.conftest import dangers, tensors

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]


class Case(NamedTuple):
    """What a file's Manifest holds: `count` tensors at `place`, `some` of them in full."""

    file: str
    container: str
    count: int
    some: Shapes
    place: str = ""
    dangers: frozenset[str] = frozenset({"safe"})


def network(prefix: str = "") -> Shapes:
    """The network of fixtures/benign.py."""
    return {
        f"{prefix}conv.weight": ("float32", (2, 3, 3, 3)),
        f"{prefix}bn.num_batches_tracked": ("int64", ()),
        f"{prefix}fc.weight": ("float32", (3, 2)),
        f"{prefix}fc.bias": ("float32", (3,)),
    }


NONE: frozenset[str] = frozenset()
SAFE, REFUSED = frozenset({"safe"}), frozenset({"safe", "refused"})
CODE = frozenset({"safe", "code"})
MATRIX: Shapes = {"fc.weight": ("float32", (3, 4)), "fc.bias": ("float32", (3,))}
KERNEL = ("float32", (3, 3, 3, 2))
VARIABLES: Shapes = {"kernel": ("float32", (4, 3)), "steps": ("int64", ())}

CASES = (
    Case("zip.pth", "torch-zip", 9, network()),
    Case("legacy.pth", "torch-legacy", 9, network()),
    *(Case(f"protocol{n}.pth", "torch-zip", 9, network()) for n in range(1, 6)),
    Case("protocol0.pkl", "pickle", 0, {}, "", NONE),
    Case("python2.pth", "torch-legacy", 2, MATRIX, "state_dict"),
    Case("training.pth.tar", "torch-zip", 9, network(), "state_dict"),
    Case("ddp.pth", "torch-zip", 9, network("module."), "model"),
    Case("compiled.pth", "torch-zip", 9, network("_orig_mod.")),
    Case("module.pth", "torch-zip", 9, network(), "", CODE),
    Case("torchscript.pt", "torchscript", 9, network(), "", CODE),
    Case("tied.th", "torch-zip", 3, {"turned": ("float32", (2, 4))}),
    Case("tensors.pt", "torch-zip", 4, {"float8": ("float8_e4m3fn", (4, 4))}),
    Case("nested.pt", "torch-zip", 1, {"nested": ("float32", (6,))}, "", REFUSED),
    Case("quantized.pt", "torch-zip", 2, {"tensor": ("quint8", (3, 4))}),
    Case("dtensor.pth", "torch-zip", 1, {"fc.weight": ("float32", (3, 2))}, "", REFUSED),
    Case("lightning.ckpt", "torch-zip", 9, network("net."), "state_dict"),
    Case("timm.pth.tar", "torch-zip", 9, network(), "state_dict", REFUSED),
    Case("timm.pth.tar", "torch-zip", 9, network(), "state_dict_ema", REFUSED),
    Case("ultralytics.pt", "torch-zip", 16, {"model.2.linear.bias": ("float16", (3,))}, "model",
         CODE),
    Case("export.pt2", "exported-program", 9, network()),
    Case("distributed", "distributed", 9, network(), "model"),
    Case("distributed-two", "distributed", 3, {"rows": ("float32", (4, 3))}, "model"),
    Case("model.safetensors", "safetensors", 9, network(), "", NONE),
    Case("shards", "safetensors", 9, network(), "", NONE),
    Case("shards/model.safetensors.index.json", "safetensors", 9, network(), "", NONE),
    Case("shards-bin", "torch-zip", 9, network()),
    Case("shards-bin/pytorch_model.bin.index.json", "torch-zip", 9, network()),
    Case("transformers", "safetensors", 24, {"classifier.weight": ("float32", (3, 8))}, "", NONE),
    Case("trainer", "safetensors", 25, {"classifier.weight": ("float32", (3, 8))}, "", NONE),
    Case("timm-folder", "torch-zip", 20, {"head.weight": ("float32", (3, 8))}),
    Case("model.onnx", "onnx", 4, {"fc.weight": ("float32", (3, 2))}, "", NONE),
    Case("external.onnx", "onnx", 4, {"fc.weight": ("float32", (3, 2))}, "", NONE),
    Case("qdq.onnx", "onnx", 20, {"fc.weight_quantized": ("int8", (3, 2))}, "", NONE),
    Case("qlinear.onnx", "onnx", 16, {"fc.weight_quantized": ("int8", (3, 2))}, "", NONE),
    Case("subgraph.onnx", "onnx", 5, {"choice/then_branch/w": ("float32", (3, 3))}, "", NONE),
    Case("model.keras", "keras", 4, {"layers/conv2d/vars/0": KERNEL}, "", NONE),
    Case("lambda.keras", "keras", 0, {}, "", frozenset({"unsafe"})),
    Case("model.h5", "hdf5", 4, {"conv/tiny/conv/kernel": KERNEL}, "model_weights", NONE),
    Case("keras.weights.h5", "hdf5", 4, {"layers/conv2d/vars/0": KERNEL}, "", NONE),
    Case("packed.h5", "hdf5", 3, {"layer/kernel": ("float32", (8, 8))}, "", NONE),
    Case("saved-model", "saved-model", 3, VARIABLES, "", NONE),
    Case("saved-model-reads", "saved-model", 0, {}, "", frozenset({"unsafe"})),
    Case("tensorflow", "tensorflow-checkpoint", 3, {"net/kernel": ("float32", (4, 3))}, "", NONE),
    Case("tensorflow/model.index", "tensorflow-checkpoint", 3, {}, "", NONE),
    Case("arrays.npz", "numpy", 5, {"turned": ("float32", (3, 4))}, "", NONE),
    Case("packed.npz", "numpy", 5, {"big": ("float64", (4,))}, "", NONE),
    Case("array.npy", "numpy", 1, {"": ("float32", (3, 4))}, "", NONE),
    Case("objects.npz", "numpy", 1, {"w": ("float16", (3,))}, "", REFUSED),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}:{case.place}")
def test_every_format_gives_a_manifest(case: Case) -> None:
    manifest = read(OUT / case.file, content_hash=True)
    assert manifest.container == case.container
    assert manifest.path == str(OUT / case.file) and manifest.content_sha256
    found = tensors(manifest, case.place) if case.count else {}
    assert len(found) == case.count
    for name, (dtype, shape) in case.some.items():
        assert (found[name].dtype, found[name].shape) == (dtype, shape), name
    assert set(dangers(manifest).values()) == case.dangers


def test_every_container_is_backed_by_a_real_file() -> None:
    assert {case.container for case in CASES} == {one.container for one in FORMATS}


# ---------------------------------------------------------------- the values


def _loaded(name: str) -> Any:
    return torch.load(OUT / name, weights_only=False)


def _network(name: str, place: str = "") -> Callable[[], Mapping[str, Any]]:
    def load() -> Mapping[str, Any]:
        found = _loaded(name)
        found = found[place] if place else found
        return found.state_dict() if isinstance(found, torch.nn.Module) else found

    return load


def _shards(pattern: str, load: Callable[[Path], Mapping[str, Any]]) -> Mapping[str, Any]:
    return {k: v for file in sorted(OUT.glob(pattern)) for k, v in load(file).items()}


def _initializers(name: str) -> Mapping[str, Any]:
    model = onnx.load(OUT / name)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _keras(names: str) -> Callable[[], Mapping[str, Any]]:
    """Kernels and biases were counted from 0, 1, 2 and 3 on."""
    shapes = ((3, 3, 3, 2), (2,), (2, 3), (3,))

    def load() -> Mapping[str, Any]:
        numbers = (counted(int(np.prod(s)), i).reshape(s) for i, s in enumerate(shapes))
        return dict(zip(names.split(), numbers, strict=True))

    return load


def _variables(prefix: str) -> Mapping[str, Any]:
    kernel, bias = counted(12).reshape(4, 3), counted(3, 20)
    return {f"{prefix}kernel": kernel, f"{prefix}bias": bias, f"{prefix}steps": np.int64(7)}


def _packed() -> Mapping[str, Any]:
    numbers = counted(64).reshape(8, 8)
    return {"layer/kernel": numbers, "layer/big": numbers, "layer/again": numbers}


def _half_counted(state: Mapping[str, TensorSpec]) -> Mapping[str, Any]:
    """A filled module: its tensors were counted in their order, and its variances made positive."""
    found = {}
    for shift, (name, spec) in enumerate(state.items()):
        numbers = counted(spec.numel, shift).reshape(spec.shape)
        found[name] = abs(numbers) + 1 if name.endswith("running_var") else numbers
    return {n: v for n, v in found.items() if "num_batches" not in n}


def _odd() -> Mapping[str, Any]:
    found = _loaded("tensors.pt")
    return {name: found[name].float() for name in ("float8", "bfloat16")}


VALUES: dict[tuple[str, str], Callable[[], Mapping[str, Any]]] = {
    **{(f"{name}.pth", ""): _network(f"{name}.pth") for name in ("zip", "legacy", "compiled")},
    **{(f"protocol{n}.pth", ""): _network(f"protocol{n}.pth") for n in range(1, 6)},
    ("module.pth", ""): _network("module.pth"),
    ("tied.th", ""): _network("tied.th"),
    ("python2.pth", "state_dict"): _network("python2.pth", "state_dict"),
    ("training.pth.tar", "state_dict"): _network("training.pth.tar", "state_dict"),
    ("ddp.pth", "model"): _network("ddp.pth", "model"),
    ("lightning.ckpt", "state_dict"): _network("lightning.ckpt", "state_dict"),
    ("timm.pth.tar", "state_dict"): _network("timm.pth.tar", "state_dict"),
    ("timm.pth.tar", "state_dict_ema"): _network("timm.pth.tar", "state_dict_ema"),
    ("tensors.pt", ""): _odd,
    ("torchscript.pt", ""): lambda: torch.jit.load(OUT / "torchscript.pt").state_dict(),
    ("export.pt2", ""): lambda: torch.export.load(OUT / "export.pt2").state_dict,
    # The same state, in a form that torch before 2.15 cannot load.
    ("distributed", "model"): _network("zip.pth"),
    ("model.safetensors", ""): lambda: load_file(OUT / "model.safetensors"),
    ("shards", ""): lambda: _shards("shards/*.safetensors", load_file),
    ("shards-bin", ""): lambda: _shards("shards-bin/*.bin", torch.load),
    ("transformers", ""): lambda: load_file(OUT / "transformers" / "model.safetensors"),
    ("timm-folder", ""): lambda: torch.load(OUT / "timm-folder" / "pytorch_model.bin"),
    **{
        (f"{name}.onnx", ""): lambda name=name: _initializers(f"{name}.onnx")
        for name in ("model", "external", "qdq", "qlinear")
    },
    ("model.keras", ""): _keras(
        "layers/conv2d/vars/0 layers/conv2d/vars/1 layers/dense/vars/0 layers/dense/vars/1"
    ),
    ("keras.weights.h5", ""): _keras(
        "layers/conv2d/vars/0 layers/conv2d/vars/1 layers/dense/vars/0 layers/dense/vars/1"
    ),
    ("model.h5", "model_weights"): _keras(
        "conv/tiny/conv/kernel conv/tiny/conv/bias head/tiny/head/kernel head/tiny/head/bias"
    ),
    ("packed.h5", ""): _packed,
    ("saved-model", ""): lambda: _variables(""),
    ("tensorflow", ""): lambda: _variables("net/"),
    **{
        (f"{name}.npz", ""): lambda name=name: {
            k: v for k, v in np.load(OUT / f"{name}.npz").items() if k != "labels"
        }
        for name in ("arrays", "packed")
    },
    ("array.npy", ""): lambda: {"": np.load(OUT / "array.npy")},
}


@pytest.mark.parametrize(("file", "place"), VALUES)
def test_the_values_are_those_that_the_library_loads(file: str, place: str) -> None:
    found = tensors(read(OUT / file), place)
    expected = VALUES[file, place]()
    assert expected and (set(found) == set(expected) or file == "tensors.pt")
    for name, value in expected.items():
        numbers = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        got = array(found[name])
        assert got.shape == np.shape(numbers) and np.array_equal(got, numbers), name


def test_a_pickled_module_of_a_library_that_is_not_here() -> None:
    found = tensors(read(OUT / "ultralytics.pt"), "model")
    for name, numbers in _half_counted(found).items():
        assert np.array_equal(array(found[name]), numbers), name


def test_the_pieces_of_two_ranks_make_the_whole() -> None:
    found = tensors(read(OUT / "distributed-two"), "model")
    # As `fixtures.benign` made them: torch before 2.15 cannot load the file.
    written = {"rows": counted(12).reshape(4, 3), "columns": counted(8, 5).reshape(2, 4)}
    for name, numbers in written.items():
        whole = np.zeros(found[name].shape, "float32")
        assert found[name].layout == "sharded" and found[name].storage is None
        for part in found[name].parts:
            begin = map(int, part.name.split(","))
            where = tuple(slice(b, b + n) for b, n in zip(begin, part.shape, strict=True))
            whole[where] = array(part)
        assert np.array_equal(whole, numbers)
    assert np.array_equal(array(found["whole"]), np.arange(3.0))


@pytest.mark.filterwarnings("ignore")
def test_a_distributed_checkpoint_of_the_torch_at_hand_holds_what_it_loads(tmp_path: Path) -> None:
    dcp.save({"model": _loaded("zip.pth")}, checkpoint_id=tmp_path, no_dist=True)
    loaded = {name: torch.zeros_like(value) for name, value in _loaded("zip.pth").items()}
    dcp.load({"model": loaded}, checkpoint_id=tmp_path, no_dist=True)
    found = tensors(read(tmp_path), "model")
    assert found.keys() == loaded.keys()
    for name, value in loaded.items():
        assert np.array_equal(array(found[name]), value.numpy()), name


AFAR = ("model.keras", "arrays.npz", "export.pt2", "external.onnx", "tensorflow/model.index",
        "saved-model/saved_model.pb", "distributed-two/.metadata")  # fmt: skip


@pytest.mark.parametrize("name", AFAR)
def test_a_model_far_away_has_the_same_structure(name: str) -> None:
    server = Server(OUT)
    try:
        there = read(f"{server.address}/{name}")
    finally:
        server.close()
    here = read(OUT / name)
    assert (there.header_sha256, there.imports) == (here.header_sha256, here.imports)
    for ours, theirs in zip(here.state_dicts, there.state_dicts, strict=True):
        assert ours.place == theirs.place
        assert [(t.name, t.dtype, t.shape) for t in ours.tensors] == [
            (t.name, t.dtype, t.shape) for t in theirs.tensors
        ]


def test_reading_none_of_them_loads_a_library() -> None:
    program = (
        "import sys; from interop.reading import read\n"
        "for name in sys.argv[1:]: read(name)\n"
        "heavy = {'torch', 'numpy', 'onnx', 'h5py', 'zipfile', 'pickle'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    # HDF5 is read by another process, which has no need of pickle to tell what it found.
    files = sorted({str(OUT / case.file) for case in CASES})
    subprocess.run([sys.executable, "-c", program, *files], check=True)


# ---------------------------------------------------------------- what stands beside the weights


def _read(name: str) -> Manifest:
    return read(OUT / name)


def test_storages_are_shared_where_the_file_shares_them() -> None:
    found = tensors(_read("tied.th"))
    assert found["embedding.weight"].storage == found["decoder.weight"].storage
    assert found["turned"].storage == found["embedding.weight"].storage
    again = tensors(_read("packed.h5"))
    assert again["layer/again"].storage == again["layer/big"].storage
    assert again["layer/again"].storage != again["layer/kernel"].storage


def test_tensors_that_are_no_plain_array_have_parts() -> None:
    found, expected = tensors(_read("tensors.pt")), _loaded("tensors.pt")
    for name, parts in {
        "coo": {"indices": expected["coo"].indices(), "values": expected["coo"].values()},
        "csr": {
            "crow_indices": expected["csr"].crow_indices(),
            "col_indices": expected["csr"].col_indices(),
            "values": expected["csr"].values(),
        },
    }.items():
        assert found[name].layout == f"sparse_{name}" and parts["values"].numel() == 7
        assert [part.name for part in found[name].parts] == list(parts)
        for part in found[name].parts:
            assert np.array_equal(array(part), parts[part.name].numpy()), part.name
    nested = tensors(_read("nested.pt"))["nested"]
    assert nested.layout == "jagged"
    assert array(nested.parts[0]).tolist() == [0, 1, 2, 3, 0, 1]


def test_quantized_tensors_hold_codes_and_what_makes_numbers_of_them() -> None:
    found, expected = tensors(_read("quantized.pt")), _loaded("quantized.pt")
    for name, value in expected.items():
        assert np.array_equal(array(found[name]), value.int_repr().numpy())
    assert found["tensor"].quantizer == "per_tensor_affine scale 0.1 zero point 3"
    scales, zeros = found["channel"].parts
    assert np.array_equal(array(scales), expected["channel"].q_per_channel_scales().numpy())
    assert np.array_equal(array(zeros), expected["channel"].q_per_channel_zero_points().numpy())


def test_a_distributed_tensor_is_read_from_its_one_piece() -> None:
    spec = tensors(_read("dtensor.pth"))["fc.weight"]
    assert np.array_equal(array(spec), _loaded("zip.pth")["fc.weight"].numpy())


def test_training_checkpoints_tell_of_the_training() -> None:
    assert _read("training.pth.tar").metadata == {"epoch": 3, "arch": "tiny"}
    assert _read("training.pth.tar").held_aside == ("optimizer", "best_acc1")
    assert _read("timm.pth.tar").metadata["args"]["data_dir"] == "data"
    assert _read("lightning.ckpt").metadata["hyper_parameters"] == {"width": 2}
    assert _read("ultralytics.pt").metadata["train_args"] == {"imgsz": 32}
    assert _read("python2.pth").metadata["classes"] == ["ä", "b", "c"]
    assert _read("protocol0.pkl").metadata == {"epoch": 3, "classes": ["cat", "dog", "eel"]}
    assert _read("distributed").metadata == {"epoch": 3}
    assert _read("distributed-two").metadata == {"step": 7}


def test_folders_tell_of_labels_and_preprocessing() -> None:
    folder = _read("transformers").metadata
    assert folder["config.json"]["id2label"] == {"0": "cat", "1": "dog", "2": "eel"}
    assert folder["preprocessor_config.json"]["size"] == {"height": 8, "width": 8}
    assert _read("trainer").metadata["config.json"]["architectures"]
    timm = _read("timm-folder").metadata["config.json"]
    assert timm["label_names"] == ["cat", "dog", "eel"] and timm["pretrained_cfg"]["mean"]


def test_archives_of_numpy_tell_of_text_and_objects() -> None:
    assert _read("arrays.npz").metadata == {"labels": ["cat", "dog", "eel"]}
    assert _read("packed.npz").metadata == {"labels": ["cat", "dog", "eel"]}
    objects = _read("objects.npz")
    assert objects.metadata["config"] == {"arch": "tiny", "classes": ["cat", "dog", "eel"]}
    assert dangers(objects)["numpy._core.multiarray._reconstruct"] == "refused"


def test_programs_have_an_interface() -> None:
    exported = _read("export.pt2")
    assert exported.graph is not None and exported.held_aside == ()
    assert [(p.name, p.dtype, p.shape[1:]) for p in exported.graph.inputs] == [
        ("input", "float32", (3, 8, 8))
    ]
    assert isinstance(exported.graph.inputs[0].shape[0], str)
    assert exported.graph.operators["aten.conv2d.default"] == 1
    assert exported.metadata["schema_version"]["major"] == 8
    saved = _read("saved-model")
    assert saved.graph is not None and saved.graph.operators["MatMul"] == 1
    assert [(p.name, p.dtype, p.shape) for p in saved.graph.inputs] == [("x", "float32", ("?", 4))]
    assert [(p.name, p.dtype, p.shape) for p in saved.graph.outputs] == [("y", "float32", ("?", 3))]
    assert saved.metadata["tags"] == ["serve"]
    assert saved.file == str(OUT / "saved-model" / "saved_model.pb")


def test_code_that_would_run_is_named() -> None:
    assert dangers(_read("lambda.keras")) == {"keras.layers.Lambda": "unsafe"}
    assert dangers(_read("saved-model-reads")) == {"tensorflow.raw_ops.ReadFile": "unsafe"}
    assert dangers(_read("ultralytics.pt"))["ultralytics.nn.tasks.ClassificationModel"] == "code"
    assert _read("model.keras").metadata["config.json"]["class_name"] == "Sequential"
