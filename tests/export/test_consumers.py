"""Who gets a bundle opens it with other programs: each gives the numbers that Python gives.

One real digit, one real bundle: ONNX Runtime's two JavaScript builds, OpenVINO, onnx's own
reference, safetensors with torch, and what the Hub reads of the card.
"""

import json
import shutil
import subprocess
from hashlib import sha256

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import prepare
from interop.export import embed
from interop.export.fused_preprocessing import FILE, prepare_graph
from interop.export.precision import lower
from tests.helpers.npm import installed

# Outputs are up to 7 here; another order of the same float32 sums moves the sixth digit.
CLOSE = {"rtol": 0, "atol": 2e-5}

# argv: a package, a graph, its input's name, type, shape and bytes; "path data" of what lies beside
RUNNER = """
const {readFileSync} = require("fs");
const [name, graph, input, type, shape, bytes, beside] = process.argv.slice(2);
(async () => {
  const ort = require(name);
  const raw = readFileSync(bytes);
  const data = type === "uint8" ? new Uint8Array(raw)
    : new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
  const web = name === "onnxruntime-web";
  if (web) ort.env.wasm.numThreads = 1;
  const options = web ? {executionProviders: ["wasm"]} : {};
  if (web && beside) {
    const data = new Uint8Array(readFileSync(beside));
    options.externalData = [{path: "model.safetensors", data}];
  }
  const model = web ? new Uint8Array(readFileSync(graph)) : graph;
  const session = await ort.InferenceSession.create(model, options);
  const found = await session.run({[input]: new ort.Tensor(type, data, JSON.parse(shape))});
  const plain = {};
  for (const key of session.outputNames) plain[key] = Array.from(found[key].data);
  console.log(JSON.stringify(plain));
})().catch((error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.fixture(scope="module")
def digit():
    return Image.open(sorted((DIGITS / "heldout" / "seven").glob("*.png"))[0])


@pytest.fixture(scope="module")
def batch(digit):
    return prepare(digit, HOW)[None]


@pytest.fixture(scope="module")
def copy(bundle, tmp_path_factory):
    """The bundle's files, with the other graphs that an export can make beside them."""
    folder = tmp_path_factory.mktemp("consumers")
    for name in ("model.onnx", "model.safetensors", "config.json", "README.md"):
        shutil.copy(bundle.folder / name, folder)
    prepare_graph(folder / "model.onnx", folder / FILE, HOW, labels=LABELS, softmax=True)
    lower(folder / "model.onnx", folder / "model_fp16.onnx", "float16")
    lower(folder / "model.onnx", folder / "model_int8.onnx", "int8")
    alone = tmp_path_factory.mktemp("embedded") / "model.onnx"
    embed.embed(folder / "model.onnx", alone)
    return folder, alone


@pytest.fixture(scope="module")
def ours(copy, batch):
    return onnxruntime.InferenceSession(copy[0] / "model.onnx").run(None, {"input": batch})[0]


# ---------------------------------------------------------------- JavaScript


def in_node(package, graph, given, tmp_path, name="input", beside=""):
    program = installed(package, "1") / f"run-{sha256(RUNNER.encode()).hexdigest()[:8]}.cjs"
    if not program.exists():  # the package outlives changes of the program
        program.write_text(RUNNER)
    given = np.ascontiguousarray(given)
    (tmp_path / "given.bin").write_bytes(given.tobytes())
    order = [package, graph, name, str(given.dtype), json.dumps(given.shape), "given.bin", beside]
    done = subprocess.run(
        ["node", program, *map(str, order)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


JAVASCRIPT = pytest.mark.parametrize("package", ["onnxruntime-web", "onnxruntime-node"])


@JAVASCRIPT
def test_javascript_runs_the_embedded_graph(package, copy, batch, ours, tmp_path):
    found = in_node(package, copy[1], batch, tmp_path)
    np.testing.assert_allclose([found["output"]], ours, **CLOSE)


@JAVASCRIPT
def test_javascript_runs_the_graph_with_its_weights_beside_it(package, copy, batch, ours, tmp_path):
    beside = copy[0] / "model.safetensors"
    found = in_node(package, copy[0] / "model.onnx", batch, tmp_path, beside=beside)
    np.testing.assert_allclose([found["output"]], ours, **CLOSE)


@JAVASCRIPT
def test_javascript_takes_the_picture_itself(package, copy, digit, ours, tmp_path):
    pixels = np.asarray(digit.convert("RGB"))
    found = in_node(
        package, copy[0] / FILE, pixels, tmp_path, "image", copy[0] / "model.safetensors"
    )
    np.testing.assert_allclose([found["output"]], ours, **CLOSE)
    assert found["label"] == ["seven"]
    assert np.argmax(found["probabilities"]) == LABELS.index("seven")


@JAVASCRIPT
def test_javascript_runs_int8(package, copy, batch, ours, tmp_path):
    found = in_node(package, copy[0] / "model_int8.onnx", batch, tmp_path)
    assert np.abs(np.array([found["output"]]) - ours).max() < 0.02 * np.abs(ours).max()


def test_the_comparison_would_notice_another_picture(copy, batch, ours, tmp_path):
    found = in_node("onnxruntime-web", copy[1], batch[:, :, ::-1], tmp_path)
    assert np.abs(np.array([found["output"]]) - ours).max() > 0.1


# ---------------------------------------------------------------- Python


def in_openvino(path, given):
    openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    core = openvino.Core()
    # Its own default on some processors is bfloat16.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(path), "CPU", exact)({"input": given})[0]


def test_openvino_follows_the_weights_into_safetensors(copy, batch, ours):
    np.testing.assert_allclose(in_openvino(copy[0] / "model.onnx", batch), ours, **CLOSE)
    assert np.abs(in_openvino(copy[0] / "model.onnx", batch[:, :, ::-1]) - ours).max() > 0.1


def test_openvino_runs_the_embedded_graph_and_other_precisions(copy, batch, ours):
    np.testing.assert_allclose(in_openvino(copy[1], batch), ours, **CLOSE)
    largest = np.abs(ours).max()
    for name in ("model_fp16.onnx", "model_int8.onnx"):
        assert np.abs(in_openvino(copy[0] / name, batch) - ours).max() < 0.02 * largest


def test_onnxs_own_reference_computes_the_same(copy, batch, ours):
    from onnx.reference import ReferenceEvaluator

    (found,) = ReferenceEvaluator(str(copy[0] / "model.onnx")).run(None, {"input": batch})
    np.testing.assert_allclose(found, ours, **CLOSE)


def test_torch_loads_the_weights_strictly(copy, batch, ours):
    from safetensors.torch import load_file
    from torchvision.models import get_model

    config = json.loads((copy[0] / "config.json").read_text())
    module = get_model(config["arch"].split("/")[1], num_classes=config["num_classes"]).eval()
    weights = load_file(copy[0] / "model.safetensors")
    module.load_state_dict(weights, strict=True)
    with torch.inference_mode():
        np.testing.assert_allclose(module(torch.from_numpy(batch)).numpy(), ours, **CLOSE)
    weights.pop("fc.bias")
    with pytest.raises(RuntimeError, match=r"fc\.bias"):
        module.load_state_dict(weights, strict=True)


# ---------------------------------------------------------------- the Hub


def test_the_hub_reads_the_cards_metadata(copy):
    hub = pytest.importorskip("huggingface_hub", reason="the extra remote is not installed")
    card = hub.ModelCard.load(copy[0] / "README.md")
    data = card.data.to_dict()
    assert {"onnx", "safetensors"} <= set(data["tags"])
    assert data["library_name"] == "onnx"
    assert data["pipeline_tag"] == "image-classification"
    # No result is claimed that the Hub would show as an evaluation.
    assert card.data.eval_results is None
    assert all(isinstance(tag, str) for tag in data["tags"])
    assert card.text.strip().startswith("# ")
    again = hub.ModelCard(str(card))
    assert again.data.to_dict() == data


def test_a_broken_front_matter_would_be_noticed(copy, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="the extra remote is not installed")
    text = (copy[0] / "README.md").read_text()
    (tmp_path / "README.md").write_text(text.replace("tags:", "tags: [", 1))
    with pytest.raises(Exception, match=r"(?i)pars|expected|yaml|flow"):
        hub.ModelCard.load(tmp_path / "README.md")


def test_the_weights_header_says_what_they_mean(copy):
    from safetensors import safe_open

    with safe_open(copy[0] / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert json.loads(file.metadata()["labels"]) == list(LABELS)
