"""Both runtimes take and give host arrays, and neither calls the CPU CUDA."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils import _pytree

from interop.errors import ConfigError, DeviceMissing, ModelError
from interop.models.signature import Argument, Forward, Signature
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


@pytest.mark.parametrize("half", [False, True])
def test_a_ready_batch_gives_what_a_run_does_and_reads_the_callers_numbers(tmp_path, half):
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    module = Outputs().half() if half else Outputs()
    ways = [TorchRuntime(module, how=how) for how in ("eager", "script")]
    onnx_ways = [
        OnnxRuntime(graph(tmp_path / "g.onnx", kind), how=w) for w in ("plain", "io-binding")
    ]
    for runtime in [*ways, *onnx_ways]:
        batch = BATCH.copy()
        with runtime:
            ready = runtime.ready(batch)
            batch += 1  # casts and copies are made at each run, from the host's memory
            found = [np.asarray(t) for t in _pytree.tree_leaves(ready.run())]
            for ours, right in zip(found, runtime.outputs(batch), strict=True):
                assert ours.dtype == right.dtype
                np.testing.assert_array_equal(ours, right)


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
            "how": "eager",
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


def test_threads_are_put_back_in_whatever_order_runtimes_close():
    before = torch.get_num_threads()
    for order in ((0, 1), (1, 0)):
        two = [TorchRuntime(nn.Linear(6, 2), threads=before + n) for n in (1, 2)]
        two[order[0]].close()
        assert torch.get_num_threads() == before + (2 if order[0] == 0 else 1)
        two[order[1]].close()
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
        ([CPU], [CPU], "ONNX Runtime .* runs on CPUExecutionProvider instead"),
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


# ---------------------------------------------------------------- other ways of running


@pytest.mark.parametrize(
    ("how", "precision", "name"),
    [
        ("eager", None, "pytorch"),
        ("eager", "float32", "pytorch"),
        ("eager", "bfloat16", "pytorch bfloat16"),
        ("compile", None, "pytorch compile"),
        ("script", "float32", "pytorch torchscript"),
    ],
)
def test_every_way_of_pytorch_answers_alike_under_a_name_of_its_own(how, precision, name):
    module = Outputs().eval()
    right = module(torch.from_numpy(BATCH))["logits"].detach().numpy()
    with TorchRuntime(module, how=how, precision=precision) as runtime:
        first, second = runtime.outputs(BATCH)
        assert (runtime.name, runtime.conditions()["runtime"]) == (name, name)
        runtime.bind(BATCH).run()
        # A shape that was not there when it was compiled or traced.
        assert runtime.run(BATCH[:1]).shape == (1, 3)
    assert (first.dtype, second.dtype) == (np.float32, np.int64)
    near = 0.05 if precision == "bfloat16" else 1e-5  # of the largest output
    np.testing.assert_allclose(first, right, rtol=0, atol=near * np.abs(right).max())
    assert next(module.parameters()).dtype == torch.float32, "it was a copy that was converted"


class Branches(nn.Module):
    """A trace fixes the branch that its first batch took."""

    def forward(self, x):
        return x + 1 if x.shape[0] > 1 else x * 100


class Unscriptable(nn.Module):
    """No tracer or compiler follows it; it runs all the same."""

    def forward(self, x):
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise RuntimeError("not to be traced")
        return x


def test_a_trace_that_baked_a_size_in_is_made_anew():
    with TorchRuntime(Branches().eval(), how="script") as runtime:
        np.testing.assert_array_equal(runtime.run(BATCH), BATCH + 1)
        np.testing.assert_array_equal(runtime.run(BATCH[:1]), BATCH[:1] * 100)
        np.testing.assert_array_equal(runtime.run(BATCH), BATCH + 1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("compile", "compile cannot be had of this module: torch compiled nothing of it"),
        ("script", "torchscript cannot be had of this module: .*not to be traced"),
    ],
)
def test_a_module_that_cannot_be_compiled_is_one_clear_error(how, said):
    with (
        TorchRuntime(Unscriptable().eval(), how=how) as runtime,
        pytest.raises(ModelError, match=said),
    ):
        runtime.run(BATCH)


def test_more_shapes_than_are_compiled_each_for_itself():
    with TorchRuntime(nn.Linear(6, 2).eval(), how="compile") as runtime:
        for rows in range(1, 9):
            assert runtime.run(np.zeros((rows, 6), np.float32)).shape == (rows, 2)
        assert runtime.conditions()["graphs"] == 5, "four of their own, and one for all others"


def test_inputs_by_name_are_put_into_the_forwards_order():
    class Difference(nn.Module):
        def forward(self, a, b):
            return {"minus": a - b}

    axes = ("batch", 6)
    forward = Forward(Difference(), Signature((Argument("a", axes), Argument("b", axes))))
    with TorchRuntime(forward) as runtime:
        found = runtime.run({"b": BATCH, "a": 3 * BATCH, "unused": BATCH})
        np.testing.assert_array_equal(found, 2 * BATCH)
        with pytest.raises(ModelError, match="was given no b"):
            runtime.run({"a": BATCH, "c": BATCH})


def test_io_binding_gives_the_same_and_keeps_what_it_gave(tmp_path):
    with OnnxRuntime(graph(tmp_path / "a.onnx"), how="io-binding") as runtime:
        assert runtime.name == "onnxruntime io-binding"
        first = runtime.run(BATCH)
        second = runtime.run(BATCH + 1)
        np.testing.assert_array_equal(first, BATCH)
        np.testing.assert_array_equal(second, BATCH + 1)
        assert runtime.run(BATCH[:1]).shape == (1, 6)
        bound = runtime.bind(BATCH)
        bound.run()
        bound.run()
        for rows in range(1, 20):  # more shapes than it keeps
            assert runtime.run(np.zeros((rows, 6), np.float32)).shape == (rows, 6)
        bound.run()


def test_bound_numbers_are_not_the_callers(tmp_path):
    with OnnxRuntime(graph(tmp_path / "a.onnx"), how="io-binding") as runtime:
        batch = BATCH.copy()
        runtime.bind(batch)
        runtime.run(batch - 5)
        np.testing.assert_array_equal(batch, BATCH)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"how": "cuda-graph"},
            "onnxruntime:cuda-graph: a CUDA graph needs CUDA, and the device is cpu; "
            "leave onnxruntime:cuda-graph out, or run it where a CUDA device is, with --device",
        ),
        (
            {"provider": "NoSuchProvider"},
            "has no NoSuchProvider; it has .*CPUExecutionProvider; leave "
            "onnxruntime:NoSuchProvider out, or run it where a build",
        ),
        ({"provider": CUDA}, "CUDAExecutionProvider needs CUDA, and the device is cpu; leave"),
    ],
)
def test_what_this_machine_lacks_is_exit_3(tmp_path, monkeypatch, given, said):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(DeviceMissing, match=said) as error:
        OnnxRuntime(graph(tmp_path / "a.onnx"), **given)
    # It was asked for by its name: the CPU instead is no answer to that.
    assert "--device cpu" not in str(error.value)


def test_a_provider_of_the_build_that_does_not_start_is_told_by_its_lane(tmp_path, monkeypatch):
    name = "TensorrtExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: Fallen([CPU], [CPU]))
    said = f"onnxruntime:{name}: {name} does not start: .*TensorRT's libraries and a CUDA device"
    with pytest.raises(DeviceMissing, match=said) as error:
        OnnxRuntime(b"", provider=name)
    assert "--device cpu" not in str(error.value)


def test_a_provider_that_takes_no_node_is_not_that_provider(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Other"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: Fallen(["Other"], [CPU]))
    with pytest.raises(DeviceMissing, match=r"no node .* was given to Other") as error:
        OnnxRuntime(b"", provider="Other")
    assert error.value.where == "onnxruntime:Other"
    session = Fallen(["Other", CPU], ["Other"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: session)
    runtime = OnnxRuntime(b"", provider="Other", precision="int8")
    assert (runtime.name, runtime.elsewhere) == ("onnxruntime Other int8", ())


@pytest.mark.parametrize("kind", [TorchRuntime, OnnxRuntime])
def test_another_way_is_refused_by_name(tmp_path, kind):
    model = nn.Linear(6, 2) if kind is TorchRuntime else graph(tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="'fast' is no"):
        kind(model, how="fast")
