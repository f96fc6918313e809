"""What other tools write is proved, in each format; what is wrong in it is refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from interop import api
from interop.errors import ConfigError, ModelError, ReadError
from interop.export import ExportOptions
from interop.facts import Answer, Labels, ProofName
from interop.identity.metadata import read_preprocessing
from interop.verify.pipeline import VERIFIED

LEVELS = onnxruntime.GraphOptimizationLevel


def failing(report):
    return [p.name for p in report.proofs if not p.holds]


def proof(report, name):
    return next(p for p in report.proofs if p.name == name)


def optimised(path, level):
    out = path.with_name(f"{path.stem}-{level.name}.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.optimized_model_filepath = level, str(out)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return out


def by_torchscript(shop):
    return shop.graph()


def not_folded(shop):
    return shop.graph(do_constant_folding=False)


def by_dynamo(shop):
    return shop.graph(dynamo=True)


def not_optimised(shop):
    return shop.graph(dynamo=True, optimize=False)


def extended(shop):
    return optimised(shop.graph(), LEVELS.ORT_ENABLE_EXTENDED)


def laid_out(shop):
    return optimised(shop.graph(do_constant_folding=False), LEVELS.ORT_ENABLE_ALL)


def exported_program(shop):
    path = shop.folder / "net.pt2"
    given = (shop.example("Net"),)
    axes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(shop.module("Net"), given, dynamic_shapes=axes), path)
    return path


def torchscript(shop):
    path = shop.folder / "net.ts"
    torch.jit.trace(shop.module("Net"), shop.example("Net")).save(str(path))
    return path


def ir(shop):
    openvino = pytest.importorskip("openvino")
    path = shop.folder / "net.xml"
    openvino.save_model(openvino.convert_model(str(shop.graph())), path, compress_to_fp16=False)
    return path


MAKERS = [by_torchscript, not_folded, by_dynamo, not_optimised, extended, laid_out,
          exported_program, torchscript, ir]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_what_is_right_is_proved(shop, make):
    report = shop.verify(make(shop), trust=True)
    assert [(p.name, p.what) for p in report.proofs if not p.holds] == []
    assert report.outcome is Answer.YES
    assert [p.name for p in report.proofs] == list(VERIFIED)
    assert not report.skipped


def test_a_recurrent_net_has_its_gates_in_another_order(shop):
    report = shop.verify(shop.graph("Recurrent"), "Recurrent")
    assert report.outcome is Answer.YES
    assert "merged or split" in proof(report, "same weights").what


def test_a_graph_of_transformers_is_proved_against_its_folder(shop):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24, num_labels=4,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.BertForSequenceClassification(config).eval()
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.1
    folder, path = shop.folder / "bert", shop.folder / "bert.onnx"
    model.save_pretrained(folder)
    ids = torch.randint(8, 50, (2, 9))
    axes = {n: {0: "n", 1: "s"} for n in ("input_ids", "attention_mask")}
    torch.onnx.export(
        model, (ids, torch.ones_like(ids)), str(path), dynamo=False, dynamic_axes=axes,
        input_names=["input_ids", "attention_mask"], output_names=["logits"],
    )  # fmt: skip
    report = shop.verify(path, against=str(folder))
    assert report.outcome is Answer.YES
    assert {d.name for d in report.details.domain} >= {"batch", "sequence"}


# ---------------------------------------------------------------- what is wrong


def tensor(model, name):
    return next(t for t in model.graph.initializer if t.name == name)


def put(model, name, array):
    tensor(model, name).CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))


def values(model, name):
    return numpy_helper.to_array(tensor(model, name)).copy()


def node(model, kind, place=0):
    return [n for n in model.graph.node if n.op_type == kind][place]


def older_tensor(model):
    put(model, "mix.weight", values(model, "mix.weight") * 1.001)


def one_number(model):
    array = values(model, "head.weight")
    array[3, 5] *= 1.01
    put(model, "head.weight", array)


def rows_swapped(model):
    put(model, "head.weight", values(model, "head.weight")[[1, 0, *range(2, 20)]])


def bias_zeroed(model):
    put(model, "mix.bias", np.zeros(24, np.float32))


def under_anothers_name(model):
    put(model, "conv2.weight", values(model, "conv1.weight")[:, [0, 1, 2, 0, 1, 2, 0, 1]])


def square_transposed(model):
    gemm = node(model, "Gemm")
    next(a for a in gemm.attribute if a.name == "transB").i = 0


def other_activation(model):
    relu = node(model, "Relu")
    relu.op_type = "LeakyRelu"
    relu.attribute.append(helper.make_attribute("alpha", 0.01))


def slices_merged(model):
    """As an optimiser did (inisis/OnnxSlim#277): the second of two slices, of the whole input."""
    first, second = node(model, "Slice", 0), node(model, "Slice", 1)
    second.input[0] = first.input[0]


def batch_baked_in(model):
    reshape = node(model, "Slice", 2)
    shape = numpy_helper.from_array(np.array([2, -1], np.int64), "baked")
    model.graph.initializer.append(shape)
    model.graph.node.insert(
        list(model.graph.node).index(reshape),
        helper.make_node("Reshape", [reshape.input[0], "baked"], ["flat_for_two"]),
    )
    reshape.input[0] = "flat_for_two"


def nan_on_one_path(model):
    out = model.graph.output[0].name
    last = next(n for n in model.graph.node if out in n.output)
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Log", ["before"], [out]))


WRONG = {
    older_tensor: "same weights",
    one_number: "same weights",
    rows_swapped: "same weights",
    bias_zeroed: "same weights",
    under_anothers_name: "same weights",
    square_transposed: "parity",
    other_activation: "parity",
    slices_merged: "parity",
    batch_baked_in: "parity",
    nan_on_one_path: "structure",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda c: c.__name__)
def test_what_is_wrong_is_refused_by_the_proof_that_is_for_it(shop, change):
    unfolded = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
    report = shop.verify(shop.changed(change, **unfolded))
    assert report.outcome is Answer.NO
    assert WRONG[change] in failing(report)


def test_the_node_that_departs_is_named_with_its_module(shop, tmp_path):
    out = tmp_path / "departure"
    unfolded = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
    path = shop.changed(other_activation, **unfolded)
    report = shop.verify(path, explain_out=str(out))
    departure = report.details.departure
    assert departure.operator == "LeakyRelu"
    assert departure.folder == str(out)
    assert {"subgraph.onnx", "inputs.npz", "reproduce.py"} <= set(departure.files)
    session = onnxruntime.InferenceSession(out / "subgraph.onnx")
    assert [o.name for o in session.get_outputs()]


def test_the_slices_that_an_optimiser_merged_are_found_between_two_graphs(shop):
    before = shop.graph(do_constant_folding=False)
    path = shop.changed(slices_merged, do_constant_folding=False)
    assert shop.verify(before, against=str(before)).outcome is Answer.YES
    report = shop.verify(path, against=str(before))
    assert failing(report) == ["parity"]
    assert report.details.departure.operator == "Slice"


def test_a_layer_whose_scale_was_lost_is_found_where_the_logits_are_far_off(shop):
    """As an exporter's graph of Gemma (huggingface/optimum#1755), small: the embeddings' scale is
    another, the logits are far off, and the export "succeeded"."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GemmaConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.GemmaForCausalLM(config).eval()
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.3
    folder = shop.folder / "gemma"
    model.save_pretrained(folder)
    report = api.export(folder, shop.folder / "gemma-bundle", ExportOptions(embed=True))
    assert report.outcome is Answer.YES
    graph = shop.folder / "gemma-bundle" / "model.onnx"
    assert shop.verify(graph, against=str(folder)).outcome is Answer.YES
    broken = onnx.load(graph)
    scaled = next(n for n in broken.graph.node if n.op_type == "Mul")
    smaller = numpy_helper.from_array(np.array(2.0, np.float32), "smaller")
    broken.graph.initializer.append(smaller)
    scaled.input[1] = "smaller"
    path = shop.folder / "gemma-broken.onnx"
    onnx.save(broken, path)
    report = shop.verify(path, against=str(folder))
    assert "parity" in failing(report)
    departure = report.details.departure
    assert (departure.node, departure.module) == (scaled.name, "model.embed_tokens")


# ---------------------------------------------------------------- sizes


def test_the_other_branch_of_the_source_counts_where_the_graph_leaves_the_size_open(shop):
    axes = {"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n"}}
    path = shop.graph("Wide", dynamic_axes=axes)
    assert failing(shop.verify(path, "Wide")) == ["parity"]
    report = shop.verify(path, "Wide", inputs=("x=float32(batch,3,height:12,width:12)",))
    assert failing(report) == ["parity"]
    assert "width" in proof(report, "parity").what
    held = shop.verify(path, "Wide", inputs=("x=float32(batch,3,12,12)",))
    assert held.outcome is Answer.YES
    assert {(d.axis, d.state) for d in held.details.domain} >= {(2, "fixed"), (3, "fixed")}


# ---------------------------------------------------------------- another interface


def ends_in(kind, **attributes):
    def change(model):
        last = model.graph.output[0].name
        model.graph.node.append(helper.make_node(kind, [last], ["z"], **attributes))
        model.graph.output[0].name = "z"
        if kind == "ArgMax":
            model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
            del model.graph.output[0].type.tensor_type.shape.dim[1]

    return change


@pytest.mark.parametrize(
    ("function", "change"),
    [("softmax", ends_in("Softmax", axis=1)), ("sigmoid", ends_in("Sigmoid")),
     ("log_softmax", ends_in("LogSoftmax", axis=1)),
     ("argmax", ends_in("ArgMax", axis=1, keepdims=0))],
)  # fmt: skip
def test_a_function_at_the_end_is_stated_and_only_a_person_accepts_it(shop, function, change):
    path = shop.changed(change)
    report = shop.verify(path)
    assert report.outcome is Answer.UNKNOWN
    assert [s.rule for s in report.skipped] == [ProofName.PARITY, ProofName.CANARY]
    formula = f"z={function}(output)"
    assert f"--map-output '{formula}'" in report.skipped[0].why
    accepted = shop.verify(path, map_output=(formula,))
    assert "parity" not in failing(accepted)
    assert proof(accepted, "interface").facts["maps"] == {"z": f"{function}(output)"}
    if function != "argmax":  # whole numbers hide a change of 1 %
        assert accepted.outcome is Answer.YES


def test_a_wrong_function_is_not_accepted(shop):
    path = shop.changed(ends_in("Softmax", axis=1))
    report = shop.verify(path, map_output=("z=sigmoid(output)",))
    assert "parity" in failing(report)


HOW = '{"resize": [12, 12], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}'


def test_a_graph_that_prepares_bytes_itself_is_proved_through_a_formula(shop):
    def change(model):
        first = model.graph.input[0]
        first.name = "image"
        first.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        dims = first.type.tensor_type.shape.dim
        for dim, n in zip(list(dims)[1:], (12, 12, 3), strict=True):
            dim.dim_value = n
        arrays = {"by": np.float32(255), "mean": [[[0.4]], [[0.5]], [[0.6]]],
                  "std": [[[0.2]], [[0.3]], [[0.4]]]}  # fmt: skip
        for name, array in arrays.items():
            one = numpy_helper.from_array(np.array(array, np.float32), name)
            model.graph.initializer.append(one)
        steps = [
            helper.make_node("Cast", ["image"], ["f"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Div", ["t", "by"], ["d"]),
            helper.make_node("Sub", ["d", "mean"], ["s"]),
            helper.make_node("Div", ["s", "std"], ["x"]),
        ]
        for i, step in enumerate(steps):
            model.graph.node.insert(i, step)

    path = shop.changed(change)
    how = read_preprocessing(HOW)
    formula = "input=normalize(scale(nchw(image)))"
    report = shop.verify(path, preprocessing=how, map_input=(formula,))
    assert report.outcome is Answer.YES
    wrong = shop.verify(path, preprocessing=how, map_input=("input=scale(nchw(image))",))
    assert "parity" in failing(wrong)


def test_a_graph_that_normalises_is_recognised(shop):
    def change(model):
        model.graph.input[0].name = "image"
        for name, numbers in (("mean", [0.4, 0.5, 0.6]), ("std", [0.2, 0.3, 0.4])):
            array = np.array(numbers, np.float32).reshape(3, 1, 1)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        model.graph.node.insert(0, helper.make_node("Sub", ["image", "mean"], ["s"]))
        model.graph.node.insert(1, helper.make_node("Div", ["s", "std"], ["x"]))

    how = read_preprocessing(HOW)
    path = shop.changed(change)
    report = shop.verify(path, preprocessing=how)
    assert report.outcome is Answer.UNKNOWN
    assert "--map-input 'input=normalize(image)'" in report.skipped[0].why
    assert shop.verify(path, preprocessing=how, map_input=("input=normalize(image)",)).outcome is (
        Answer.YES
    )


def test_labels_in_the_graph_are_held_against_those_of_the_source(shop):
    names = tuple(f"kind {i}" for i in range(20))

    def state(model, stated):
        entry = model.metadata_props.add()
        entry.key, entry.value = "labels", json.dumps(list(stated))

    labels = Labels(names)
    same = shop.verify(shop.changed(lambda m: state(m, names)), labels=labels)
    assert same.outcome is Answer.YES
    other = shop.verify(shop.changed(lambda m: state(m, names[::-1])), labels=labels)
    assert failing(other) == ["interface"]
    assert "output 0 is 'kind 19'" in proof(other, "interface").what


# ---------------------------------------------------------------- a lower precision


class Samples(CalibrationDataReader):
    def __init__(self):
        draw = np.random.default_rng(0)
        self.batches = iter(
            [{"x": draw.standard_normal((4, 3, 12, 12)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self):
        return next(self.batches, None)


def static(shop):
    path = shop.folder / "static.onnx"
    if not path.exists():
        quantize_static(str(shop.graph()), str(path), Samples(), per_channel=True)
    return path


def dynamic(shop):
    path = shop.folder / "dynamic.onnx"
    quantize_dynamic(str(shop.graph()), str(path))
    return path


def half(shop):
    from onnxconverter_common import float16

    path = shop.folder / "half.onnx"
    model = float16.convert_float_to_float16(onnx.load(shop.graph()), keep_io_types=True)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("make", [static, dynamic, half], ids=lambda m: m.__name__)
def test_a_lower_precision_is_unknown_until_a_budget_decides(shop, make):
    path = make(shop)
    report = shop.verify(path)
    assert (report.outcome, failing(report)) == (Answer.UNKNOWN, [])
    assert "--budget" in report.skipped[0].why
    drift = next(m.value for m in report.measurements if m.name == "largest output difference")
    assert shop.verify(path, budgets=(f"drift={2 * drift}", "flips=50%")).outcome is Answer.YES
    tight = shop.verify(path, budgets=(f"drift={drift / 2}",))
    assert "parity" in failing(tight)


def test_a_scale_or_a_zero_point_that_is_off_is_refused(shop):
    def first_codes(model):
        return next(
            n for n in model.graph.node
            if n.op_type == "DequantizeLinear" and n.input[0].endswith("_quantized")
            and len(tensor(model, n.input[0]).dims) > 1
        )  # fmt: skip

    for place, change in ((1, lambda a: a * np.float32(1.02)), (2, lambda a: a + 1)):
        model = onnx.load(static(shop))
        name = first_codes(model).input[place]
        put(model, name, change(values(model, name)).astype(values(model, name).dtype))
        path = shop.folder / "off.onnx"
        onnx.save(model, path)
        report = shop.verify(path, budgets=("drift=0.9",))
        assert "same weights" in failing(report)


def test_codes_that_are_read_by_another_scale_than_written_are_unsound(shop):
    model = onnx.load(static(shop))
    made = {o: n for n in model.graph.node for o in n.output}
    pair = next(
        n for n in model.graph.node
        if n.op_type == "DequantizeLinear" and getattr(made.get(n.input[0]), "op_type", "") ==
        "QuantizeLinear"
    )  # fmt: skip
    other = values(model, pair.input[1]) * np.float32(1.001)
    model.graph.initializer.append(numpy_helper.from_array(other, "other_scale"))
    pair.input[1] = "other_scale"
    path = shop.folder / "unlike.onnx"
    onnx.save(model, path)
    report = shop.verify(path, budgets=("drift=0.9",))
    assert "structure" in failing(report)
    assert "another scale" in proof(report, "structure").what


# ---------------------------------------------------------------- what cannot be read or matched


def test_without_a_source_it_says_how_to_name_one(shop):
    with pytest.raises(ConfigError, match="--against"):
        shop.verify(shop.graph(), against=None)


def test_a_checkpoint_is_no_artefact(shop):
    with pytest.raises(ReadError, match="nothing in it to run"):
        shop.verify(shop.source("Net"))


def test_external_data_that_are_missing(shop, tmp_path):
    model = onnx.load(shop.graph())
    path = tmp_path / "far.onnx"
    onnx.save(model, path, save_as_external_data=True, location="far.data", size_threshold=0)
    assert shop.verify(path).outcome is Answer.YES
    (tmp_path / "far.data").unlink()
    with pytest.raises(ReadError, match=r"far\.data"):
        shop.verify(path)


def test_a_truncated_graph(shop, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(shop.graph().read_bytes()[:-900])
    with pytest.raises(ReadError, match="cut off"):
        shop.verify(path)


def test_inputs_that_cannot_be_matched(shop):
    def more(model):
        model.graph.input.append(
            helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, [1, 4])
        )

    with pytest.raises(ConfigError, match="cannot be matched"):
        shop.verify(shop.changed(more))


def test_an_output_that_the_source_does_not_give(shop):
    def more(model):
        value = helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, None)
        model.graph.output.append(value)
        model.graph.node.append(helper.make_node("Neg", [model.graph.output[0].name], ["other"]))

    with pytest.raises(ModelError, match="other"):
        shop.verify(shop.changed(more))


def test_a_map_that_is_none(shop):
    with pytest.raises(ConfigError, match="softmax"):
        shop.verify(shop.graph(), map_output=("y=softmx(output)",))
    with pytest.raises(ConfigError, match="no output"):
        shop.verify(shop.graph(), map_output=("y=softmax(nothing)",))


def test_a_program_is_not_run_unless_it_is_trusted(shop):
    with pytest.raises(ModelError, match="--trust"):
        shop.verify(torchscript(shop))


def test_a_value_that_cannot_be_handed_out_does_not_end_the_verification(shop):
    """ONNX Runtime gives no bfloat16 to numpy, and so the node is not looked for."""

    def rounded(model):
        last = model.graph.output[0].name
        maker = next(n for n in model.graph.node if last in n.output)
        maker.output[0] = "wide"
        narrow = helper.make_node("Cast", ["wide"], ["narrow"], to=onnx.TensorProto.BFLOAT16)
        back = helper.make_node("Cast", ["narrow"], [last], to=onnx.TensorProto.FLOAT)
        model.graph.node.extend([narrow, back])

    report = shop.verify(shop.changed(rounded))
    assert failing(report) == ["parity"]
    assert report.details.departure is None
    assert "could not be looked for" in " ".join(report.notes)
