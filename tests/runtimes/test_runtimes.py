"""Both runtimes take and give host arrays, and neither calls the CPU CUDA."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from interop.errors import ConfigError, DeviceMissing, ModelError
from interop.runtimes import OnnxRuntime, Runtime, TorchRuntime
from interop.runtimes.onnx import PROVIDERS

BATCH = np.arange(12, dtype=np.float32).reshape(2, 6)


class Outputs(nn.Module):
    """Two outputs in a mapping; one of them whole numbers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        y = self.layer(x)
        return {"logits": y, "nested": (y.argmax(1),)}


def graph(path, kind=TensorProto.FLOAT, op="Relu"):
    """x -> op(x), batch dynamic."""
    x, y = (helper.make_tensor_value_info(n, kind, ["batch", 6]) for n in "xy")
    made = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="only")], "g", [x], [y])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def test_a_module_gives_all_its_tensors_in_order():
    module = Outputs()
    with TorchRuntime(module) as runtime:
        assert isinstance(runtime, Runtime)
        first, second = runtime.outputs(BATCH)
        np.testing.assert_array_equal(runtime.run(BATCH), first)
    assert (first.dtype, second.dtype) == (np.float32, np.int64)
    with torch.no_grad():
        np.testing.assert_array_equal(first, module.layer(torch.from_numpy(BATCH)).numpy())


def test_half_precision_is_cast_on_the_way_in_and_out(tmp_path):
    with TorchRuntime(nn.Linear(6, 2).half()) as runtime:
        assert runtime.run(BATCH).dtype == np.float32
        assert runtime.conditions()["dtype"] == "float16"
    with OnnxRuntime(graph(tmp_path / "h.onnx", TensorProto.FLOAT16)) as runtime:
        np.testing.assert_array_equal(runtime.run(BATCH), BATCH)
        assert runtime.conditions()["dtype"] == "float16"


def test_onnx_runs_any_batch_from_a_file_or_from_bytes(tmp_path):
    path = graph(tmp_path / "a.onnx")
    for model in (path, path.read_bytes()):
        with OnnxRuntime(model, threads=1) as runtime:
            np.testing.assert_array_equal(runtime.run(-BATCH), np.zeros_like(BATCH))
            assert runtime.run(BATCH[:1]).shape == (1, 6)
            assert runtime.input_shape == ("batch", 6)
            assert runtime.elsewhere == ()


def test_conditions_say_what_a_figure_depends_on(tmp_path):
    with TorchRuntime(nn.Linear(6, 2), threads=1) as runtime:
        assert runtime.conditions() == {
            "runtime": "pytorch",
            "torch": torch.__version__,
            "device": "cpu",
            "threads": 1,
            "dtype": "float32",
            "tf32": False,
        }
    with OnnxRuntime(graph(tmp_path / "a.onnx"), threads=1) as runtime:
        conditions = runtime.conditions()
    assert conditions["providers"] == ["CPUExecutionProvider"]
    assert conditions["threads"] == 1
    assert conditions["onnxruntime"] == onnxruntime.__version__


def test_the_threads_of_the_process_are_put_back():
    before = torch.get_num_threads()
    with TorchRuntime(nn.Linear(6, 2), threads=before + 1) as runtime:
        assert torch.get_num_threads() == before + 1
        runtime.close()
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_cuda_that_is_not_there_is_exit_3(tmp_path):
    with pytest.raises(DeviceMissing) as error:
        TorchRuntime(nn.Linear(6, 2), "cuda")
    assert error.value.exit_code == 3
    with pytest.raises(DeviceMissing) as error:
        OnnxRuntime(graph(tmp_path / "a.onnx"), "cuda")
    assert error.value.exit_code == 3
    assert "interop doctor" in error.value.fix


class Fallen:
    """A session that was asked for CUDA and quietly runs on the CPU."""

    def __init__(self, providers, landed):
        self.providers, self.landed = providers, landed

    def get_providers(self):
        return self.providers

    def disable_fallback(self):
        pass

    def get_inputs(self):
        class Input:
            type, name, shape = "tensor(float)", "x", ["batch", 6]

        return [Input()]

    def get_provider_graph_assignment_info(self):
        class Node:
            name, op_type = "only", "Relu"

        class Part:
            def __init__(self, name):
                self.ep_name = name

            def get_nodes(self):
                return [Node()]

        return [Part(name) for name in self.landed]


CPU, CUDA = PROVIDERS["cpu"], PROVIDERS["cuda"]


@pytest.mark.parametrize(
    ("providers", "landed", "said"),
    [
        ([CPU], [CPU], "runs on CPUExecutionProvider instead"),
        ([CUDA, CPU], [CPU], "no node .* was given to CUDAExecutionProvider"),
    ],
)
def test_a_provider_that_fell_back_is_never_called_cuda(monkeypatch, providers, landed, said):
    monkeypatch.setattr("interop.runtimes.onnx._load_cuda_libraries", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: Fallen(providers, landed))
    with pytest.raises(DeviceMissing, match=said):
        OnnxRuntime(b"", "cuda")


def test_nodes_that_landed_elsewhere_are_listed(monkeypatch):
    monkeypatch.setattr("interop.runtimes.onnx._load_cuda_libraries", lambda: None)
    session = Fallen([CUDA, CPU], [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: session)
    assert OnnxRuntime(b"", "cuda").elsewhere == ("only (Relu) on CPUExecutionProvider",)


def test_what_cannot_run_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="ONNX Runtime refuses the graph"):
        OnnxRuntime(graph(tmp_path / "a.onnx", op="NoSuchOperator"))
    with pytest.raises(ModelError, match=r"its input x is a tensor\(string\)"):
        OnnxRuntime(graph(tmp_path / "b.onnx", TensorProto.STRING, op="Identity"))
    with pytest.raises(ConfigError, match="no device"):
        TorchRuntime(nn.Linear(6, 2), "tpu")
