"""What the reader calls unsound is what onnx.checker refuses, but for what is listed here."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, defs, helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

from interop.reading import read
from interop.reading.formats import onnx as reader
from interop.reading.formats.onnx_soundness import TABLE
from tests.conftest import Run
from tests.reading import onnx_operators

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of making the suite's numbers

SHARE = 6  # of the suite's models, one in so many is changed in each way

# What the checker refuses and the reader passes, by its message: no fault of names or operators.
STRICTER = {
    "attribute": r"[Aa]ttribute",
    "BatchNormalization up to opset 13, of 1 or 5 outputs": r"not in allowed output sizes",
    "a name that is empty": r"Field 'name' of .* is required",
    "weights that are no inputs, up to IR version 3": r"in initializer but not in graph input",
    "a function's opset beside the model's": r"not compatible with the version imported by model",
    "'ai.onnx' as a node's domain, which is the default one": r"for domain 'ai\.onnx'",
}
LATER = "an opset later than the table's, of which only the checker judges what it knows"
# What the reader refuses and the checker passes.
LAXER = {
    "a function's output that nothing computes": r"^function .* is not computed",
    "operators of the preview domains, which are there or not": r"ai\.onnx\.preview",
}


def faults(model: ModelProto, folder: Path) -> tuple[str, ...]:
    """What the reader says of it, which it must take for ONNX."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    graph = read(path).graph
    assert graph is not None
    return graph.faults


def refused(model: ModelProto) -> str:
    """The first line of what the checker says against it."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        return str(error).partition("\n")[0]
    return ""


def disagreement(model: ModelProto, folder: Path) -> str:
    """How the two differ: "" where they agree, the reason where it is listed, else both words."""
    ours, theirs = faults(model, folder), refused(model)
    if bool(ours) is bool(theirs):
        return ""
    if not ours and any(one.version > defs.onnx_opset_version() for one in model.opset_import):
        return LATER
    listed, words = (LAXER, " ".join(ours)) if ours else (STRICTER, theirs)
    reasons = [reason for reason, pattern in listed.items() if re.search(pattern, words)]
    return reasons[0] if reasons else f"not listed: {ours} | {theirs}"


@pytest.fixture(scope="module")
def suite() -> list[ModelProto]:
    """The models of ONNX's own tests of backends, without those that have to be downloaded."""
    models = [case.model for case in collect_testcases(None) if case.model is not None]
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        cases = load_model_tests(kind=kind)
        models += [onnx.load(str(Path(c.model_dir, "model.onnx"))) for c in cases if c.model_dir]
    assert len(models) > 1900
    return models


def test_the_table_is_the_installed_onnxs() -> None:
    assert TABLE.read_text("utf-8") == onnx_operators.text(), (
        "python -m tests.reading.onnx_operators"
    )


def test_no_model_of_onnxs_own_tests_is_called_unsound(
    suite: list[ModelProto], tmp_path: Path
) -> None:
    for model in suite:
        assert (faults(model, tmp_path), refused(model)) == ((), ""), model.graph.name


# ---------------------------------------------------------------- changed ones


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])


def composed() -> ModelProto:
    """A model with a function, weights, two domains, and branches that take names from around."""
    branches = [
        helper.make_graph([helper.make_node("Add", ["a", "w"], ["b"])], "branch", [], [value("b")])
        for _ in range(2)
    ]
    body = [helper.make_node("Relu", ["in"], ["mid"]), helper.make_node("Neg", ["mid"], ["out"])]
    function = helper.make_function(
        "own", "Own", ["in"], ["out"], body, [helper.make_opsetid("", 17)]
    )
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    nodes = [
        helper.make_node("Own", ["x"], ["a"], domain="own"),
        helper.make_node("If", ["flag"], ["c"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Scaler", ["c"], ["d"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]),
        helper.make_node("Add", ["d", "w"], ["y"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.5])
    graph = helper.make_graph(nodes, "g", [value("x"), flag], [value("y")], [weight])
    opsets = [helper.make_opsetid(d, v) for d, v in (("", 17), ("ai.onnx.ml", 3), ("own", 1))]
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)


def test_what_is_put_together_is_sound(tmp_path: Path) -> None:
    assert (faults(composed(), tmp_path), refused(composed())) == ((), "")


def bodies(model: ModelProto) -> list[Any]:
    """The graph, each function and each graph within a node, the outermost first."""
    found: list[Any] = [model.graph, *model.functions]
    for body in found:
        for node in body.node:
            for attribute in node.attribute:
                found += [attribute.g] if attribute.HasField("g") else []
                found += attribute.graphs
    return found


def nodes(model: ModelProto) -> list[NodeProto]:
    return [node for body in bodies(model) for node in body.node]


Change = Callable[[ModelProto], Any]


def each_node(change: Callable[[NodeProto, ModelProto], Any], most: int = 3) -> Iterator[Change]:
    """The change at the first node, at the last, and at one between."""
    for at in (0, -1, 1)[:most]:

        def made(model: ModelProto, at: int = at) -> None:
            found = nodes(model)
            change(found[min(at, len(found) - 1)], model)

        yield made


def _set(values: Any, at: int, value: str) -> None:
    if values:
        values[at] = value


def _import(model: ModelProto, version: int) -> None:
    for one in model.opset_import:
        one.version = version if one.domain == "" else one.version


def _swap(body: Any) -> None:
    found = list(body.node)[::-1]
    del body.node[:]
    body.node.extend(found)


def _again(model: ModelProto, at: int) -> None:
    body = bodies(model)[at]
    body.node.extend(list(body.node)[:1])


CHANGES: dict[str, Sequence[Change]] = {
    "no opset": [lambda m: m.ClearField("opset_import")],
    "no import of a domain": [lambda m: m.opset_import.pop()],
    "another opset": [lambda m, v=v: _import(m, v) for v in (1, 6, 9, 10, 12, 15, 28, 99)],
    "the same output twice": [lambda m: _again(m, 0), lambda m: _again(m, -1)],
    "a use of nothing": list(each_node(lambda n, m: _set(n.input, 0, "nowhere"))),
    "a use of what comes later": list(each_node(lambda n, m: _set(n.input, -1, n.output[0]))),
    "nodes backwards": [lambda m: _swap(m.graph), lambda m: _swap(bodies(m)[-1])],
    "a node gone": [lambda m: m.graph.node.pop(), lambda m: m.graph.node.pop(0),
                    lambda m: bodies(m)[-1].node and bodies(m)[-1].node.pop(0)],
    "an unknown operator": list(each_node(lambda n, m: setattr(n, "op_type", "NoSuchOp"))),
    "another operator": list(each_node(lambda n, m: setattr(n, "op_type", "Add"))),
    "a removed operator": list(each_node(lambda n, m: setattr(n, "op_type", "Upsample"))),
    "a domain without import": list(each_node(lambda n, m: setattr(n, "domain", "com.example"))),
    "a domain of one's own": [
        lambda m: (m.opset_import.append(helper.make_opsetid("com.example", 1)),
                   setattr(m.graph.node[0], "domain", "com.example"))],
    "another domain of ONNX": [lambda m, d=d: (m.opset_import.append(helper.make_opsetid(d, 1)),
                                               setattr(m.graph.node[0], "domain", d))
                               for d in ("ai.onnx.ml", "ai.onnx.preview.training")],
    "a value too many": list(each_node(lambda n, m: n.input.extend(list(n.input)[:1] * 9))),
    "an output too many": list(each_node(lambda n, m: n.output.extend(["more", "other", "last"]))),
    "a value too few": list(each_node(lambda n, m: n.input and n.input.pop())),
    "no output": list(each_node(lambda n, m: n.ClearField("output"))),
    "a value left out": list(each_node(lambda n, m: _set(n.input, 0, ""))),
    "an output left out": list(each_node(lambda n, m: _set(n.output, 0, ""))),
    "an output of an input's name": list(each_node(
        lambda n, m: _set(n.output, 0, m.graph.input[0].name if m.graph.input else "a"))),
    "no weights": [lambda m: (m.graph.ClearField("initializer"))],
    "a weight twice": [lambda m: m.graph.initializer.extend(list(m.graph.initializer)[:1])],
    "an input twice": [lambda m: m.graph.input.extend(list(m.graph.input)[:1]),
                       lambda m: hasattr(bodies(m)[-1].input, "append")
                       and bodies(m)[-1].input.extend(list(bodies(m)[-1].input)[:1])],
    "no inputs": [lambda m: m.graph.ClearField("input")],
    "an output of nothing": [lambda m: setattr(m.graph.output[0], "name", "nowhere"),
                             lambda m: setattr(bodies(m)[-1].output[0], "name", "nowhere")
                             if not isinstance(bodies(m)[-1].output[0], str) else None],
    "a function's output of nothing": [lambda m: _set(m.functions[0].output, 0, "nowhere")
                                       if m.functions else None],
    "a function without opsets": [
        lambda m: m.functions and m.functions[0].ClearField("opset_import")],
    "names that are empty": [lambda m: m.graph.ClearField("name")],
    "an old IR version": [lambda m: setattr(m, "ir_version", 3)],
    "'ai.onnx'": list(each_node(lambda n, m: setattr(n, "domain", n.domain or "ai.onnx"))),
    "a function of another opset": [
        lambda m: m.functions and setattr(m.functions[0].opset_import[0], "version", 5)],
    "no functions": [lambda m: m.ClearField("functions")],
    "a first node of all again": [lambda m: m.graph.node.insert(0, m.graph.node[-1])],
}  # fmt: skip


def test_changed_models_are_unsound_to_both_or_to_none(
    suite: list[ModelProto], tmp_path: Path
) -> None:
    rich = [m for m in suite if len(bodies(m)) > 1 or m.functions or len(m.graph.node) > 4]
    seen: Counter[str] = Counter()
    unsound: Counter[str] = Counter()
    tried = 0
    for n, (name, changes) in enumerate(CHANGES.items()):
        for change in changes:
            for base in [composed(), *suite[n :: SHARE * 20], *rich[n % SHARE :: SHARE]]:
                model = ModelProto()
                model.CopyFrom(base)
                change(model)
                if not nodes(model):
                    continue
                tried += 1
                differs = disagreement(model, tmp_path)
                assert not differs.startswith("not listed"), (name, base.graph.name, differs)
                seen[differs] += 1
                unsound[name] += bool(refused(model))
    assert tried > 1000
    assert set(seen) <= {"", LATER, *STRICTER, *LAXER} and len(seen) > 6
    # The checker lets a function give what it does not compute; domains of one's own are allowed.
    sound = {"a function's output of nothing", "a domain of one's own", "no functions"}
    assert {name for name in CHANGES if not unsound[name]} == sound


def model(
    nodes: Sequence[NodeProto],
    *,
    inputs: str = "x",
    output: str = "y",
    opset: int = 17,
    **more: Any,
) -> ModelProto:
    """A model of these nodes, from the inputs to one output."""
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = helper.make_graph(nodes, "g", [*map(value, inputs.split()), flag], [value(output)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)


def branched(inner: NodeProto, output: str) -> NodeProto:
    branch = helper.make_graph([inner], "branch", [], [value(output)])
    return helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)


node = helper.make_node
UNORDERED = ": the nodes are out of order or form a cycle"
UNSOUND = [
    (
        model([node("Add", ["x", "no"], ["y"], name="add")]),
        "node 'add' (Add) uses 'no', which nothing before it defines",
    ),
    (
        model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]),
        "node 'y' (Neg) defines 'y', which is defined already",
    ),
    (
        model([node("Relu", ["x"], ["x"]), node("Relu", ["x"], ["y"])]),
        "node 'x' (Relu) defines 'x', which is defined already",
    ),
    (
        model([node("Relu", ["z"], ["y"]), node("Relu", ["x"], ["z"])]),
        "node 'y' (Relu) uses 'z', which is computed only later" + UNORDERED,
    ),
    (
        model([node("Add", ["x", "z"], ["y"]), node("Relu", ["y"], ["z"])]),
        "node 'y' (Add) uses 'z', which is computed only later" + UNORDERED,
    ),
    (model([node("Relu", ["x"], ["y"])], output="q"), "output 'q' is not computed by its graph"),
    (model([node("Relu", ["x"], ["y"])], inputs="x x"), "input 'x' is defined twice"),
    (
        model([branched(node("Relu", ["no"], ["z"]), "z")]),
        "node 'z' (Relu) uses 'no', which nothing before it defines",
    ),
    (
        model([branched(node("Relu", ["x"], ["x"]), "x")]),
        "node 'x' (Relu) defines 'x', which is defined already",
    ),
    (model([branched(node("Relu", ["x"], ["z"]), "x")]), "output 'x' is not computed by its graph"),
    (
        model([node("NoSuchOp", ["x"], ["y"])]),
        "node 'y' (NoSuchOp): ai.onnx 17 has no operator NoSuchOp",
    ),
    (
        model([node("Gelu", ["x"], ["y"])]),
        "node 'y' (Gelu): ai.onnx 17 has no operator Gelu; it came with 20",
    ),
    (
        model([node("Upsample", ["x", "x"], ["y"])]),
        "node 'y' (Upsample): Upsample was removed in ai.onnx 10, and 17 is imported",
    ),
    (
        model([node("Own", ["x"], ["y"], domain="own")]),
        "operators of 'own' are used, and the model has no opset import for it",
    ),
    (model([node("Add", ["x"], ["y"])]), "node 'y' (Add) has 1 inputs, and Add has 2"),
    (model([node("Clip", ["x"] * 4, ["y"])]), "node 'y' (Clip) has 4 inputs, and Clip has 1 to 3"),
    (
        model([node("Concat", [], ["y"], axis=0)]),
        "node 'y' (Concat) has 0 inputs, and Concat has 1 or more",
    ),
    (model([node("Add", ["x", ""], ["y"])]), "node 'y' (Add) leaves input 2 out, which Add needs"),
]


@pytest.mark.parametrize(("unsound", "said"), UNSOUND, ids=[said[:50] for _, said in UNSOUND])
def test_a_fault_is_said_in_a_sentence(
    unsound: ModelProto, said: str, tmp_path: Path, interop: Run
) -> None:
    assert said in faults(unsound, tmp_path) and refused(unsound)
    onnx.save(composed(), tmp_path / "sound.onnx")
    done = interop("inspect", "model.onnx", cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr + " ".join(done.stdout.split())
    (tmp_path / "p.toml").write_text("")
    judged = ["gate", "model.onnx", "--baseline", "sound.onnx", "--policy", "p.toml"]
    for command in (["check", "--for", "replace", "sound.onnx", "model.onnx"], judged):
        done = interop(*command, "--format", "json", cwd=tmp_path)
        assert done.returncode == 1 and "graph-invalid" in done.stdout, command
    done = interop("inspect", "sound.onnx", cwd=tmp_path)
    assert done.returncode == 0 and "graph-invalid" not in done.stdout


def test_many_faults_are_counted(tmp_path: Path, interop: Run) -> None:
    made = model([node("Relu", [f"no {n}"], [f"z{n}"]) for n in range(20)], output="z0")
    onnx.save(made, tmp_path / "a.onnx")
    done = interop("inspect", "a.onnx", cwd=tmp_path)
    assert done.stdout.count("error  graph-invalid") == 8 and "(12 more faults)" in done.stdout


def test_the_time_grows_with_the_nodes_alone(tmp_path: Path) -> None:
    taken = []
    for size in (4_000, 40_000):
        chain = [node("Add", [f"v{n}", f"v{n // 2}"], [f"v{n + 1}"]) for n in range(size)]
        chain += [node("Relu", [f"no {n}"], [f"w{n}"]) for n in range(size // 8)]
        graph = helper.make_graph(chain, "g", [value("v0")], [value(f"v{size}")])
        onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
        scope = reader._Reader(reader.Source(str(tmp_path / "a.onnx")))
        scope.read()
        start = time.perf_counter()
        assert len(reader.onnx_soundness.faults(scope.root, (), scope.opsets, 10)) == 100
        taken.append(time.perf_counter() - start)
    assert taken[1] < 40 * taken[0] + 0.05 and taken[1] < 1


def test_functions_and_graphs_within_have_names_of_their_own(tmp_path: Path) -> None:
    made = composed()
    made.functions[0].node.extend([node("Relu", ["x"], ["other"])])
    assert faults(made, tmp_path) == (
        "function 'Own': node 'other' (Relu) uses 'x', which nothing before it defines",
    )
    made = composed()
    made.functions[0].node[0].op_type = "Gelu"
    assert faults(made, tmp_path)[0].startswith(
        "function 'Own': node 'mid' (Gelu): ai.onnx 17 has no operator"
    )
