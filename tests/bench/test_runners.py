"""Runner specs, and the runners made of them, of a real fixture and of a small text model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interop.bench import process
from interop.bench.runners import Contender, RunnerSpec, parse, prepare_contenders
from interop.errors import ConfigError, DeviceMissing, ModelError
from interop.export import ExportOptions, export
from interop.facts import Answer
from interop.identity import identify_file
from interop.models.signature import drawn


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("pytorch", RunnerSpec("pytorch")),
        ("pytorch:eager", RunnerSpec("pytorch")),
        ("pytorch:compile", RunnerSpec("pytorch", how="compile")),
        ("pytorch:torchscript:float16", RunnerSpec("pytorch", "float16", "torchscript")),
        ("pytorch:bfloat16", RunnerSpec("pytorch", "bfloat16")),
        ("onnxruntime:io-binding", RunnerSpec("onnxruntime", how="io-binding")),
        ("onnxruntime:int8-static", RunnerSpec("onnxruntime", "int8-static")),
        (
            "onnxruntime:TensorrtExecutionProvider",
            RunnerSpec("onnxruntime", provider="TensorrtExecutionProvider"),
        ),
        ("openvino", RunnerSpec("openvino")),
    ],
)
def test_a_spec_is_read_and_written(text: str, spec: RunnerSpec) -> None:
    assert RunnerSpec.parse(text) == spec
    assert RunnerSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tensorflow", r"'tensorflow' is no runtime.*pytorch, onnxruntime, openvino"),
        ("pytorch:int8", r"'int8' is no way of pytorch.*compile.*bfloat16"),
        ("onnxruntime:fast", r"'fast' is no way of onnxruntime.*io-binding.*CPUExecutionProvider"),
        ("pytorch:compile:torchscript", "says its how twice"),
        ("pytorch:", "'' is no way"),
    ],
)
def test_a_part_that_is_unknown_names_those_that_are_known(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunnerSpec.parse(text)


def test_each_lane_is_asked_for_once() -> None:
    assert parse(["pytorch", "onnxruntime", "pytorch:eager"]) == (
        RunnerSpec("pytorch"), RunnerSpec("onnxruntime"),
    )  # fmt: skip


SPECS = (
    "pytorch", "pytorch:torchscript", "pytorch:bfloat16", "onnxruntime", "onnxruntime:io-binding",
    "onnxruntime:cuda-graph", "onnxruntime:int8-static", "onnxruntime:float16",
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runners") / "squeezenet"
    assert export(identify_file(digits / "squeezenet.pth"), out).outcome is Answer.YES
    return out


@pytest.fixture(scope="module")
def contender(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    calls: list[str] = []

    def calibrate(role: str, takes: Any) -> Any:
        calls.append(role)
        return [{**drawn(takes, 4, seed=n), "no input": np.zeros(4)} for n in range(3)]

    made = prepare_contenders(
        [identify_file(bundle)],
        tmp_path_factory.mktemp("scratch"),
        specs=SPECS,
        threads=1,
        calibrate=calibrate,
    )
    assert isinstance(made, list) and calls == ["A"], "only the one runner that needs it asks"
    yield made[0]
    made[0].close()


def test_all_lanes_of_a_bundle_answer_alike(contender: Contender) -> None:
    names = [r.name for r in contender.runtimes]
    assert names == [
        "pytorch", "pytorch torchscript", "pytorch bfloat16", "onnxruntime",
        "onnxruntime io-binding", "onnxruntime int8-static", "onnxruntime float16",
    ]  # fmt: skip
    batch = drawn(contender.signature, 3, seed=9)
    right = contender.runtimes[0].run(batch)
    assert right.shape == (3, 10)
    scale = np.abs(right).max()
    for runtime in contender.runtimes:
        (name,) = contender.named(runtime, batch)
        assert name == contender.forward.outputs[0] == "output"
        exact = runtime.name in ("pytorch torchscript", "onnxruntime", "onnxruntime io-binding")
        far = np.abs(runtime.run(batch) - right).max() / scale
        assert far <= (1e-4 if exact else 0.3), runtime.name
        lower = not exact and runtime.name != "pytorch"
        assert not lower or far > 0, f"{runtime.name} computes as float32 does"


def test_a_lane_that_cannot_be_had_is_skipped_with_the_reason(contender: Contender) -> None:
    (skipped,) = contender.skipped
    assert skipped.rule == "A onnxruntime:cuda-graph"
    assert "needs CUDA" in skipped.why


def test_where_no_lane_is_left_it_is_an_error(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceMissing, match="a CUDA graph needs CUDA"):
        prepare_contenders([identify_file(bundle)], tmp_path, specs=["onnxruntime:cuda-graph"])


def test_static_ranges_need_samples(bundle: Path, tmp_path: Path) -> None:
    made = prepare_contenders(
        [identify_file(bundle)], tmp_path, specs=["onnxruntime", "onnxruntime:int8-static"]
    )
    assert isinstance(made, list)
    assert "needs samples" in made[0].skipped[0].why
    assert [str(x.spec) for x in made[0].runners] == ["onnxruntime"]
    made[0].close()


def test_in_a_process_of_its_own_each_lane_starts_and_meets_new_shapes(
    contender: Contender,
) -> None:
    samples = drawn(contender.signature, 2)
    found = process.measure([contender], [samples], lambda line: None, (1, 2))
    for name in ("cold start", "peak memory", "first run"):
        assert len([m for m in found if m.name == name]) == len(contender.runners)
    firsts = [m for m in found if m.name == "first run"]
    assert {m.conditions["batch"] for m in firsts} == {2}
    assert all(m.value and m.conditions["steady_ms"] > 0 for m in firsts)
    traced = next(m for m in firsts if m.conditions["runtime"] == "pytorch torchscript")
    assert traced.value and traced.value > traced.conditions["steady_ms"]


def test_a_process_that_fails_says_why(contender: Contender) -> None:
    with pytest.raises(ModelError, match=r"failed in a process of its own: RuntimeError: Exp"):
        process._child(contender, contender.runners[0], [{"nothing": np.zeros((1, 1), np.float32)}])


def test_a_model_of_several_inputs_and_outputs_goes_by_names(tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40,
    )  # fmt: skip
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "bert")
    made = prepare_contenders(
        [identify_file(tmp_path / "bert")],
        tmp_path / "scratch",
        specs=["pytorch", "onnxruntime", "onnxruntime:int8"],
        threads=1,
        options=ExportOptions(),
    )
    assert isinstance(made, list)
    one = made[0]
    assert set(one.signature.names) >= {"input_ids", "attention_mask"}
    batch = drawn(one.signature, 2)
    backwards = dict(reversed(batch.items()))
    native = one.named(one.runtimes[0], backwards)
    exported = one.named(one.runtimes[1], backwards)
    assert list(native) == list(exported) == ["start_logits", "end_logits"]
    for name in native:
        np.testing.assert_allclose(native[name], exported[name], atol=1e-4)
    assert one.runtimes[2].name == "onnxruntime int8"
    found = process.measure(made, [batch], lambda line: None)
    shapes = [m.conditions["shape"] for m in found if m.name == "first run"]
    assert shapes and all("sequence" in s for s in shapes), "another length is a new shape"
    one.close()
