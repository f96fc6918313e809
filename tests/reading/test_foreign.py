"""Files of formats that are not read: each is named, with what to do, whatever it is called."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import tensorflow_graphs as tf
from fixtures.benign import OUT
from interop.errors import ReadError
from interop.reading import read
from interop.reading.formats import foreign

field = tf.field
_NODES = [tf.node("x", "Placeholder"), tf.node("y", "MatMul", ["x", "x"])]
_BLOCK = field(1, 0) + field(2, 0x7FFFFFFF) + field(3, field(1, "feed") + field(2, field(1, 9)))
_FEATURE = field(1, field(1, "image") + field(3, field(5, b"")))
_OPERATORS = field(2, field(1, field(1, "Add") + field(2, field(1, "x"))))


def _tar(*names: str) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return whole.getvalue()


KNOWN: dict[str, list[bytes]] = {
    "MXNet file of parameters": [struct.pack("<QQQI", 0x112, 0, 1, 0xF993FAC8) + bytes(64)],
    "MXNet graph": [b'{\n  "nodes": [\n    {\n      "op": "null", "name": "data", "inputs": []}]}'],
    "ggml": [struct.pack("<I", word) + bytes(99) for word in (0x67676D6C, 0x67676A74, 0x67676D66)],
    "GGUF": [b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(40)],
    "XGBoost": [
        b"binf" + bytes(60),
        b"{L\0\0\0\0\0\0\0\7learner{" + bytes(60),
        b'{"learner":{"attributes":{},"gradient_booster":{}},"version":[2,0,3]}',
        b'{"version": [1, 7, 0], "learner": {"gradient_booster": {}}}',
    ],
    "CatBoost": [b"CBM1" + bytes(60), b'{"features_info":{},"oblivious_trees":[]}'],
    "Caffe model": [
        field(1, "LeNet") + field(100, field(1, "conv1") + field(2, "Convolution") + bytes(0)),
        field(1, "VGG") + field(2, field(2, "data") + field(4, "conv") + field(5, 4)),
    ],
    "Caffe network": [
        b'name: "LeNet"\nlayer {\n  name: "data"\n  type: "Input"\n}\n',
        b'# net\ninput: "data"\nlayers {\n  bottom: "data"\n}\n',
    ],
    "Core ML model": [
        field(1, 4) + field(2, _FEATURE) + field(500, field(1, field(1, "conv"))),
        field(1, 8) + field(2, field(10, field(1, "prob")) + field(100, b"")) + field(502, b""),
    ],
    "a TensorFlow graph (a frozen .pb)": [
        tf.graph(_NODES),
        tf.graph(_NODES) + field(4, field(1, 21)),
        tf.graph([tf.node("w", "Const", texts={"value": "x" * 5000}), *_NODES]),
    ],
    "TensorFlow graph with its saver (.meta)": [
        field(1, field(5, "1.15.0")) + field(2, tf.graph(_NODES)),
        field(1, _OPERATORS * 100 + field(5, "2.0")) + field(2, tf.graph(_NODES)),
    ],
    "TensorFlow graph as text": [b'node {\n  name: "x"\n  op: "Placeholder"\n}\n'],
    "SavedModel as text": [b"saved_model_schema_version: 1\nmeta_graphs {\n}\n"],
    "TensorFlow Lite": [b"\x1c\0\0\0TFL3" + bytes(90)],
    "TensorFlow.js": [b'{"format":"graph-model","modelTopology":{}}', b'{"modelTopology": {}}'],
    "Keras configuration": [b'{"module": "keras", "class_name": "Functional", "config": {}}'],
    "Paddle model": [
        field(1, _BLOCK),
        field(1, field(1, 0) + field(2, (1 << 64) - 1) + field(4, field(3, "relu"))),
        b'{"base_code":{"magic":"pir","version":1}}',
    ],
    "Paddle file of parameters": [
        struct.pack("<IQIi", 0, 0, 0, 6) + bytes([8, 5, 16, 4, 16, 4]) + bytes(64)
    ],
    "LightGBM": [b"tree\nversion=v3\nnum_class=3\n", b"tree\r\nversion=v4\r\n"],
    "ncnn": [
        b"7767517\n75 83\nInput data 0 1 data\n",
        struct.pack("<I", 7767517) + bytes(40),
        struct.pack("<I", 0x01306B47) + bytes(40),
    ],
    "flax": [
        b"\x81\xa6params\x81\xa5Dense\x81\xa6kernel\xc7\x10\x01" + bytes(16),
        b"\xde\x00\x10\xd9\x20" + b"a" * 32 + b"\xc9\x00\x01\x00\x00\x01" + bytes(16),
    ],
    "Torch7": [
        struct.pack("<3i", 4, 1, 3) + b"V 1" + struct.pack("<i", 13) + b"nn.Sequential",
        struct.pack("<6i", 3, 1, 2, 2, 5, 0x64656F6D) + b"l",
        b"4\n1\n3\nV 1\n13\nnn.Sequential\n",
    ],
    "R object": [
        b"X\n\0\0\0\3\0\4\2\0" + bytes(20),
        gzip.compress(b"X\n\0\0\0\3\0\4\2\0" + bytes(20)),
    ],
    "R file": [gzip.compress(b"RDX3\nX\n" + bytes(20))],
    "MATLAB": [b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM" + bytes(40)],
    "TensorRT": [b"ftrt" + bytes(60), b"ptrt" + bytes(60)],
    "OpenVINO": [
        b'<?xml version="1.0"?>\n<net name="n" version="11">\n</net>',
        b"<?xml version='1.0'?>\n<!-- made -->\n<net version='10'/>",
    ],
    "PMML": [b'<?xml version="1.0"?>\n<PMML version="4.4"/>'],
    "ExecuTorch": [b"\x1c\0\0\0ET12" + bytes(60)],
    "ONNX Runtime": [b"\x1c\0\0\0ORTM" + bytes(60)],
    "darknet network": [b"[net]\nbatch=1\n", b"# yolo\n[net]\n"],
    "TorchServe": [gzip.compress(_tar("MAR-INF/MANIFEST.json", "model.pt"))],
    "tar archive, gzip": [gzip.compress(_tar("a.txt"))],
    "gzip-compressed": [gzip.compress(b"hello")],
    "zlib-compressed": [zlib.compress(b"hello" * 9)],
}


def _refusal(path: Path) -> ReadError:
    with pytest.raises(ReadError) as error:
        read(path)
    return error.value


@pytest.mark.parametrize("what", KNOWN)
def test_a_foreign_format_is_named_with_what_to_do(tmp_path: Path, what: str) -> None:
    for name, data in ((n, d) for n in ("model.pth", "model") for d in KNOWN[what]):
        (tmp_path / name).write_bytes(data)
        error = _refusal(tmp_path / name)
        assert error.rule == "file-unrecognised" and what in error.what, error
        assert len(error.fix) > 10 and error.fix != "give a model file"


@pytest.mark.parametrize("what", KNOWN)
def test_a_damaged_one_is_refused_all_the_same(tmp_path: Path, what: str) -> None:
    file = tmp_path / "model.pth"
    for data, at in ((d, at) for d in KNOWN[what] for at in range(min(len(d), 60))):
        for changed in (data[: at + 1], data[:at] + b"\xff" + data[at + 1 :]):
            file.write_bytes(changed)
            assert _refusal(file).fix


def test_files_of_formats_that_are_read_are_not_foreign() -> None:
    for file in (*OUT.glob("*.*"), OUT / "saved-model" / "saved_model.pb"):
        if file.is_file() and file.name != "external.onnx.data":
            head = file.read_bytes()[:512]
            assert foreign.by_structure("model", head) is None, file


NONE = (b"name: x\nlearning rate: 3\n", b"node of a tree\n", b"tree house\n", b'{"nodes": []}',
        b"[section]\na=1\n", field(1, "x") + field(2, "y"), b"\x81\xa1a\x01",
        bytes(24) + b"x")  # fmt: skip


def test_what_is_none_of_them_is_not_named_so(tmp_path: Path) -> None:
    for data in NONE:
        (tmp_path / "model.pth").write_bytes(data)
        what = _refusal(tmp_path / "model.pth").what
        assert "text file" in what or "neither" in what


def test_a_foreign_mark_does_not_hide_a_pickle(tmp_path: Path) -> None:
    # "GGUF" and eight bytes more are a number to unpickle.
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(5) + b"0cos\nsystem\n(S'true'\ntR.")
    error = _refusal(file)
    assert "GGUF" in error.what and "would run os.system" in error.what
    assert error.fix == "do not load this file"


def test_names_count_where_bytes_say_nothing(tmp_path: Path) -> None:
    darknet = struct.pack("<3iQ", 0, 2, 5, 32013312) + bytes(range(1, 200))
    (tmp_path / "yolo.weights").write_bytes(darknet)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(range(1, 200)))
    assert "darknet" in _refusal(tmp_path / "yolo.weights").what
    assert ".index" in _refusal(tmp_path / "m.data-00000-of-00001").fix
    (tmp_path / "plain").write_bytes(darknet)
    assert "neither" in _refusal(tmp_path / "plain").what


def test_archives_and_folders_of_foreign_models(
    tmp_path: Path, write_zip: Callable[..., Path]
) -> None:
    schema = json.dumps({"__class__": "LinearRegression", "__loader__": "ObjectNode"}).encode()
    assert "skops" in _refusal(write_zip({"schema.json": schema, "1.npy": b""})).what
    assert "skops" not in _refusal(write_zip({"schema.json": b"{}"})).what
    served = _refusal(write_zip({"MAR-INF/MANIFEST.json": b"{}", "model.pt": b"x"}))
    assert "TorchServe" in served.what and "serializedFile" in served.fix
    assert "Core ML" in _refusal(write_zip({"a.mlmodelc/coremldata.bin": b"x"})).what
    package = tmp_path / "m.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}", "utf-8")
    assert "Core ML" in _refusal(package).what
    (package / "Manifest.json").unlink()
    assert "no model file" in _refusal(package).what


TORCH_TAR = {
    "sys_info": pickle.dumps({"protocol_version": 1000}, 2),
    "pickle": b"\x80\x02}X\x01\x00\x00\x00wX\x01\x00\x00\x000Qs.",
    "storages": pickle.dumps(1, 2) + pickle.dumps(("0", "cpu"), 2) + struct.pack("<q2f", 2, 1, 2),
    "tensors": pickle.dumps(1, 2) + struct.pack("<2i3q", 1, 0, 2, 1, 0),
}
RUNS = b"cos\nsystem\n(S'true'\ntR."


def _torch_tar(path: Path, *more: tuple[str, bytes], **changed: bytes) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (*(TORCH_TAR | changed).items(), *more):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_the_first_pytorchs_tar_is_told_for_what_it_is(tmp_path: Path) -> None:
    error = _refusal(_torch_tar(tmp_path / "old.pth"))
    assert error.rule == "file-unrecognised" and "PyTorch 0.1.9" in error.what
    assert "torch.load" in error.fix and "would run" not in error.what


@pytest.mark.parametrize("name", TORCH_TAR)
def test_what_a_pickle_in_the_first_pytorchs_tar_would_run(tmp_path: Path, name: str) -> None:
    behind = TORCH_TAR[name] + RUNS  # behind numbers, in two of the files
    for data in (RUNS, b"\x80\x02" + RUNS, behind):
        error = _refusal(_torch_tar(tmp_path / "old.pth", **{name: data}))
        assert error.rule == "model-nested" and "would run os.system" in error.what
        assert "PyTorch 0.1.9" in error.what and error.fix == "do not load this file"
    # Whoever unpacks it takes the last of two of one name.
    error = _refusal(_torch_tar(tmp_path / "old.pth", (name, RUNS)))
    assert "would run os.system" in error.what


def test_a_part_of_the_first_pytorchs_tar_is_a_pickle_in_a_tar(tmp_path: Path) -> None:
    error = _refusal(_torch_tar(tmp_path / "old.tar", sys_info=b"", storages=b"\x80\x02" + RUNS))
    assert error.rule == "model-nested" and "PyTorch" not in error.what
    error = _refusal(
        _torch_tar(tmp_path / "old.tar", ("model.pth", b"\x80\x02" + RUNS), pickle=b"")
    )
    assert "model.pth" in error.what and "would run os.system" in error.what
