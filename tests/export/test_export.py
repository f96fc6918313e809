"""A checkpoint becomes a bundle that others can load, with the proofs, or nothing at all."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fixtures.make import DIGITS, HOW, LABELS, PREPROCESS
from interop.data import Folder
from interop.errors import DeviceMissing, InteropError, ModelError
from interop.export import ExportOptions, export
from interop.export.embed import embed
from interop.facts import Answer, AxisState
from interop.identity import identify_file
from interop.proof import Derived, same_weights
from tests.export.conftest import of

ROOT = Path(__file__).resolve().parents[2]
PROOFS = ["loaded fraction", "same weights", "parity", "canary", "structure"]
FILES = {"README.md", "config.json", "interop.json", "model.onnx", "model.safetensors"}


def nothing_but(folder: Path, *names: str) -> bool:
    return {p.name for p in folder.iterdir()} - {"__pycache__"} == set(names)


# ---------------------------------------------------------------- the bundle


def test_all_five_proofs_hold_on_real_samples(bundle):
    report = bundle.report
    assert report.outcome is Answer.YES
    assert [p.name for p in report.proofs] == PROOFS
    assert all(p.holds and p.seconds > 0 for p in report.proofs)
    assert report.proofs[2].facts["samples"] == "real"
    assert report.details.route == "torchscript"  # no class of it looks at the batch
    assert report.details.attempts == ()
    assert report.details.conversion_seconds > 0 < report.details.proof_seconds
    assert set(report.details.files) == FILES
    assert nothing_but(bundle.folder, *FILES)
    assert nothing_but(bundle.folder.parent, bundle.folder.name)


def test_every_held_back_digit_is_answered_alike(bundle):
    """The whole held-back set through ONNX Runtime as anybody opens it, against torch."""
    from interop.models import build, load

    identity = of(DIGITS / "shufflenet.pth")
    module = build(identity)
    load(module, identity)
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    right = total = 0
    for batch in Folder(DIGITS / "heldout", LABELS).batches(HOW, 64):
        (ours,) = session.run(["output"], {"input": batch.pictures})
        with torch.inference_mode():
            native = module(torch.from_numpy(batch.pictures)).numpy()
        np.testing.assert_allclose(ours, native, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(ours.argmax(1), native.argmax(1))
        right += int((ours.argmax(1) == batch.labels).sum())
        total += len(batch.labels)
    assert total == 320
    assert right / total >= 0.96


def test_the_weights_are_there_once_and_load_strictly(bundle):
    source = torch.load(DIGITS / "shufflenet.pth", weights_only=True)["state_dict"]
    weights = load_file(bundle.folder / "model.safetensors")
    assert weights.keys() == source.keys()
    assert all(torch.equal(weights[n], source[n]) for n in source)
    graph = onnx.load(bundle.folder / "model.onnx", load_external_data=False).graph
    shared = [t for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    counters = [n for n in source if n.endswith("num_batches_tracked")]
    assert {t.name for t in shared} == source.keys() - set(counters)
    assert (bundle.folder / "model.onnx").stat().st_size < 200_000


def test_nothing_keeps_onnx_runtime_from_fusing(bundle):
    """Without folding, each convolution's bias is computed and no normalisation is fused."""
    from interop.runtimes import OnnxRuntime
    from interop.runtimes.onnx import nodes_by_provider

    with OnnxRuntime(bundle.folder / "model.onnx") as runtime:
        (nodes,) = nodes_by_provider(runtime._session).values()
    operators = {n.rpartition("(")[2].rstrip(")") for n in nodes}
    assert not operators & {"BatchNormalization", "Expand", "CastLike", "SplitToSequence"}


def test_labels_and_preprocessing_stand_in_all_three_places(bundle):
    config = json.loads((bundle.folder / "config.json").read_text())
    assert config["arch"] == "torchvision/shufflenet_v2_x0_5"
    assert config["labels"] == list(LABELS)
    assert config["preprocess"] == {"kind": "image", **PREPROCESS}
    assert config["inputs"] == [
        {"name": "input", "dtype": "float32", "shape": ["batch", 3, 64, 64]}
    ]
    with safe_open(bundle.folder / "model.safetensors", "pt") as file:
        header = file.metadata()
    assert header.pop("format") == "pt"
    properties = onnx.load(bundle.folder / "model.onnx", load_external_data=False).metadata_props
    for stated in (header, {p.key: p.value for p in properties}):
        assert stated.keys() - {"domain"} == {"arch", "labels", "preprocess"}
        assert stated["arch"] == "torchvision/shufflenet_v2_x0_5"
        assert json.loads(stated["labels"]) == list(LABELS)
        assert json.loads(stated["preprocess"]) == {"kind": "image", **PREPROCESS}


def test_what_was_written_is_read_as_what_it_is(bundle):
    source = of(DIGITS / "shufflenet.pth")
    for path in (bundle.folder, bundle.folder / "model.safetensors"):
        found = of(path)
        assert found.architecture == source.architecture
        assert found.labels.names == source.labels.names
        assert found.preprocessing == source.preprocessing
        assert found.head.path == "fc"
    assert of(bundle.folder / "model.onnx").labels.names == source.labels.names


def test_the_receipt_holds_the_hashes_the_route_and_every_figure(bundle):
    receipt = json.loads((bundle.folder / "interop.json").read_text())
    source = DIGITS / "shufflenet.pth"
    assert receipt["source"]["file"] == "shufflenet.pth"
    assert receipt["source"]["sha256"] == sha256(source.read_bytes()).hexdigest()
    for name, digest in receipt["files"].items():
        assert digest == sha256((bundle.folder / name).read_bytes()).hexdigest()
    assert set(receipt["files"]) == FILES - {"interop.json"}
    assert [p["name"] for p in receipt["proofs"]] == PROOFS
    parity = receipt["proofs"][2]["facts"]
    assert parity["batches"]["3"]["relative"] <= parity["batches"]["3"]["allowed"]
    assert receipt["route"] == "torchscript"
    assert receipt["key_map"]["prefix_removed"] == ""
    assert receipt["environment"]["torch"]


def test_the_card_is_of_measured_figures(bundle):
    card = (bundle.folder / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert "library_name: onnx" in front
    assert "pipeline_tag: image-classification" in front
    for proof in bundle.report.proofs:
        assert f"| {proof.name} | yes | {proof.what} |" in body
    assert "zero, one, two" in body
    assert "{{" not in body


def test_the_graph_tells_nothing_of_the_exporting_machine(bundle):
    data = (bundle.folder / "model.onnx").read_bytes()
    for text in (b"site-packages", str(ROOT).encode(), b"File ", b"stack_trace", b"pkg.torch"):
        assert text not in data
    model = onnx.load(bundle.folder / "model.onnx", load_external_data=False)
    assert not any(n.metadata_props or n.doc_string for n in model.graph.node)
    assert not any(v.metadata_props or v.doc_string for v in model.graph.value_info)


AGAIN = """
import sys
from pathlib import Path
from tests.export.conftest import of
from interop.export import ExportOptions, export
from interop.export.embed import embed
assert export(of(Path(sys.argv[1])), sys.argv[2]).exit_code == 0
"""


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path):
    source, one, again = DIGITS / "squeezenet.pth", tmp_path / "one", tmp_path / "again"
    assert export(of(source), one).outcome is Answer.YES
    command = [sys.executable, "-c", AGAIN, str(source), str(again)]
    subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)})
    for name in ("model.safetensors", "model.onnx", "config.json"):
        assert (again / name).read_bytes() == (one / name).read_bytes()


# ---------------------------------------------------------------- other kinds of models


def test_an_autoencoder_of_somebodys_own_class(tmp_path):
    reference = f"{ROOT}/fixtures/autoencoder.py:ConvAutoencoder"
    report = export(
        of(DIGITS / "autoencoder.pth"), tmp_path / "out", ExportOptions(factory=reference)
    )
    assert report.outcome is Answer.YES
    assert [p.name for p in report.proofs] == PROOFS
    assert report.proofs[4].facts["outputs"] == [[1, 3, 64, 64]]
    assert "flips" not in report.proofs[2].facts
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["arch"], config["labels"], config["model"]) == (None, None, reference)
    assert "num_classes" not in config


def test_all_outputs_are_proved_and_named(odd, tmp_path):
    report = odd("Several")
    assert report.outcome is Answer.YES
    graph = onnx.load(tmp_path / "out" / "model.onnx", load_external_data=False).graph
    assert [o.name for o in graph.output] == ["logits", "features", "top"]
    assert len(report.proofs[2].facts["native_error"]) == 3


def test_float16_is_exported_as_it_is(odd, tmp_path):
    report = odd("Plain", change=lambda s: {k: v.half() for k, v in s.items()})
    assert report.outcome is Answer.YES
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["head.weight"].dtype == torch.float16
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_bfloat16_is_widened_and_said(odd, tmp_path):
    report = odd("Plain", change=lambda s: {k: v.bfloat16() for k, v in s.items()})
    assert report.outcome is Answer.YES
    assert any("widened to float32" in note for note in report.details.notes)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    source = torch.load(tmp_path / "odd.pth", weights_only=True)
    assert all(t.dtype == torch.float32 for t in weights.values())
    assert all(torch.equal(weights[n], source[n].float()) for n in source)


def test_float64_fails_and_says_what_to_do(odd, tmp_path):
    report = odd("Plain", change=lambda s: {k: v.double() for k, v in s.items()})
    assert report.outcome is Answer.NO
    assert "save the checkpoint in float32" in report.proofs[-1].what
    assert not (tmp_path / "out").exists()


def axes(report):
    """What a report says of each named axis."""
    return {axis.name: axis for axis in report.details.domain if axis.name}


def test_a_branch_beyond_the_tried_sizes_is_looked_for(odd):
    """The trace notes the condition that led one way; beyond it the module is another one."""
    spec = "input=float32(batch,3,height:10,width:10)"
    report = odd("Tall", inputs=[spec])
    assert report.outcome is Answer.YES
    height = axes(report)["height"]
    assert (height.state, height.max) == (AxisState.RESTRICTED, 30)
    assert "height 31" in height.why
    free = odd("Plain", inputs=[spec], force=True)
    assert free.details.inputs[0].shape == ("batch", 3, "height", "width")
    assert {a.state for a in axes(free).values()} == {AxisState.OPEN}


def test_a_module_that_branches_on_its_batch_is_proved_on_one_side(odd):
    report = odd("Branches")
    assert report.outcome is Answer.YES
    batch = axes(report)["batch"]
    assert (batch.state, batch.min, batch.max) == (AxisState.RESTRICTED, 1, 4)
    assert "batch 5" in batch.why


def test_a_branch_on_the_batch_beyond_the_tried_sizes_is_looked_for(odd):
    report = odd("Crowds")
    assert report.outcome is Answer.YES
    batch = axes(report)["batch"]
    assert (batch.state, batch.max) == (AxisState.RESTRICTED, 20)


def test_a_batch_that_is_too_large_to_be_tried_is_not_open(odd, monkeypatch):
    from interop.proof import domain

    monkeypatch.setattr(domain, "LARGEST", 20 * 300)
    report = odd("Crowds")
    assert report.outcome is Answer.YES
    batch = axes(report)["batch"]
    assert (batch.state, batch.max) == (AxisState.RESTRICTED, 20)
    assert "not tried" in batch.why or "too large" in batch.why


def test_a_graph_that_draws_numbers_is_refused_whatever_it_drew(odd):
    report = odd("Lottery")
    assert report.outcome is Answer.NO
    (proof,) = [p for p in report.proofs if not p.holds]
    assert proof.name == "structure" and "draws random numbers" in proof.what


def test_a_module_that_answers_otherwise_after_some_calls_is_refused(odd):
    report = odd("Warms")
    assert report.outcome is Answer.NO
    assert any("random or keeps state" in p.what for p in report.proofs if not p.holds)


@pytest.mark.parametrize("name", ["Spoils", "Casts"])
def test_what_a_module_writes_into_misleads_no_proof(odd, name):
    report = odd(name)
    assert report.outcome is Answer.YES
    facts = report.proofs[2].facts
    assert facts["flips"] == 0
    assert all(b["allowed"] < 1e-4 for b in facts["batches"].values())


def test_answers_that_are_no_numbers_are_compared(odd):
    report = odd("Says")
    assert report.proofs[2].holds and "flips" not in report.proofs[2].facts


def test_each_output_has_its_own_name(odd, tmp_path):
    assert odd("Twice").outcome is Answer.YES
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    assert [o.name for o in session.get_outputs()] == ["logits", "again", "given", "weight"]
    rows = np.random.default_rng(0).standard_normal((2, 3, 10, 10), dtype=np.float32)
    (name,) = [i.name for i in session.get_inputs()]
    logits, again, given, _ = session.run(None, {name: rows})
    assert (logits == again).all() and (given == rows).all()


def test_constants_that_are_a_tensors_bytes_by_chance_are_accounted_for_once_embedded(
    odd, tmp_path
):
    def zeroed(state):
        return {n: torch.zeros_like(t) if n == "conv.bias" else t for n, t in state.items()}

    assert odd("Shifts", change=zeroed).outcome is Answer.YES
    embed(tmp_path / "out" / "model.onnx", tmp_path / "out" / "model.onnx")
    receipt = json.loads((tmp_path / "out" / "interop.json").read_text())
    derived = {n: Derived(d["how"], d["sha256"]) for n, d in receipt["derived"].items()}
    model, weights = (tmp_path / "out" / n for n in ("model.onnx", "model.safetensors"))
    assert same_weights(model, weights, derived).holds
    assert not same_weights(model, weights, {}).holds


def test_a_decision_on_values_that_tracing_would_fix_gives_no_bundle(odd, tmp_path, capsys):
    report = odd("Decides")
    assert capsys.readouterr().out == ""
    assert report.outcome is Answer.NO
    (proof,) = [p for p in report.proofs if not p.holds]
    assert "decides in Python on its input's values" in proof.what and "(odd.py:" in proof.what
    assert not (tmp_path / "out").exists()


def test_a_decision_on_shapes_that_tracing_fixed_is_noted(odd, tmp_path, monkeypatch):
    from interop.export import routes

    monkeypatch.setattr(routes, "ROUTES", [r for r in routes.ROUTES if not r.dynamo])
    report = odd("Sizes")
    assert report.details.route == "torchscript"
    (note,) = report.details.notes
    assert "odd.py:" in note
    assert note in (tmp_path / "out" / "README.md").read_text()
    # No weight is folded on this route either.
    assert report.proofs[1].facts["shared"] == 4


@pytest.mark.parametrize("name", ["Counts", "Noisy", "Drops"])
def test_a_module_that_is_random_or_keeps_state_gives_no_bundle(odd, tmp_path, name):
    report = odd(name)
    assert report.outcome is Answer.NO
    assert "random or keeps state" in next(p.what for p in report.proofs if not p.holds)
    assert len(report.details.attempts) == 1
    assert not (tmp_path / "out").exists()


def test_weights_cast_to_integers_get_a_remedy_that_fits(odd):
    with pytest.raises(ModelError, match="the module fails on an input") as error:
        odd("Plain", change=lambda s: {k: v.to(torch.int8) for k, v in s.items()})
    assert "conv.weight is int8" in error.value.fix
    assert "--preprocess" not in error.value.fix


def test_a_head_of_several_layers_comes_in_by_itself(derived, tmp_path):
    (tmp_path / "heads.py").write_text(
        "from torch import nn\n"
        "def mlp():\n"
        "    layers = nn.Dropout(0.2), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10)\n"
        "    return nn.Sequential(*layers)\n"
    )
    identity = of(derived / "mlp-head.pth")
    with pytest.raises(ModelError, match="several layers"):
        export(identity, tmp_path / "out")
    report = export(identity, tmp_path / "out", ExportOptions(head=f"{tmp_path}/heads.py:mlp"))
    assert report.outcome is Answer.YES
    assert report.proofs[3].facts["head"]["tensor"] == "fc.3.weight"


def test_a_classs_last_layer_need_not_give_its_first_output(odd):
    """What looks like the head of somebody's own class is a guess, and fails no export."""
    assert odd("FeaturesFirst").outcome is Answer.YES


def test_outputs_of_another_width_than_the_labels_fail(odd):
    report = odd("Plain", labels=("a", "b", "c"))
    assert report.outcome is Answer.NO
    (proof,) = [p for p in report.proofs if not p.holds]
    assert proof.name == "structure"
    assert "output width 5" in proof.what


# ---------------------------------------------------------------- failing


def test_the_trap_gives_no_bundle(tmp_path):
    """The classifier's architecture with the autoencoder's weights: nothing would load."""
    from dataclasses import replace

    classifier, coder = of(DIGITS / "shufflenet.pth"), of(DIGITS / "autoencoder.pth")
    report = export(replace(classifier, tensors=coder.tensors), tmp_path / "out")
    assert report.outcome is Answer.NO
    assert report.exit_code == 1
    assert [p.holds for p in report.proofs] == [False]
    assert [s.rule for s in report.skipped] == PROOFS[1:]
    assert "0 of 18 tensors fit" in report.proofs[0].what
    assert nothing_but(tmp_path)


def test_nan_weights_give_no_bundle_and_no_second_route(odd, tmp_path):
    def with_nan(state):
        state["conv.weight"][0, 0, 0, 0] = float("nan")
        return state

    report = odd("Plain", change=with_nan)
    assert report.outcome is Answer.NO
    failed = {p.name: p.what for p in report.proofs if not p.holds}
    assert "conv.weight" in failed["structure"]
    assert "not finite" in failed["parity"]
    assert [a.route for a in report.details.attempts] == ["dynamo"]
    assert nothing_but(tmp_path, "odd.py", "odd.pth")


def test_answers_that_differ_from_run_to_run_give_no_bundle(odd, tmp_path):
    report = odd("Random")
    assert report.outcome is Answer.NO
    assert not next(p for p in report.proofs if p.name == "parity").holds
    assert not (tmp_path / "out").exists()


def swapped(graph):
    """Gives two weights of one shape each other's numbers."""
    one, other = (graph.initializers[n] for n in ("one.weight", "other.weight"))
    one.const_value, other.const_value = other.const_value, one.const_value


def test_weights_that_an_exporter_swaps_are_no_equal_weights(odd, tmp_path, monkeypatch):
    from interop.export import routes

    convert = routes.convert

    def wrong(*given, **named):
        made = convert(*given, **named)
        swapped(made.model.graph)
        return made

    assert odd("Pair").outcome is Answer.YES
    monkeypatch.setattr(routes, "convert", wrong)
    report = odd("Pair", force=True)
    assert report.outcome is Answer.NO
    failed = [p for p in report.proofs if not p.holds]
    assert failed[0].name == "same weights"
    assert set(failed[0].facts["faults"]) == {"one.weight", "other.weight"}


def test_a_graph_that_points_at_another_weight_is_refused(odd, tmp_path, monkeypatch):
    import onnx_ir as ir

    from interop.export import graph

    write = graph.write

    def wrong(model, path, *given, **options):
        derived = write(model, path, *given, **options)
        made = ir.load(path)
        swapped(made.graph)
        path.write_bytes(ir.to_proto(made).SerializeToString())
        return derived

    monkeypatch.setattr(graph, "write", wrong)
    report = odd("Pair")
    assert report.outcome is Answer.NO
    failed = [p for p in report.proofs if not p.holds]
    assert failed[0].name == "same weights"
    assert failed[0].facts["faults"]["one.weight"] == "points at other.weight"
    assert not (tmp_path / "out").exists()


def test_a_comparison_that_cannot_see_gives_no_bundle(odd, tmp_path):
    report = odd("Dead")
    assert report.outcome is Answer.NO
    (proof,) = [p for p in report.proofs if not p.holds]
    assert proof.name == "canary"
    assert "goes unnoticed in conv.weight" in proof.what
    assert not (tmp_path / "out").exists()


def test_a_module_that_cannot_run_is_an_error_of_its_own(odd, tmp_path):
    with pytest.raises(ModelError, match="the module fails on an input of shape"):
        odd("Breaks")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="size of its input is in no file") as error:
        odd("NoSize")
    assert "--preprocess" in error.value.fix


def test_no_route_at_all_is_a_failed_proof(odd, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no translation for aten::strange\nlong advice")

    monkeypatch.setattr("interop.export.routes.convert", fails)
    report = odd("Plain")
    assert report.outcome is Answer.NO
    (proof,) = [p for p in report.proofs if not p.holds]
    assert proof.name == "structure"
    assert "no translation for aten::strange" in proof.what
    assert "long advice" not in proof.what
    # The optimiser comes after what raised, and is not tried.
    names = ["dynamo", "torchscript", "dynamo, fixed shapes", "torchscript, fixed shapes"]
    assert [a.route for a in report.details.attempts] == names
    assert all(a.seconds is not None for a in report.details.attempts)


# ---------------------------------------------------------------- whole, or not there


def test_a_target_that_is_taken_is_an_error_before_any_work(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(InteropError, match="a bundle is there already") as error:
        odd("Plain")
    assert "--force" in error.value.fix
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    assert odd("Plain", force=True).outcome is Answer.YES


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_bundle_is_never_replaced(odd, tmp_path, force):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(InteropError, match="is no bundle"):
        odd("Plain", force=force)
    assert nothing_but(tmp_path / "out", "thesis.txt")


def test_an_older_bundle_survives_a_failing_export(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    bad = odd("Plain", force=True, change=lambda s: {k: v * float("nan") for k, v in s.items()})
    assert bad.outcome is Answer.NO
    with pytest.raises(KeyboardInterrupt):
        odd("Plain", force=True, progress=interrupt_at("trying the comparison itself"))
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    assert nothing_but(tmp_path, "odd.py", "odd.pth", "out")


def interrupt_at(step):
    def progress(now):
        if now == step:
            raise KeyboardInterrupt

    return progress


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.export.conftest import of
from interop.export import ExportOptions, export
from interop.export.embed import embed
def progress(step):
    if step.startswith("proving parity"):
        os.kill(os.getpid(), signal.SIGKILL)
options = ExportOptions(factory=sys.argv[3], force=True)
export(of(Path(sys.argv[1])), sys.argv[2], options, progress=progress)
"""


def test_a_killed_export_leaves_no_bundle_and_is_swept_up_by_the_next(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    shutil.copy(tmp_path / "out" / "config.json", tmp_path / "before.json")
    arguments = [str(tmp_path / "odd.pth"), str(tmp_path / "out"), f"{tmp_path}/odd.py:Plain"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip
    assert done.returncode == -9
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".interop-")]
    assert len(left) == 1
    assert nothing_but(tmp_path / "out", *FILES)
    assert odd("Plain", force=True).outcome is Answer.YES
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".interop-")]


def test_killed_between_the_two_renames_the_older_bundle_returns(odd, tmp_path):
    assert odd("Plain").outcome is Answer.YES
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".interop-out.{gone.pid}").mkdir()
    (tmp_path / "out").rename(tmp_path / f".interop-out.{gone.pid}" / "old")
    bad = odd("Plain", change=lambda s: {k: v * float("nan") for k, v in s.items()})
    assert bad.outcome is Answer.NO
    assert nothing_but(tmp_path / "out", *FILES)


def test_cuda_that_is_not_there_is_said_before_any_work(odd, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    steps = []
    with pytest.raises(DeviceMissing):
        odd("Plain", device="cuda", progress=steps.append)
    assert steps == []
    assert nothing_but(tmp_path, "odd.py", "odd.pth")


def test_a_place_that_cannot_be_written_is_one_clear_error(odd, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InteropError, match="is no bundle"):
        odd("Plain")
    identity = of(DIGITS / "autoencoder.pth")
    reference = f"{ROOT}/fixtures/autoencoder.py:ConvAutoencoder"
    with pytest.raises(InteropError, match="cannot be written"):
        export(identity, tmp_path / "out" / "below", ExportOptions(factory=reference))


def test_a_bundle_is_not_written_over_the_weights_that_it_is_made_of(digits, tmp_path):
    folder = tmp_path / "bundle"
    assert export(identify_file(digits / "squeezenet.pth"), folder).outcome is Answer.YES
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InteropError, match="the very weights"):
        export(identify_file(folder), folder, ExportOptions(force=True))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    again = export(identify_file(folder), tmp_path / "again")
    assert again.outcome is Answer.YES
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before["model.safetensors"]
