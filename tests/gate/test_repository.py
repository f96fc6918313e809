"""All models of a repository in one go: the changed are judged, the others come from the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interop.errors import ConfigError
from interop.facts import Report
from interop.gate.repository import cache as caches
from interop.gate.repository import run as many
from interop.gate.repository.cache import Cache
from interop.gate.repository.run import gate_all
from interop.policy.policy import Policy, read_policy
from interop.report.json import to_json
from interop.sweep import SweepOptions
from tests.gate.test_git import pointer
from tests.helpers.git import git

POLICY = Policy(values=False)


@pytest.fixture
def repository(tmp_path: Path, digits: Path, derived: Path) -> Path:
    """main holds six models; then one is retrained and one has its labels permuted."""
    root = tmp_path / "repository"
    (root / "models").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for name in ("good", "bad", "same0", "same1", "same2", "same3"):
        shutil.copy(digits / "shufflenet.pth", root / "models" / f"{name}.pth")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "models")
    shutil.copy(derived / "retrained.pth", root / "models" / "good.pth")
    shutil.copy(derived / "relabelled.pth", root / "models" / "bad.pth")
    return root


def states(report: Report) -> dict[str, tuple[str, str]]:
    return {m.path: (m.state, m.outcome) for m in report.details.models}


def run(root: Path, **more: Any) -> Report:
    how = SweepOptions(jobs=more.pop("workers", None))
    policy, baseline = more.pop("policy", POLICY), more.pop("baseline", "git:main:")
    return gate_all(root, policy, baseline, how=how, **more)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_is_held_against_the_same_path(repository: Path, workers: int) -> None:
    report = run(repository, workers=workers)
    assert report.exit_code == 1
    assert states(report) == {
        "models/bad.pth": ("changed", "no"),
        "models/good.pth": ("changed", "yes"),
        **{f"models/same{n}.pth": ("unchanged", "yes") for n in range(4)},
    }
    assert [(i.role, i.path) for i in report.inputs] == [
        ("FAIL", "models/bad.pth"), ("pass", "models/good.pth"),
    ]  # fmt: skip
    assert set(to_json(report.details.models[0])) == {
        "path", "state", "outcome", "summary", "findings", "cached",
    }  # fmt: skip
    (found,) = report.findings
    assert found.rule == "label-order-changed" and found.place == "models/bad.pth"
    assert found.facts["model"] == "models/bad.pth"
    assert report.summary == "1 of 6 models fail, 5 pass (4 unchanged, 0 from the cache)"
    shutil.copy(repository / "models" / "good.pth", repository / "models" / "bad.pth")
    assert run(repository, workers=workers).exit_code == 0


def test_new_broken_and_removed_models_are_told(repository: Path, derived: Path) -> None:
    models = repository / "models"
    shutil.copy(derived / "plain.pth", models / "new.pth")
    shutil.copy(derived / "truncated.pth", models / "same0.pth")
    shutil.copy(derived / "hostile.pth", models / "evil.pth")
    (models / "table.npz").write_text("no model at all")
    git(repository, "rm", "-q", "--cached", "models/same1.pth")
    (models / "old").mkdir()
    shutil.copy(models / "same1.pth", models / "old" / "gone.onnx")
    git(repository, "add", "models/old")
    git(repository, "commit", "-q", "-m", "one to remove")
    (models / "old" / "gone.onnx").unlink()
    report = run(repository)
    told = states(report)
    assert told["models/new.pth"] == ("new", "yes")
    assert told["models/same0.pth"] == ("changed", "no")
    assert told["models/evil.pth"] == ("new", "no")
    assert told["models/table.npz"] == ("new", "n/a"), "an ending that may be anything"
    assert report.details.removed == ("models/old/gone.onnx",)
    asks = run(repository, policy=replace(POLICY, export=True))
    assert states(asks)["models/new.pth"] == ("new", "unknown"), "never a pass without evidence"


def test_what_was_judged_comes_from_the_cache(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    first = run(repository, cache=cache)

    def never(*_: object, **__: object) -> Report:
        raise AssertionError("judged again")

    monkeypatch.setattr(many, "judge", never)
    second = run(repository, cache=cache)
    assert states(second) == states(first) and second.findings == first.findings
    assert second.summary.endswith("(4 unchanged, 6 from the cache)")
    with pytest.raises(AssertionError, match="judged again"):
        run(repository, cache=cache, policy=replace(POLICY, settings={"values": (False, "")}))
    (repository / "models" / "good.pth").write_bytes(b"another")
    with pytest.raises(AssertionError, match="judged again"):
        run(repository, cache=cache)


def test_a_touched_file_is_unchanged_all_the_same(repository: Path, tmp_path: Path) -> None:
    touched = repository / "models" / "same0.pth"
    os.utime(touched, ns=(1, 1))
    served = tmp_path / "served"
    shutil.copytree(repository / "models", served)
    for report in (run(repository), run(repository / "models", baseline=str(served))):
        (told,) = (s for path, s in states(report).items() if path.endswith("same0.pth"))
        assert told == ("unchanged", "yes")
    touched.write_bytes(touched.read_bytes()[:-1] + b"x")
    assert states(run(repository))["models/same0.pth"][0] == "changed"


def test_what_git_was_told_to_overlook_is_judged(repository: Path) -> None:
    path = repository / "models" / "bad.pth"
    git(repository, "update-index", "--assume-unchanged", "models/bad.pth", "models/same0.pth")
    assert states(run(repository))["models/bad.pth"] == ("changed", "no")
    assert states(run(repository))["models/same0.pth"] == ("unchanged", "yes")
    # A sparse checkout has removed nothing.
    git(repository, "update-index", "--skip-worktree", "models/same1.pth")
    (repository / "models" / "same1.pth").unlink()
    report = run(repository)
    assert report.details.removed == () and path.is_file()


def test_answers_that_rest_on_evidence_are_not_kept(repository: Path, tmp_path: Path) -> None:
    cache, policy = Cache(tmp_path / "cache"), replace(POLICY, bench=True)
    assert run(repository, cache=cache, policy=policy).exit_code == 1
    second = run(repository, cache=cache, policy=policy)
    assert states(second)["models/good.pth"] == ("changed", "unknown")
    assert [m.path for m in second.details.models if not m.cached] == [
        "models/bad.pth", "models/good.pth",
    ]  # fmt: skip


def test_what_is_missing_is_made_one_by_one_where_it_can_be(repository: Path, digits: Path) -> None:
    from tests.gate.test_gate import exported

    asked = []

    def make(policy: Policy, missing: dict[str, str], a: Any, b: Any) -> list[Report]:
        asked.append(sorted(missing))
        return [exported(b.manifest.content_sha256)]

    policy = replace(POLICY, export=True)
    assert states(run(repository, policy=policy))["models/good.pth"] == ("changed", "unknown")
    report = run(repository, policy=policy, make=make, workers=2)
    assert states(report)["models/good.pth"] == ("changed", "yes")
    assert asked == [["export"]]


def test_another_code_is_another_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "interop"
    (package / "rules" / "__pycache__").mkdir(parents=True)
    (package / "rules" / "one.py").write_text("level = 1")
    monkeypatch.setattr(caches, "PACKAGE", package)
    first = caches.key("model")
    assert caches.key("model") == first != caches.key("other")
    for path, differs in (("rules/__pycache__/one.pyc", False), ("rules/one.py", True)):
        (package / path).write_text("level = 2")
        os.utime(package / path, ns=(1, 1))
        caches._code.cache_clear()
        assert (caches.key("model") != first) is differs, path
    monkeypatch.undo()
    listed = {p.name for p in caches.PACKAGE.iterdir()}
    assert listed >= set(caches._JUDGING), "what was moved is not left out unseen"


def test_a_damaged_entry_of_the_cache_is_judged_anew(repository: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = run(repository, cache=cache)
    entries = list(cache.folder.rglob("*.json"))
    assert len(entries) == 6 and not list(cache.folder.rglob(".interop-*"))
    entries[0].write_text("{")
    assert states(run(repository, cache=cache)) == states(first)
    json.loads(entries[0].read_text())


def test_sections_hold_for_their_paths(repository: Path) -> None:
    policy = repository / "interop.toml"
    policy.write_text(
        'values = false\n[[models]]\npath = "models/bad.pth"\n'
        '[models.rules]\nlabel-order-changed = "warn"\n'
    )
    assert run(repository, policy=read_policy(policy)).exit_code == 0
    policy.write_text(policy.read_text().replace("bad.pth", "other.pth"))
    assert run(repository, policy=read_policy(policy)).exit_code == 1


def test_a_folder_is_a_baseline_too(repository: Path, tmp_path: Path, digits: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    for name in ("good", "bad", "same0"):
        shutil.copy(digits / "shufflenet.pth", served / f"{name}.pth")
    report = run(repository / "models", baseline=str(served))
    told = states(report)
    assert told["bad.pth"] == ("changed", "no") and told["good.pth"] == ("changed", "yes")
    assert told["same1.pth"] == ("new", "yes")


def test_lfs_pointers_on_both_sides(
    repository: Path, tmp_path: Path, digits: Path, derived: Path
) -> None:
    for name, file in (
        ("before", digits / "shufflenet.pth"),
        ("after", derived / "relabelled.pth"),
    ):
        data = file.read_bytes()
        text = pointer(data)
        oid = text.split(b"sha256:")[1][:64].decode()
        kept = repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
        (repository / "models" / "large.pth").write_bytes(text)
        if name == "before":
            git(repository, "add", "models/large.pth")
            git(repository, "commit", "-q", "-m", "large")
            assert states(run(repository))["models/large.pth"] == ("unchanged", "yes")
    assert states(run(repository))["models/large.pth"] == ("changed", "no")


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ("git:mian:", "no such commit"),
        ("git:main:models/a.pth", "names one path, for many models"),
        ("nowhere", "is no folder"),
    ],
)
def test_a_baseline_that_is_none_is_said(repository: Path, baseline: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(repository, baseline=baseline)


def test_an_unreadable_baseline_is_an_error(repository: Path) -> None:
    (repository / "models" / "same3.pth").write_bytes(b"no model")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "broken")
    (repository / "models" / "same3.pth").write_bytes(b"no model either")
    for workers in (1, 2):
        with pytest.raises(Exception, match=r"same3\.pth") as caught:
            run(repository, workers=workers)
        assert getattr(caught.value, "exit_code", 0) == 2


def test_a_data_file_that_changed_is_still_no_model(repository: Path) -> None:
    (repository / "models" / "table.npz").write_text("no model at all")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "data")
    (repository / "models" / "table.npz").write_text("nor now")
    assert states(run(repository))["models/table.npz"] == ("changed", "n/a")


def test_a_folder_without_models_is_said(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "none")
    with pytest.raises(ConfigError, match="holds no model files"):
        run(tmp_path)


def test_nothing_of_the_repository_is_written(repository: Path) -> None:
    index = (repository / ".git" / "index").read_bytes()
    run(repository)
    assert (repository / ".git" / "index").read_bytes() == index
    assert subprocess.run(["git", "fsck"], cwd=repository, check=False).returncode == 0


def test_the_values_of_a_new_model_are_read(repository: Path, derived: Path) -> None:
    import torch

    sound = repository / "models" / "new.pth"
    shutil.copy(derived / "retrained.pth", sound)
    (repository / "models" / "table.onnx").write_bytes(sound.read_bytes())
    git(repository, "add", "models/table.onnx")
    git(repository, "commit", "-q", "-m", "one to remove")
    (repository / "models" / "table.onnx").unlink()
    made = run(repository, policy=Policy())
    assert states(made)["models/new.pth"] == ("new", "yes")
    assert not [f for f in made.findings if f.facts["model"] == "models/new.pth"]
    assert made.summary == (
        "1 of 7 models fail, 6 pass, 1 new (judged alone), 1 gone (4 unchanged, 0 from the cache)"
    )
    saved = torch.load(sound, weights_only=True)
    state = saved.get("state_dict", saved)
    next(v for v in state.values() if v.is_floating_point()).view(-1)[0] = float("nan")
    torch.save(saved, sound)
    for workers in (1, 2):
        made = run(repository, policy=Policy(), workers=workers)
        assert states(made)["models/new.pth"] == ("new", "no")
    (found,) = (f for f in made.findings if f.facts["model"] == "models/new.pth")
    assert found.rule == "tensor-not-finite"
    assert states(run(repository))["models/new.pth"] == ("new", "yes"), "values = false"


# ---------------------------------------------------------------- files beside a model


def described(names: list[str]) -> str:
    return json.dumps({
        "id2label": {str(n): name for n, name in enumerate(names)},
        "preprocess": {"resize": [8, 8], "mean": [0.5] * 3, "std": [0.5] * 3},
    })  # fmt: skip


DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("folder", ["", "models/x/"])
@pytest.mark.parametrize("name", ["weights.pth", "pytorch_model.bin"])
def test_a_change_of_config_json_alone_is_judged(
    repository: Path, derived: Path, tmp_path: Path, folder: str, name: str
) -> None:
    place = repository / folder
    place.mkdir(exist_ok=True)
    shutil.copy(derived / "plain.pth", place / name)
    (place / "config.json").write_text(described(DIGITS))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "described")
    cache = Cache(tmp_path / "cache")
    model = "models/x" if folder and name != "weights.pth" else f"{folder}{name}"
    first = run(repository, cache=cache)
    assert states(first)[model] == ("unchanged", "yes"), first.findings
    (place / "config.json").write_text(described([*DIGITS[1:], DIGITS[0]]))
    report = run(repository, cache=cache)
    assert states(report)[model] == ("changed", "no")
    assert {f.rule for f in report.findings} == {"label-order-changed"}
    assert {f.place for f in report.findings} == {model}
    (place / "config.json").write_text(described(DIGITS))
    assert states(run(repository, cache=cache))[model] == ("unchanged", "yes")


def external(place: Path, seed: int, location: str = "weights.bin") -> None:
    """A graph whose one weight lies in another file."""
    (place.parent / location).unlink(missing_ok=True)  # it would be written at its end
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(seed).normal(size=(4, 4)).astype("float32")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "xy"]
    graph = helper.make_graph(
        [node], "g", ports[:1], ports[1:], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save_model(
        model, str(place), save_as_external_data=True, location=location, size_threshold=0
    )


def test_new_weights_in_a_file_beside_a_graph_are_judged(repository: Path) -> None:
    graphs = repository / "models" / "graphs"
    graphs.mkdir()
    external(graphs / "net.onnx", 0)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "graph")
    assert states(run(repository))["models/graphs/net.onnx"][0] == "unchanged"
    before = (graphs / "net.onnx").read_bytes()
    external(graphs / "net.onnx", 1)
    assert (graphs / "net.onnx").read_bytes() == before, "the graph itself is the same"
    policy = Policy()
    (graphs / "weights.bin").write_bytes(b"\xff" * 64)  # NaN
    report = run(repository, policy=policy)
    assert states(report)["models/graphs/net.onnx"] == ("changed", "no")
    assert "tensor-not-finite" in {f.rule for f in report.findings}
    external(graphs / "net.onnx", 0)
    os.utime(graphs / "weights.bin", ns=(1, 1))
    assert states(run(repository))["models/graphs/net.onnx"][0] == "unchanged"


def test_an_index_of_shards_is_one_model_with_its_shards(repository: Path) -> None:
    import torch
    from safetensors.torch import save_file

    def write(place: Path, value: float) -> None:
        names = ("big-00001-of-00002.safetensors", "big-00002-of-00002.safetensors")
        for n, name in enumerate(names):
            save_file({f"layer{n}.weight": torch.full((3, 3), value) + torch.eye(3)}, place / name)
        listed = {"weight_map": {f"layer{n}.weight": name for n, name in enumerate(names)}}
        (place / "big.safetensors.index.json").write_text(json.dumps(listed))

    write(repository, 1.0)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "shards")
    assert states(run(repository))["big.safetensors.index.json"][0] == "unchanged"
    assert not any(path.startswith("big-") for path in states(run(repository)))
    write(repository, float("nan"))
    report = run(repository, policy=Policy())
    assert states(report)["big.safetensors.index.json"] == ("changed", "no")


# ---------------------------------------------------------------- renamed


def test_a_model_that_was_renamed_and_swapped_is_held_against_what_it_was(
    repository: Path, derived: Path
) -> None:
    models = repository / "models"
    (models / "same0.pth").unlink()
    shutil.copy(derived / "relabelled.pth", models / "better.pth")
    report = run(repository)
    assert states(report)["models/better.pth"] == ("renamed", "no")
    (record,) = (m for m in report.details.models if m.path == "models/better.pth")
    assert record.was == "models/same0.pth"
    assert record.summary.startswith("taken as the renamed models/same0.pth; label-order")
    assert report.details.removed == () and "1 renamed" in report.summary
    shutil.copy(derived / "retrained.pth", models / "better.pth")
    assert states(run(repository))["models/better.pth"] == ("renamed", "yes")
    asks = run(repository, policy=replace(POLICY, export=True))
    assert states(asks)["models/better.pth"] == ("renamed", "unknown"), "as any that changed"


def test_where_a_rename_is_not_clear_it_is_said_and_is_no_pass(
    repository: Path, derived: Path
) -> None:
    models = repository / "models"
    shutil.copy(derived / "retrained.pth", models / "solo.pth")
    git(repository, "add", "models/solo.pth")
    git(repository, "commit", "-q", "-m", "solo")
    (models / "same0.pth").unlink()
    (models / "same1.pth").unlink()
    shutil.copy(derived / "retrained.pth", models / "better.pth")
    report = run(repository)
    assert states(report)["models/better.pth"] == ("new", "unknown")
    (said,) = (i.summary for i in report.inputs if i.path == "models/better.pth")
    assert "may be models/same0.pth or models/same1.pth under another name" in said
    # The name without its ending tells, and so do the same bytes.
    (models / "better.pth").rename(models / "same1.pt")
    git(repository, "mv", "models/solo.pth", "models/moved.ckpt")
    told = states(run(repository))
    assert told["models/same1.pt"][0] == told["models/moved.ckpt"][0] == "renamed"
    assert told["models/moved.ckpt"][1] == "yes"


def test_what_replaces_no_readable_model_is_new(repository: Path, derived: Path) -> None:
    broken = repository / "models" / "broken.onnx"
    broken.write_bytes(b"no model")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "broken")
    broken.unlink()
    shutil.copy(derived / "retrained.pth", repository / "models" / "broken.pth")
    assert states(run(repository))["models/broken.pth"] == ("new", "yes")
