"""Two reports of bench, changed by hand, and what a comparison must say of each change."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interop.bench.accuracy import Answered, scores
from interop.bench.compare import FASTER, SAME, SLOWER, compare, ratio
from interop.errors import ConfigError
from interop.facts import Answer, Finding, Input, Intent, Json, Level, Measurement, Report, TaskName
from interop.facts.sections.bench import BenchSection, CompareSection, Predictions
from interop.report import render
from interop.report.json import from_json, read_report, to_json
from interop.tasks import task

Run = Callable[..., subprocess.CompletedProcess[str]]
LANE = {"of": "A pytorch", "model": "A", "runtime": "pytorch"}
SAMPLES = 100


def answered(wrong: int, sure: float = 3.0) -> Answered:
    """A classifier of two that is right on all of 100 samples but for the first `wrong`."""
    truths = [i % 2 for i in range(SAMPLES)]
    said = [t if i >= wrong else 1 - t for i, t in enumerate(truths)]
    hashes = [f"h{i}" for i in range(SAMPLES)]
    answers = list(sure * np.eye(2, dtype=np.float32)[said])
    kind = task("image-classification", ("cat", "dog"))
    return Answered("A", "pytorch", kind, hashes, hashes, truths, answers)


def errors(by: float) -> Answered:
    """A regression that is off by so much everywhere."""
    hashes = [f"h{i}" for i in range(SAMPLES)]
    truths = [float(i) for i in range(SAMPLES)]
    answers = [np.array([t + by], dtype=np.float32) for t in truths]
    return Answered("A", "pytorch", task("regression"), hashes, hashes, truths, answers)


def timed(times: float = 1.0, seed: int = 0) -> list[Measurement]:
    """100 runs around 10 ms, `times` as long, beside what the runtime showed against itself."""
    runs = times * np.random.default_rng(seed).normal(10, 0.2, 100)
    rates = 1000 / runs[:5]
    at: dict[str, Json] = {**LANE, "batch": 8}
    own: dict[str, Json] = {"group": "own process", **LANE}
    more = {"p90": 1.0, "p99": 1.0, "per_second": 1.0, "cpu_samples": list(runs)}
    return [
        Measurement("latency", "ms", float(np.median(runs)), None, tuple(runs),
                    {"group": "latency", **at, **more}),
        Measurement("throughput", "per second", float(rates.mean()), None, tuple(rates),
                    {"group": "throughput", **at}),
        Measurement("latency noise", "ratio", 1.01, (0.97, 1.05), (),
                    {"group": "latency ratio", "of": "A pytorch / itself", "batch": 8}),
        Measurement("cold start", "ms", 800.0 * times, None, (), own),
        Measurement("peak memory", "bytes", 1e8 * times, None, (), own),
    ]  # fmt: skip


def report(
    told: Answered | None = None, latency: list[Measurement] | None = None, **environment: Json
) -> Report:
    told = told or answered(10)
    return Report(
        "bench",
        Answer.YES,
        "top-1: A pytorch 90.00 %",
        inputs=(Input("A", "a.pth", "a model"),),
        measurements=(*scores(told), *(timed() if latency is None else latency)),
        environment={"processor": "one", "cpus": 2, "unix_time": 1, **environment},
        details=BenchSection(predictions=(told.predictions(),), conditions={"threads": 1}),
    )


def verdicts(made: Report) -> dict[str, str]:
    return {m.name: m.conditions["verdict"] for m in made.measurements if "verdict" in m.conditions}


def named(made: Report, name: str, **conditions: Json) -> Measurement:
    (found,) = (
        m
        for m in made.measurements
        if m.name == name and all(m.conditions.get(k) == v for k, v in conditions.items())
    )
    return found


def test_a_report_against_itself_shows_no_change() -> None:
    made = compare(report(), report())
    assert set(verdicts(made).values()) == {SAME}
    assert made.summary == "nothing changed beyond noise"
    assert made.outcome is Answer.YES and made.exit_code == 0
    assert named(made, "agreement").value == 1
    assert named(made, "latency ratio").value == 1
    assert made.details == CompareSection() and not made.skipped


def test_twice_as_long_is_slower_and_half_as_long_faster() -> None:
    made = compare(report(), report(latency=timed(2.0, seed=1)))
    found = named(made, "latency ratio")
    assert found.value == pytest.approx(2, rel=0.02)
    low, high = found.interval or (0, 0)
    assert 1.9 < low < 2 < high < 2.1
    assert verdicts(made)["latency ratio"] == SLOWER
    assert verdicts(made)["throughput ratio"] == SLOWER, "half as many a second"
    assert verdicts(made)["cold start ratio"] == verdicts(made)["peak memory ratio"] == "more"
    assert "slower" in made.summary
    back = verdicts(compare(report(latency=timed(2.0)), report()))
    assert back["latency ratio"] == back["throughput ratio"] == FASTER
    assert back["peak memory ratio"] == "less"


@pytest.mark.parametrize(("times", "said"), [(1.03, SAME), (0.975, SAME), (1.12, SLOWER)])
def test_what_lies_within_the_noise_is_no_change(times: float, said: str) -> None:
    # The runtime against itself: 0.97 to 1.05.
    made = compare(report(), report(latency=timed(times, seed=1)))
    assert verdicts(made)["latency ratio"] == said
    assert named(made, "latency ratio").conditions["noise"] == pytest.approx([1 / 1.05, 1.05])


def test_the_noise_of_either_run_counts() -> None:
    loud = [
        replace(m, interval=(0.8, 1.1)) if m.name == "latency noise" else m
        for m in timed(1.12, seed=1)
    ]
    for old, new in ((timed(), loud), (loud, timed())):
        made = compare(report(latency=old), report(latency=new))
        assert verdicts(made)["latency ratio"] == SAME


def test_flipped_answers_are_worse_by_mcnemars_test() -> None:
    made = compare(report(answered(10)), report(answered(22)))
    change = named(made, "accuracy change")
    assert change.value == pytest.approx(-0.12)
    assert change.conditions["samples"] == SAMPLES
    # 12 that only the old run has right, and none the other way: 2 / 2**12.
    assert named(made, "McNemar's exact test").value == pytest.approx(2 / 2**12)
    assert verdicts(made)["accuracy change"] == "worse"
    assert named(made, "agreement").value == pytest.approx(0.88)
    back = compare(report(answered(22)), report(answered(10)))
    assert verdicts(back)["accuracy change"] == "better"
    # Two of a hundred may be chance.
    assert verdicts(compare(report(answered(10)), report(answered(12))))["accuracy change"] == SAME


def test_how_sure_an_answer_is_does_not_make_it_another() -> None:
    made = compare(report(answered(10, sure=3.0)), report(answered(10, sure=0.1)))
    assert named(made, "agreement").value == 1
    assert named(made, "accuracy change").value == 0
    # The scores of how sure it is do change, and are called so.
    assert verdicts(made)["negative log likelihood change"] == "worse"
    assert verdicts(made)["top-1 change"] == SAME


def test_only_samples_that_both_saw_are_held_against_each_other() -> None:
    new = answered(10).predictions()
    samples = dict(new.samples)
    for n in range(40):  # of which the first ten are the wrong ones
        del samples[f"h{n}"]
    new = replace(new, samples=samples)
    fewer = replace(report(), details=BenchSection(predictions=(new,)))
    made = compare(report(), fewer)
    assert named(made, "accuracy change").conditions["samples"] == 60
    # Another truth for the same sample: the labels were mended, and nothing is said.
    samples["h50"] = ("bird", *samples["h50"][1:])
    made = compare(report(), fewer)
    assert "accuracy change" not in verdicts(made)


def test_a_task_without_right_and_wrong_is_compared_by_its_figures() -> None:
    made = compare(report(errors(1.0)), report(errors(2.0)))
    said = verdicts(made)
    assert "accuracy change" not in said and said["MAE change"] == "worse"
    assert named(made, "MAE change").value == pytest.approx(1, abs=1e-5)
    assert named(made, "agreement").value == 0
    assert verdicts(compare(report(errors(2.0)), report(errors(1.0))))["MAE change"] == "better"


def test_another_machine_is_named() -> None:
    made = compare(report(), report(processor="two", python="3.14"))
    assert made.details.conditions_changed == {
        "processor": ("one", "two"),
        "python": (None, "3.14"),
    }
    assert "another machine (processor)" in made.summary
    text = render(made, "text")
    assert "one -> two" in text and "None" not in text
    assert "another machine" not in compare(report(), report(python="3.14")).summary


def noisy(of: Report) -> Report:
    found = Finding("host-too-noisy", Level.WARN, (Intent.REPLACE,), Answer.UNKNOWN, "loud")
    return replace(of, findings=(found,), outcome=Answer.UNKNOWN)


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_noisy_host_in_either_run_is_unknown(which: str) -> None:
    pair = {"old": report(), "new": report()}
    pair[which] = noisy(pair[which])
    made = compare(pair["old"], pair["new"], ("monday.json", "friday.json"))
    assert made.outcome is Answer.UNKNOWN and made.exit_code == 3
    assert {"old": "monday.json", "new": "friday.json"}[which] in made.summary


def test_what_one_report_has_alone_is_said() -> None:
    less = report(latency=[m for m in timed() if m.name != "throughput"])
    (left,) = compare(report(), less).skipped
    assert (left.rule, left.why) == (
        "throughput of A pytorch, batch 8", "in the old report alone",
    )  # fmt: skip
    assert "new report alone" in compare(less, report()).skipped[0].why


def test_what_cannot_be_compared_is_refused() -> None:
    other = replace(report(), command="export")
    with pytest.raises(ConfigError, match="report of 'export'") as caught:
        compare(report(), other, ("a.json", "b.json"))
    assert caught.value.where == "b.json"
    with pytest.raises(ConfigError, match="nothing in common"):
        compare(report(), replace(report(), measurements=()))
    made = compare(report(), report())
    with pytest.raises(ConfigError, match="a comparison itself"):
        compare(made, made)


def test_the_interval_of_two_runs_that_know_nothing_of_each_other() -> None:
    value, (low, high) = ratio([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    assert (value, low, high) == (2.0, 2.0, 2.0)
    value, (low, high) = ratio([1.0, 3.0], [1.0, 1.0, 1.0])
    assert (value, low, high) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_every_format_tells_the_verdicts(form: str) -> None:
    made = compare(report(), report(answered(40), timed(2.0, seed=1), processor="two"))
    told = render(made, form)
    assert "slower" in told and "worse" in told
    if form == "text":
        assert max(map(len, told.splitlines())) <= 80
        assert "None" not in told
    assert "cpu_samples" not in told or form == "json"


# ---------------------------------------------------------------- the command


def stored(folder: Path, **reports: Report) -> Mapping[str, Path]:
    made = {name: folder / f"{name}.json" for name in reports}
    for name, path in made.items():
        path.write_text(render(reports[name], "json"), encoding="utf-8")
    return made


def test_the_command_compares_stored_reports(interop: Run, tmp_path: Path) -> None:
    files = stored(
        tmp_path,
        old=report(),
        new=report(answered(40), timed(2.0, seed=1)),
        loud=noisy(report()),
        other=replace(report(), command="check"),
    )
    done = interop("bench", "--compare", files["old"], files["new"], "--format", "json")
    assert done.returncode == 1, done.stderr
    assert interop("bench", "--compare", files["old"], files["old"]).returncode == 0
    assert "worse" in done.stderr and "slower" in done.stderr
    document = json.loads(done.stdout)
    assert document["inputs"][0]["role"] == "old"
    assert compare(read_report(files["old"]), read_report(files["new"])).summary in done.stderr
    done = interop("bench", "--compare", files["old"], files["loud"])
    assert done.returncode == 3 and "too noisy" in done.stderr
    refusals: list[tuple[list[Any], str]] = [
        ([files["old"], files["other"]], "report of 'check'"),
        ([files["old"], tmp_path / "none.json"], "no report"),
        ([files["old"], files["new"], "a.pth"], "no model beside them"),
    ]
    for arguments, said in refusals:
        done = interop("bench", "--compare", *arguments)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert done.stdout == "" and "Traceback" not in done.stderr and len(lines) <= 3


def test_answers_of_an_older_version_are_told_apart() -> None:
    document = to_json(Report("bench", Answer.YES, ""))
    told = {"of": "A pytorch", "samples": {"ab": ["cat", "cat"]}}
    old = from_json({**document, "details": {"predictions": [told]}})
    with pytest.raises(ConfigError, match="older version"):
        compare(old, old)


def test_reports_of_other_tasks_or_data_are_refused() -> None:
    def told(task: str, *hashes: str) -> Report:
        samples = dict.fromkeys(hashes, ("cat", "cat", True, "k"))
        top = Measurement("top-1", "share", 1.0, (0.9, 1.0), (), {"group": "accuracy", "of": "A"})
        name = TaskName(task)
        predictions = (Predictions("A", name, (), samples),)
        section = BenchSection(task=name, predictions=predictions)
        return Report("bench", Answer.YES, "", measurements=(top,), details=section)

    with pytest.raises(ConfigError, match="are of text-classification and of regression"):
        compare(told("text-classification", "a"), told("regression", "a"))
    with pytest.raises(ConfigError, match="share no sample"):
        compare(told("regression", "a"), told("regression", "b"))
    some = compare(told("regression", "a", "b"), told("regression", "b"))
    assert "1 samples are shared by 2 and 1" in some.skipped[0].why
    assert not [m for m in some.measurements if m.conditions["group"] == "score change"]


def test_every_line_fits_80_columns_however_long_a_lane_is_called(tmp_path: Path) -> None:
    runner = "A onnxruntime io-binding NvTensorRTRTXExecutionProvider float16"

    def renamed(given: Report, **environment: Json) -> Report:
        found = []
        for m in given.measurements:
            of = str(m.conditions["of"]).replace("A pytorch", runner)
            more = {"runtime": runner[2:]} if "runtime" in m.conditions else {}
            found.append(replace(m, conditions={**m.conditions, "of": of, **more}))
        section = given.section(BenchSection)
        told = tuple(replace(p, of=runner) for p in section.predictions or ())
        section = replace(section, predictions=told)
        return replace(given, measurements=tuple(found), details=section)

    old = renamed(report())
    new = renamed(report(answered(22), timed(2.0, seed=1), gpu="another", processor="p" * 90))
    paths = (str(tmp_path / ("monday" * 20 + ".json")), str(tmp_path / ("friday" * 20 + ".json")))
    text = render(compare(old, new, paths), "text")
    for line in text.splitlines():
        assert len(line) <= 80, line
    assert SLOWER in text and "io-binding" in text
    words = text.split()
    assert any(w.startswith("NvTensorRTRTX") for w in words), "no name is cut short"
    other = render(compare(old, replace(new, measurements=new.measurements[:-1]), paths), "text")
    assert max(map(len, other.splitlines())) <= 80, "what was not compared is wrapped too"
