"""A bundle is proved again from its receipt; what was changed in it is found by the right proof."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from interop.cli.group import interop
from interop.errors import ReadError
from interop.export import ExportOptions
from interop.facts import Answer
from interop.verify.bundle import verify

ROOT = Path(__file__).resolve().parents[2]
PROOFS = ["files", "loaded fraction", "same weights", "parity", "canary", "structure"]


@pytest.fixture
def copy(bundle, tmp_path):
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def sign_again(folder, **change):
    """The receipt with the hashes of the files as they are now: what a forger would do."""
    path = folder / "interop.json"
    receipt = json.loads(path.read_text())
    receipt["files"] = {n: sha256((folder / n).read_bytes()).hexdigest() for n in receipt["files"]}
    path.write_text(json.dumps(receipt | change))


def failing(report):
    return [p.name for p in report.proofs if not p.holds]


def test_all_proofs_hold_again(copy):
    report = verify(copy)
    assert report.outcome is Answer.YES
    assert [p.name for p in report.proofs] == PROOFS


def test_another_runtime_proves_it_too(copy):
    report = verify(copy, ExportOptions(runtime="openvino"))
    assert report.outcome is Answer.YES
    assert report.details.runtime == "openvino"


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "config.json", "README.md"])
def test_a_changed_byte_is_found_by_its_hash(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    report = verify(copy)
    assert (report.outcome, failing(report)) == (Answer.NO, ["files"])
    assert name in report.proofs[0].what


def test_a_missing_file_is_named_and_a_strange_one_told(copy):
    (copy / "notes.txt").write_text("mine")
    assert "not of the bundle: notes.txt" in verify(copy).proofs[0].what
    (copy / "README.md").unlink()
    assert "README.md is missing" in verify(copy).proofs[0].what


def test_a_weight_changed_and_signed_again_is_no_longer_the_graphs(copy):
    model = onnx.load(copy / "model.onnx", load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.name == "fc.bias")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(10, np.float32), "fc.bias"))
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    sign_again(copy)
    assert "same weights" in failing(verify(copy))


def test_labels_that_one_file_alone_has_in_another_order_are_found(copy):
    config = json.loads((copy / "config.json").read_text())
    config["labels"] = config["labels"][::-1]
    (copy / "config.json").write_text(json.dumps(config))
    sign_again(copy)
    assert failing(verify(copy)) == ["labels"]


def test_a_graph_that_computes_otherwise_fails_parity(copy):
    model = onnx.load(copy / "model.onnx", load_external_data=False)
    relu = next(n for n in model.graph.node if n.op_type == "Relu")
    relu.op_type = "Abs"
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    sign_again(copy)
    assert failing(verify(copy)) == ["parity"]


def test_a_module_of_ones_own_is_run_only_if_it_is_named(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    report = verify(tmp_path / "out")
    assert report.outcome is Answer.UNKNOWN
    assert [p.name for p in report.proofs] == [
        "files", "same weights", "structure", "recorded answers",
    ]  # fmt: skip
    assert {s.rule for s in report.skipped} == {"loaded fraction", "parity", "canary"}
    named = verify(tmp_path / "out", ExportOptions(factory=f"{tmp_path}/odd.py:Plain"))
    assert (named.outcome, [p.name for p in named.proofs]) == (Answer.YES, PROOFS)
    other = verify(tmp_path / "out", ExportOptions(factory=f"{tmp_path}/odd.py:Branches"))
    assert failing(other) == ["parity"]


def test_recorded_answers_find_a_graph_that_computes_otherwise(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    path = tmp_path / "out" / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Abs"
    path.write_bytes(model.SerializeToString())
    sign_again(tmp_path / "out")
    assert failing(verify(tmp_path / "out")) == ["recorded answers"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema": 2, "files": {}}'])
def test_a_folder_without_a_receipt_is_no_bundle(tmp_path, text):
    if text is not None:
        (tmp_path / "interop.json").write_text(text)
    with pytest.raises(ReadError, match=r"bundle|receipt"):
        verify(tmp_path)


def test_the_command_says_all_of_it(copy):
    done = CliRunner().invoke(interop, ["verify", str(copy)])
    assert done.exit_code == 0
    assert all(name in done.stdout for name in PROOFS)
    (copy / "config.json").write_text("{}")
    done = CliRunner().invoke(interop, ["verify", str(copy), "--format", "json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["command"] == "verify"


def test_labels_of_the_graph_that_are_others_are_found(copy):
    path = copy / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    (entry,) = (p for p in model.metadata_props if p.key == "labels")
    names = json.loads(entry.value)
    entry.value = json.dumps([names[1], names[0], *names[2:]])
    onnx.save(model, path)
    sign_again(copy)
    assert failing(verify(copy)) == ["labels"]
