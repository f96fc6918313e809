"""One file that needs nothing beside it, or a plain reason why there is none."""

import numpy as np
import onnx
import onnxruntime
import pytest

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import Folder
from interop.errors import InteropError
from interop.export import embed


@pytest.fixture(scope="module")
def pictures():
    return Folder(DIGITS / "heldout", LABELS).spread(HOW, 7)


def test_it_answers_alike_with_nothing_beside_it(bundle, pictures, tmp_path):
    out = tmp_path / "model.onnx"
    embed.embed(bundle.folder / "model.onnx", out)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    (ours,) = onnxruntime.InferenceSession(out).run(None, {"input": pictures})
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    np.testing.assert_array_equal(ours, session.run(None, {"input": pictures})[0])
    graph = onnx.load(out, load_external_data=False)
    onnx.checker.check_model(graph, full_check=True)
    assert not any(t.data_location for t in graph.graph.initializer)
    assert not any(t.external_data for t in graph.graph.initializer)
    held = onnx.load(bundle.folder / "model.onnx", load_external_data=False)
    assert list(graph.metadata_props) == list(held.metadata_props)
    assert out.stat().st_size == pytest.approx(embed.nbytes(bundle.folder / "model.onnx"), rel=0.02)


def test_the_same_bytes_again_and_in_its_own_place(bundle, tmp_path):
    one, two = tmp_path / "one.onnx", tmp_path / "model.onnx"
    embed.embed(bundle.folder / "model.onnx", one)
    (tmp_path / "model.safetensors").write_bytes((bundle.folder / "model.safetensors").read_bytes())
    two.write_bytes((bundle.folder / "model.onnx").read_bytes())
    embed.embed(two, two)
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()


def test_over_two_gigabytes_it_says_so_before_it_reads(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "LIMIT", 1_000_000)
    with pytest.raises(InteropError, match=r"at most 2 GB.*leave --embed away"):
        embed.embed(bundle.folder / "model.onnx", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_without_its_weights_it_says_so(bundle, tmp_path):
    alone = tmp_path / "model.onnx"
    alone.write_bytes((bundle.folder / "model.onnx").read_bytes())
    before = alone.read_bytes()
    with pytest.raises(InteropError, match="weights cannot be read"):
        embed.embed(alone, alone)
    assert alone.read_bytes() == before


def test_a_large_graph_has_its_tensors_beside_it(bundle, pictures, tmp_path, monkeypatch):
    out = tmp_path / "large.onnx"
    monkeypatch.setattr(embed, "ROOM", 1000)
    size = embed.save(embed.whole(bundle.folder / "model.onnx"), out)
    assert {p.name for p in tmp_path.iterdir()} == {"large.onnx", "large.onnx_data"}
    assert size == sum(p.stat().st_size for p in tmp_path.iterdir())
    (ours,) = onnxruntime.InferenceSession(out).run(None, {"input": pictures})
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    np.testing.assert_array_equal(ours, session.run(None, {"input": pictures})[0])
