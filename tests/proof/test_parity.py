"""The proof "parity", and what it must not let pass."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from interop.export.routes import ROUTES
from interop.models.signature import BATCH, Argument, Forward, Signature, seeded
from interop.proof import Feed, parity, reference
from interop.proof import graph as graphs
from interop.proof.parity import FLOOR, MULTIPLE, Reference, differences, elsewhere
from interop.runtimes import OnnxRuntime, TorchRuntime
from tests.proof.conftest import SHAPE, Small, fed, made, small

FIXED = next(r for r in ROUTES if not r.open and r.dynamo)
TRACED = next(r for r in ROUTES if r.open and not r.dynamo)


def prove(exported, module=None):
    with OnnxRuntime(exported.model) as runtime:
        held = reference(module or exported.module, fed(), shapes=runtime.input_shapes)
        return parity(held, runtime)


def test_it_holds_at_batches_of_1_2_and_3(exported):
    proof = prove(exported)
    assert proof.holds
    assert list(proof.facts["batches"]) == ["1", "2", "3"]
    assert proof.facts["against"] == "float64"
    assert (proof.facts["predictions"], proof.facts["flips"]) == (6, 0)
    assert proof.seconds > 0


def test_the_bound_is_the_stated_multiple_of_natives_own_error(exported):
    held = reference(exported.module, fed())
    with torch.inference_mode():
        x = torch.from_numpy(seeded(SHAPE)[:1])
        exact = small().double()(x.double())
        error = (exported.module(x) - exact).abs().max() / exact.abs().max()
    assert held.native_error[0] == pytest.approx(float(error))
    first = MULTIPLE * held.native_error[0] + FLOOR * np.finfo(np.float32).eps
    assert held.bounds[0][0] == pytest.approx(first)
    assert held.bounds[1][0] == held.bounds[2][0] == pytest.approx(first + held.native_error[0])
    assert first < 1e-5


def test_other_weights_fail(exported):
    model = graphs.read(exported.model)
    for tensor in model.graph.initializer:
        if tensor.name == "middle.weight":
            other = exported.module.again.weight.numpy()
            tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
    exported.model.write_bytes(model.SerializeToString())
    proof = prove(exported)
    assert not proof.holds
    assert proof.what.startswith("batch 1: outputs ")


def test_a_graph_of_a_module_in_train_mode_fails(tmp_path):
    training = made(small().train(), tmp_path, TRACED)
    assert not prove(training, small()).holds


def test_a_native_side_in_train_mode_fails(exported):
    assert not prove(exported, small().train()).holds


class Branches(Small):
    """Answers otherwise in a batch of more than two."""

    def forward(self, x):
        y = super().forward(x)
        return y * 1.01 if x.shape[0] > 2 else y


def test_a_module_that_branches_on_its_batch_fails_at_the_batch_it_shows(tmp_path):
    module = Branches()
    module.load_state_dict(small().state_dict())
    proof = prove(made(module.eval(), tmp_path))
    assert not proof.holds
    assert proof.what.startswith("batch 3: ")


def test_nan_is_not_accurate(tmp_path):
    module = small()
    module.middle.weight[0, 0, 0, 0] = float("nan")
    proof = prove(made(module, tmp_path))
    assert not proof.holds
    assert "not finite" in proof.what


def test_a_fixed_batch_axis_is_recorded(tmp_path):
    proof = prove(made(small(), tmp_path, FIXED))
    assert proof.holds
    assert proof.facts["fixed_batch"] == 1
    assert list(proof.facts["batches"]) == ["1"]
    assert "batches of 1 alone" in proof.what


def test_a_graph_that_says_dynamic_and_is_not_fails(tmp_path):
    exported = made(small(), tmp_path, FIXED)
    model = graphs.read(exported.model)
    shape = helper_shape(model)
    reshape = onnx.helper.make_node("Reshape", ["output", "shape"], ["fixed"])
    model.graph.node.append(reshape)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 5]), "shape"))
    model.graph.output[0].name = "fixed"
    shape.dim[0].dim_param = "batch"
    exported.model.write_bytes(model.SerializeToString())
    proof = prove(exported)
    assert not proof.holds
    assert proof.what.startswith("batch 2: it fails")


def helper_shape(model):
    """The input's shape, its batch to be opened; the output's is left to ONNX Runtime."""
    model.graph.output[0].type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model.graph.input[0].type.tensor_type.shape


class Two(Small):
    def forward(self, x):
        features = self.features(x)
        y = self.head(features)
        return y, features, y.argmax(1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_output_counts(which):
    module = Two()
    module.load_state_dict(small().state_dict())
    module.eval().requires_grad_(False)
    held = reference(module, fed())
    assert len(held.bounds[0]) == 3

    def run(batch, off=None):
        outputs = [t.numpy() for t in module(torch.from_numpy(batch["input"]))]
        if off is not None:
            outputs[off] = outputs[off] + np.asarray(1e-2, outputs[off].dtype) + (off == 2)
        return tuple(outputs)

    assert all(d.holds for d in differences(held, run))
    assert not any(d.holds for d in differences(held, lambda b: run(b, which)))


def test_outputs_of_another_shape_or_number_fail(exported):
    held = reference(exported.module, fed())
    for run in (lambda b: (), lambda b: (np.zeros((len(b["input"]), 4), np.float32),)):
        assert not any(d.holds for d in differences(held, run))
        assert "of shape" in differences(held, run)[0].fault


def test_flips_and_close_calls_are_counted():
    native = (np.array([[1.0, 2.0], [5.0, 5.0 + 1e-6]], np.float32),)
    flipped = (np.array([[1.0, 2.0], [5.0 + 1e-6, 5.0]], np.float32),)
    batch = np.zeros((2, 3), np.float32)
    held = Reference((batch,), (native,), (native,), ((1e-5,),), (0.0,), "native")

    class Fake:
        device = "cpu"

        def outputs(self, batch):
            return flipped

    proof = parity(held, Fake())
    assert proof.holds
    assert (proof.facts["flips"], proof.facts["close"]) == (1, 1)
    assert "1 of 2 predictions flip" in proof.what


class Float32Inside(Small):
    """Cannot run in float64: a constant of its own is float32."""

    def forward(self, x):
        return torch.nn.functional.linear(self.features(x), torch.ones(5, 8))


def test_without_a_float64_run_the_bound_is_stated(tmp_path):
    module = Float32Inside()
    module.load_state_dict(small().state_dict())
    held = reference(module.eval(), fed())
    assert held.against == "native"
    assert held.bounds[0] == (1e-4,)


def test_few_pictures_are_used_again():
    held = reference(small(), fed(2, "real"))
    assert [len(b["input"]) for b in held.batches] == [1, 2, 3]
    assert held.samples == "real"


class Counts(Small):
    """Counts its calls in Python."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + self.calls


class Keeps(Small):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1e-3
        return super().forward(x) + self.calls


class Noisy(Small):
    def forward(self, x):
        y = super().forward(x)
        return y + 1e-7 * torch.randn_like(y)


@pytest.mark.parametrize("shape", [None, {"input": (1, *SHAPE)}])
@pytest.mark.parametrize("kind", [Counts, Keeps, Noisy])
def test_a_module_that_is_random_or_keeps_state_fails(kind, shape):
    module = kind()
    module.load_state_dict(small().state_dict())
    held = reference(module.eval().requires_grad_(False), fed(), shapes=shape)
    assert held.unsteady

    class Alike:
        """A graph that happens to agree with every answer of the first run."""

        device = "cpu"
        answers = iter(held.truth)

        def outputs(self, batch):
            return next(self.answers)

    proof = parity(held, Alike())
    assert not proof.holds and "random or keeps state" in proof.what
    assert not proof.facts["repeatable"]


@pytest.mark.parametrize("kind", [Small, Counts])
def test_an_answer_from_before_stands_for_the_second_one(kind, monkeypatch):
    module = kind()
    module.load_state_dict(small().state_dict())
    module.eval().requires_grad_(False)
    first = fed().one()
    with torch.inference_mode():
        before = module(torch.from_numpy(first["input"])).numpy().copy()
    ran, real = [], Small.forward
    monkeypatch.setattr(Small, "forward", lambda m, x: ran.append(len(x)) or real(m, x))
    held = reference(module, fed(), answered=(first, (before,)))
    assert ran == [1, 1, 2, 3]  # in float64, and natively once
    assert held.unsteady is (kind is Counts)
    ran.clear()
    others = {"input": first["input"] + 1}
    assert not reference(module, fed(), answered=(others, (before,))).unsteady or kind is Counts
    assert ran == [1, 1, 2, 3, 1]


def test_what_a_module_prints_stays_off_stdout(capsys):
    class Talks(Small):
        def forward(self, x):
            print("forward")
            return super().forward(x)

    reference(Talks().eval().requires_grad_(False), fed(), shapes={"input": (1, *SHAPE)})
    said = capsys.readouterr()
    assert said.out == ""
    assert "forward" in said.err


def test_a_batch_beyond_the_bound_is_judged_by_a_float64_run_of_its_own(exported):
    """Three rows may stray further from native than one row's distance from float64 allows."""
    with OnnxRuntime(exported.model) as runtime:
        held = reference(exported.module, fed(), shapes=runtime.input_shapes)
        tight = replace(held, bounds=(*held.bounds[:2], (1e-12,)))
        assert [d.holds for d in differences(tight, runtime.outputs)] == [True, True, False]
        proof = parity(tight, runtime)
        assert proof.holds
        assert proof.facts["by_their_own_float64"] == ["3"]
        assert proof.facts["batches"]["3"]["allowed"] > 1e-7
        blind = replace(tight, widely=lambda batch: None)
        assert not parity(blind, runtime).holds

        class Off:
            device = "cpu"

            def outputs(self, batch):
                return tuple(o * 1.001 for o in runtime.outputs(batch))

        assert not parity(tight, Off()).holds
    # What was judged so has no bound by which a canary could be noticed.
    assert tight.without(["3"]).labels == ("1", "2")


class OneSize(nn.Module):
    """Takes rows of 16 alone, and its graph any: nothing is to be compared at another size."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != 16:
            raise ValueError("rows of 16 are wanted")
        return x * self.scale


def test_what_the_module_itself_refuses_is_not_compared():
    module, takes = OneSize().eval(), Signature((Argument("input", (BATCH, 16)),))
    feed = Feed.of(np.random.default_rng(0).standard_normal((9, 16), dtype=np.float32))
    held = reference(module, feed)
    forward = Forward(module, takes)
    with TorchRuntime(forward) as native:
        short, fine = np.zeros((2, 15), np.float32), np.ones((5, 16), np.float32)
        told = native.outputs
        assert elsewhere(held, forward, native, told, lambda seed: short, "15") is None
        assert elsewhere(held, forward, native, told, lambda seed: fine, "16").holds
        wrong = elsewhere(held, forward, native, lambda b: (1.1 * b,), lambda seed: fine, "16")
        assert not wrong.holds and wrong.relative > 0.05


def test_a_number_that_native_computes_by_luck_to_its_last_digit_is_judged_with_others():
    """One scalar near zero: a bound made of it alone would call rounding a difference."""

    class Sum(nn.Module):
        def forward(self, x):
            return x.sum(1, keepdim=True)

    def row(seed):
        noise = np.random.default_rng(seed).standard_normal((1, 999), dtype=np.float32)
        return np.concatenate([noise, -noise.sum(1, keepdims=True) + 1e-3], 1)

    def backwards(batch):
        return (np.cumsum(batch[:, ::-1], 1, dtype=np.float32)[:, -1:],)

    module = Sum().eval()
    held = reference(module, Feed.of(np.ones((6, 1000), np.float32)))
    forward = Forward(module, Signature((Argument("x", (BATCH, 1000)),)))
    with TorchRuntime(forward) as native:
        alone = replace(held, widely=lambda batch: None)
        assert not elsewhere(alone, forward, native, backwards, row, "1").holds
        off = elsewhere(held, forward, native, lambda b: (backwards(b)[0] + 0.1,), row, "1")
        assert not off.holds


def test_a_module_that_refuses_its_own_size_is_an_error():
    module = OneSize().eval()
    with pytest.raises(ValueError, match="rows of 16"):
        reference(module, Feed.of(np.zeros((9, 15), np.float32)))
