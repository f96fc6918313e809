"""The mutation study: faults change graphs, its log goes on, its stored figures meet the goals."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from benchmarks import mutation, readme
from benchmarks.mutation_faults import FAULTS, applied
from benchmarks.mutation_graph import Graph


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        return self.head(self.second(self.first(x).sigmoid()) + x)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("mutation") / "model.onnx"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = Net().eval()
        module.norm.running_mean.normal_()
        torch.onnx.export(
            module, (torch.randn(2, 3, 8, 8),), str(path), dynamo=False, input_names=["x"],
            output_names=["y"], do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    return path


HERE = ["two weights of one shape swapped", "square matrix transposed", "one number changed",
        "bias dropped", "padding", "leaky for plain", "residual dropped", "epsilon",
        "statistics swapped", "class rows permuted", "softmax added", "nan on one path",
        "dropout of training", "colours reversed", "scores shifted"]  # fmt: skip


@pytest.mark.parametrize("name", HERE)
def test_a_fault_changes_the_graphs_answers(graph, tmp_path, name):
    changed = Graph(graph, ("x",))
    seed = next(s for s in range(20) if applied(FAULTS[name], Graph(graph, ("x",)), (s,)))
    assert applied(FAULTS[name], changed, (seed,))
    path = tmp_path / "model.onnx"
    changed.save(path)
    given = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    before = onnxruntime.InferenceSession(graph).run(None, given)[0]
    session = onnxruntime.InferenceSession(path)
    runs = 100 if name == "dropout of training" else 1  # which drops a few values now and then
    after = np.stack([session.run(None, given)[0] for _ in range(runs)])
    if name == "nan on one path" and np.isfinite(after).all():
        assert (before >= 0).all()
    else:
        assert not np.allclose(before[None], after, equal_nan=True)
    onnx.checker.check_model(str(path))


def test_a_fault_without_a_place_changes_nothing(graph):
    for name in ("order of gates", "mask ignored", "scale off", "labels permuted"):
        assert not applied(FAULTS[name], Graph(graph, ("x",)), (0,))


def test_the_log_goes_on_where_it_was(tmp_path):
    path = tmp_path / "verify.jsonl"
    said = {"outcome": "no", "failing": ["parity"], "what": "w"}
    mutation.Log(path).add(("a", "b"), {"right": True}, lambda: said)
    again = mutation.Log(path)
    again.add(("a", "b"), {}, lambda: pytest.fail("it is known"))
    again.add(("a", "c"), {}, lambda: 1 / 0)
    assert [r["outcome"] for r in mutation.Log(path).rows] == ["no", "fault"]


def row(name, outcome, failing, apart=1.0, proofs=("parity",)):
    return {"key": ["m", "t", name], "fault": name, "proofs": list(proofs), "apart": apart,
            "outcome": outcome, "failing": failing}  # fmt: skip


def test_what_counts_as_refused():
    rows = [
        row("right proof", "no", ["parity"]), row("another proof", "no", ["structure"]),
        row("stated", "unknown", []), row("passes", "yes", []),
        row("equal", "yes", [], apart=1e-9), row("broken", "no", ["structure"], apart=None),
    ]  # fmt: skip
    found = mutation.scores(rows)
    assert (found["mutants"], found["refused by the right proof"]) == (4, 2)
    assert [s[2] for s in found["survivors"]] == ["another proof", "passes"]
    assert [s[2] for s in found["equivalent"]] == ["equal"]
    assert found["do not load"] == 1


def test_the_stored_study_meets_its_goals_and_the_page_has_it():
    stored = json.loads((readme.RESULTS / "mutation.json").read_text())
    assert len(stored["models"]) == 10
    assert mutation.met(stored["goals"]) and stored["right"]["not proved"] == []
    worse = {**stored["goals"], "mutation score": {"measured": 0.98, "goal": 0.99}}
    assert not mutation.met(worse)
    block = readme.MUTATION.search(readme.VERIFY_PAGE.read_text("utf-8"))
    assert block.group(0).splitlines()[2:-2] == readme.mutation()
