"""The whole way on the digits: candidates ranked, a control last, pairs, costs, killed runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.assess import AssessOptions, assess
from interop.errors import ConfigError
from interop.facts import Answer, Preprocessing
from interop.report import render
from tests.assess import cases
from tests.conftest import DIGITS, ROOT
from tests.helpers.digits import held_back

AUTOENCODER = f"{ROOT}/fixtures/autoencoder.py:ConvAutoencoder"
# What `fixtures.make` trained: on five digits, as an autoencoder, on all ten (three of them).
HOW = Preprocessing((64, 64), (0.31,) * 3, (0.38,) * 3)
FAST = {"seconds": 0.2, "samples": (5,)}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """16 held-back digits of each class: probes of more take longer and tell no more."""
    return str(held_back(tmp_path_factory.mktemp("held"), 16))


@pytest.fixture(scope="module")
def candidates(derived):
    names = ("base", "autoencoder", "shufflenet", "squeezenet")
    return [
        *(str(DIGITS / f"{n}.pth") for n in names),
        str(derived / "retrained.pth"),
        f"random:{DIGITS / 'base.pth'}",
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def report(candidates, kept, held):
    return assess(
        candidates,
        held,
        AssessOptions(
            task="image-classification",
            cache=kept,
            preprocessing=HOW,
            factories={"autoencoder": AUTOENCODER},
            features={"autoencoder": "encoder"},
            **FAST,
        ),
    )


def figure(report, of, name="accuracy", group="reuse"):
    return next(
        m for m in report.measurements
        if m.name == name and m.conditions.get("of") == of and m.conditions["group"] == group
    )  # fmt: skip


def test_all_are_ranked_and_the_control_comes_last(report):
    names = [c.name for c in report.details.candidates]
    assert len(names) == 6 and names[-1] == "random base"
    assert set(names[:2]) <= {"shufflenet", "squeezenet", "retrained"}
    values = [figure(report, n).value for n in names]
    assert values == sorted(values, reverse=True)
    base, control = figure(report, "base"), figure(report, "random base")
    assert base.interval[0] > control.value, "what was learned on five digits serves all ten"


def test_figures_are_those_of_scikit_learn(report):
    """The probes' answers, scored anew."""
    from sklearn.metrics import accuracy_score

    matrix = next(c for c in report.details.confusion if c.of == "base")
    counts = np.array(matrix.confusion)
    truth = np.repeat(np.arange(10), counts.sum(axis=1))
    said = np.concatenate([np.repeat(np.arange(10), row) for row in counts])
    whole = accuracy_score(truth, said)
    assert abs(figure(report, "base").value - whole) < 0.01  # folds of unlike size
    assert counts.sum() == report.details.folds.rows


def test_the_test_set_is_apart_from_all_folds(report):
    held = figure(report, "base", group="held-back test set")
    assert held.conditions["samples"] == report.details.folds.held_back == 32
    assert held.conditions["samples"] + report.details.folds.rows == 160


def test_costs_are_the_modules_own(report):
    state = torch.load(DIGITS / "squeezenet.pth", weights_only=True)["state_dict"]
    weights = sum(t.numel() for t in state.values())
    assert figure(report, "squeezenet", "weights", "cost").value == weights
    assert figure(report, "squeezenet", "weight bytes", "cost").value == 4 * weights
    # Two operations a multiply-add; by hand, of the first convolution and of the head alone.
    first, head = 2 * 31 * 31 * 64 * 27, 2 * 3 * 3 * 512 * 10
    flops = figure(report, "squeezenet", "FLOPs", "cost").value
    assert first + head < flops < 100 * (first + head)
    assert figure(report, "squeezenet", "latency", "cost").value > 0
    random = figure(report, "random base", "weights", "cost").value
    assert random == figure(report, "base", "weights", "cost").value


def test_pairs_say_what_the_constructed_truth_is(tmp_path, held):
    """Each model, its own copy and a damaged one: who can stand in for whom is known."""
    good = torch.load(DIGITS / "shufflenet.pth", weights_only=True)
    torch.save(good, tmp_path / "twin.pth")
    state = dict(good["state_dict"])
    state["fc.weight"] = state["fc.weight"].roll(1, 0)  # every class answers as its neighbour
    torch.save({**good, "state_dict": state}, tmp_path / "damaged.pth")
    models = [
        str(DIGITS / "shufflenet.pth"),
        *(str(tmp_path / f"{n}.pth") for n in ("twin", "damaged")),
    ]
    found = assess(
        models, held, AssessOptions(task="image-classification", margin=0.03, cache=None, **FAST)
    )
    said = {(p.a, p.b): p for p in found.details.interchange}
    assert len(said) == 6
    for a, b in (("shufflenet", "twin"), ("twin", "shufflenet")):
        pair = said[a, b]
        assert pair.stands_in == "yes" and pair.agreement == 1 and pair.kappa == 1
        assert pair.equivalence_p < 0.05 and pair.basis == "as it is"
        assert pair.interface.answer == "yes" and "callers unchanged" in pair.sentence
        assert np.diag(pair.cka.values) == pytest.approx(1, abs=1e-6)
    assert said["shufflenet", "damaged"].stands_in == "no"
    assert said["damaged", "twin"].stands_in == "yes"
    assert said["shufflenet", "damaged"].negative_flips > 0.9


def test_what_was_done_is_found_again(report, candidates, kept, held):
    said: list[str] = []
    again = assess(
        candidates,
        held,
        AssessOptions(
            task="image-classification",
            cache=kept,
            preprocessing=HOW,
            factories={"autoencoder": AUTOENCODER},
            features={"autoencoder": "encoder"},
            **FAST,
        ),
        progress=said.append,
    )
    assert not any(line.startswith("probes") for line in said)
    cached = {c.name: c.cached for c in again.details.candidates}
    assert not cached.pop("autoencoder") and all(cached.values())
    for name in cached:
        assert figure(again, name).value == figure(report, name).value


def test_a_dask_cluster_comes_to_the_same(report, candidates, held):
    models = [candidates[0], candidates[-1]]
    with cases.cluster(n_workers=1) as address:  # each process loads torch
        found = assess(
            models,
            held,
            AssessOptions(
                task="image-classification",
                cache=None,
                backend="dask",
                jobs=2,
                scheduler=address,
                **FAST,
            ),
        )
    for name in ("base", "random base"):
        ours, theirs = figure(found, name), figure(report, name)
        assert ours.samples == theirs.samples and ours.interval == theirs.interval


def test_fine_tuning_on_the_folds(tmp_path, held):
    from interop.finetune import FinetuneOptions

    models = [str(DIGITS / "base.pth"), f"random:{DIGITS / 'base.pth'}"]
    options = AssessOptions(
        task="image-classification", folds=2, seconds=0, samples=(), cache=tmp_path,
        tuning=FinetuneOptions(epochs=2, mode="both"),
    )  # fmt: skip
    found = assess(models, held, options=options)
    tuned = figure(found, "base", group="fine-tuned")
    assert len(tuned.samples) == 2 and 0.3 < tuned.value <= 1
    assert tuned.value > figure(found, "random base", group="fine-tuned").value
    soon = figure(found, "base", "time to 95 % of its best", "fine-tuned")
    whole = figure(found, "base", "training, processor time", "fine-tuned")
    assert 0 < soon.value <= whole.value
    curves = [c for c in found.details.curves if c.of == "base"]
    assert len(curves) == 2 and [e.phase for e in curves[0].epochs] == ["probe"] * 2 + ["full"] * 2
    taus = [m for m in found.measurements if m.conditions["group"] == "order"]
    assert {m.conditions["against"] for m in taus} == {"fine-tuned accuracy"}
    assert "linear probe" in {m.conditions["of"] for m in taus}
    assert {p.basis for p in found.details.interchange} == {"fine-tuned"}
    said: list[str] = []
    again = assess(models, held, options=options, progress=said.append)
    assert not any(line.startswith("fine-tuning") for line in said)
    assert figure(again, "base", group="fine-tuned").samples == tuned.samples


def test_a_killed_run_goes_on(tmp_path, interop, held):
    """The command, killed in the midst of its probes, then given again: it ends, and no probe that
    was done is done again."""
    command = [
        sys.executable, "-m", "interop", "assess", str(DIGITS / "base.pth"),
        f"random:{DIGITS / 'base.pth'}", "--data", held, "--task", "image-classification",
        "--cache", str(tmp_path / "cache"), "--seconds", "0",
        "--report", f"json:{tmp_path / 'out.json'}",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    probes = tmp_path / "cache" / "assess" / "probes"
    end = time.monotonic() + 120
    while time.monotonic() < end and len(list(probes.glob("[!.]*"))) < 3:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = {p.name: p.stat().st_mtime_ns for p in probes.glob("[!.]*")}
    assert len(done) >= 3 and not (tmp_path / "out.json").exists()
    run = interop(*command[3:])
    assert run.returncode == 0, run.stderr
    after = {p.name: p.stat().st_mtime_ns for p in probes.glob("[!.]*")}
    assert len(after) > len(done) and all(after[n] == t for n, t in done.items())
    ranked = json.loads((tmp_path / "out.json").read_text())["details"]["candidates"]
    assert [c["name"] for c in ranked] == ["base", "random base"]


def test_weights_of_a_policy_make_one_score(candidates, kept, held):
    models = [candidates[0], candidates[3], candidates[-1]]
    found = assess(
        models,
        held,
        AssessOptions(
            task="image-classification",
            cache=kept,
            weights={"accuracy": 3.0, "weight bytes": 1.0},
            **FAST,
        ),
    )
    scores = {c.name: c.score for c in found.details.candidates}
    assert scores["squeezenet"] == pytest.approx(0.75)  # the most accurate, and the largest
    assert scores["base"] == pytest.approx(0.25)
    assert scores["random base"] is None, "a control is no choice"
    assert all(
        c.score is None
        for c in assess(
            models, held, AssessOptions(task="image-classification", cache=kept, **FAST)
        ).details.candidates
    )


def test_texts_and_sounds_are_assessed(tmp_path):
    text = str(ROOT / "fixtures" / "text" / "model")
    found = assess(
        [text, f"random:{text}"],
        ROOT / "fixtures" / "text" / "heldout.csv",
        AssessOptions(cache=None, **FAST),
    )
    assert found.details.task == "text-classification"
    assert [c.name for c in found.details.candidates] == ["model", "random model"]
    sound = str(ROOT / "fixtures" / "speech" / "model")
    found = assess(
        [sound, f"random:{sound}"],
        ROOT / "fixtures" / "speech" / "heldout",
        AssessOptions(cache=None, **FAST),
    )
    assert found.details.task == "audio-classification"
    assert [c.name for c in found.details.candidates] == ["model", "random model"]


def damaged(path, change):
    """`base.pth` with its state dict changed."""
    held = torch.load(DIGITS / "base.pth", weights_only=True)["state_dict"]
    torch.save(change(held), path)
    return str(path)


def test_a_model_whose_weights_do_not_fit_is_left_out_and_the_others_are_judged(tmp_path, held):
    cut = damaged(tmp_path / "cut.pth", lambda s: dict([*s.items()][20:]))
    wide = damaged(
        tmp_path / "wide.pth", lambda s: {**s, "conv1.0.weight": torch.zeros(24, 1, 3, 3)}
    )
    good = str(DIGITS / "base.pth")
    how = {"arch": "torchvision/shufflenet_v2_x0_5", "task": "image-classification",
           "cache": None, "preprocessing": HOW, **FAST}  # fmt: skip
    alone = assess([good, f"random:{good}"], held, AssessOptions(**how))
    for jobs in (1, 2):
        found = assess([cut, good, wide, f"random:{good}"], held, AssessOptions(jobs=jobs, **how))
        assert found.outcome is Answer.NO and found.details.left_out == ("cut", "wide")
        for name in ("base", "random base"):
            assert figure(found, name).samples == figure(alone, name).samples
        assert [f.rule for f in found.findings] == ["loaded-fraction-low"] * 2
        assert re.match(r"cut: 318 of 318 tensors fit", found.findings[0].what)
        assert "17 not in the checkpoint" in found.findings[0].what
        assert "1 of another shape (conv1.0.weight" in found.findings[1].what
        assert [i.role for i in found.inputs] == ["base", "random base", "cut", "wide", "data"]
        assert found.summary.endswith("left out: cut, wide")
    for form in ("text", "markdown", "html"):
        shown = " ".join(render(found, form).split())
        assert "Left out: cut and wide" in shown
        assert "cut is left out" in shown and "wide is left out" in shown
    assert alone.outcome is Answer.YES and "Left out" not in render(alone, "text")


def test_where_no_models_weights_fit_nothing_is_assessed(tmp_path, interop, held):
    cut = damaged(tmp_path / "cut.pth", lambda s: dict([*s.items()][20:]))
    headless = damaged(tmp_path / "part.pth", lambda s: dict([*s.items()][20:40]))
    run = interop(
        "assess", cut, headless, "--data", held, "--no-cache", "--arch",
        "torchvision/shufflenet_v2_x0_5", "--task", "image-classification",
        "--report", f"markdown:{tmp_path}/r.md", "--report", f"html:{tmp_path}/r.html",
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    shown = " ".join(run.stdout.split())
    assert "cut is left out" in shown and "17 not in the checkpoint" in shown
    assert "shufflenet_v2_x0_5: 20 of the backbone's 336 tensors" in shown
    assert "RANKING" not in shown and "MODELS" not in shown and "training" not in shown
    assert "nothing was assessed" in run.stderr
    for name in ("r.md", "r.html"):
        page = (tmp_path / name).read_text("utf-8")
        assert "17 not in the checkpoint" in page and "nothing was trained" not in page
    (tmp_path / "short.pth").write_bytes(Path(cut).read_bytes()[:5000])
    run = interop("assess", tmp_path / "short.pth", DIGITS / "base.pth", "--data", held)
    assert run.returncode == 2 and "file-truncated" in run.stderr


def test_a_wrong_name_or_margin_is_refused(candidates, held):
    with pytest.raises(ConfigError, match="none of the models"):
        assess(candidates[:1], held, AssessOptions(factories={"nobody": AUTOENCODER}, **FAST))
    with pytest.raises(ConfigError, match="margin"):
        assess(candidates[:1], held, AssessOptions(margin=0.9, **FAST))
    with pytest.raises(ConfigError, match="no figure of the score"):
        assess(candidates[:1], held, AssessOptions(weights={"beauty": 1.0}, **FAST))


def test_the_command_prints_and_writes(tmp_path, interop, held):
    out = tmp_path / "assess.json"
    run = interop(
        "assess", DIGITS / "base.pth", DIGITS / "shufflenet.pth", "--data", held,
        "--no-cache", "--seconds", "0.2", "--report", f"json:{out}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "shufflenet" in run.stdout and max(map(len, run.stdout.splitlines())) <= 80
    assert json.loads(out.read_text())["command"] == "assess"
    assert "best shufflenet" in run.stderr
    bad = interop("assess", Path("none.pth"), "--data", held)
    assert bad.returncode == 2 and len(bad.stderr.strip().splitlines()) == 1
