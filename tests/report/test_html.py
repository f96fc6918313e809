"""The HTML page: whole, self-contained, and right for hostile and for incomplete reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from math import inf, nan
from pathlib import Path
from xml.etree import ElementTree

import pytest

from interop.facts import (
    Answer,
    Finding,
    Input,
    Intent,
    Level,
    Measurement,
    Proof,
    Report,
    Skipped,
    Verdict,
)
from interop.facts.sections.bench import BenchSection, ClassTables, SamplePreview
from interop.facts.sections.check import CheckSection
from interop.report import render
from interop.report.html.charts import Scale, fitted, thinned
from interop.report.json import decode
from interop.report.units import quantity

from .browser import SCHEMES, WIDTHS, browser, chromium

VOID = {"meta", "link", "br", "path", "rect", "circle", "img"}
# One grey pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
RATIO = {"group": "latency ratio", "between": "runtimes"}


# ---------------------------------------------------------------- reports to draw


def lane(model: str, runtime: str) -> dict[str, str]:
    return {"of": f"{model} {runtime}", "model": model, "runtime": runtime}


def bench_measurements(models: str = "AB") -> Iterator[Measurement]:
    """What bench measures, small, with figures that are all different."""
    for n, (model, runtime) in enumerate(
        (m, r) for m in models for r in ("pytorch", "onnxruntime")
    ):
        where = lane(model, runtime)
        yield Measurement(
            "top-1", "share", 0.91 + n / 100, (0.88 + n / 100, 0.945 + n / 100),
            conditions={"group": "accuracy", "samples": 320, **where},
        )  # fmt: skip
        for batch in (1, 8):
            samples = tuple(batch * (2 + n + (i % 7) / 10) for i in range(250))
            yield Measurement(
                "latency", "ms", batch * (2.31 + n), (batch * (2.2 + n), batch * (2.4 + n)),
                samples,
                {"group": "latency", "batch": batch, "p90": batch * (2.51 + n),
                 "p99": batch * (2.61 + n), "per_second": 433.0 - n, "rounds": 250, **where},
            )  # fmt: skip
        conditions = {"group": "own process", **where}
        yield Measurement("cold start", "ms", 1234.5 + n, conditions=conditions)
        yield Measurement("peak memory", "bytes", 2.5e8 + n * 1e7, conditions=conditions)
    for model in models:
        of = f"{model}: onnxruntime against pytorch"
        conditions = {"group": "change of runtime", "between": "runtimes", "of": of}
        yield Measurement("flips", "count", 0.0, conditions=conditions)
    for batch in (1, 8):
        pair = {**RATIO, "of": "A onnxruntime / A pytorch", "batch": batch}
        itself = {**RATIO, "between": "runs", "of": "A pytorch / itself", "batch": batch}
        yield Measurement("latency ratio", "ratio", 0.421 * batch, (0.41, 0.43 * batch), (), pair)
        yield Measurement("latency noise", "ratio", 1.003, (0.97, 1.02 + batch), (), itself)
    if len(models) == 2:
        yield from between_models()


def between_models() -> Iterator[Measurement]:
    conditions = {"group": "change of model", "between": "models", "of": "B against A"}
    yield Measurement("accuracy change", "points", -0.0125, (-0.031, 0.006), (), conditions)
    yield Measurement("agreement", "share", 0.9812, (0.96, 0.99), (), conditions)
    flip = {
        "sample": "ab12",
        "path": "heldout/four/0746.png",
        "truth": "four",
        "a": "four",
        "b": "nine",
    }
    flips = {**conditions, "flipped": [flip]}
    yield Measurement("flips", "count", 6.0, None, (), flips)
    yield Measurement("McNemar's exact test", "p", 0.219, None, (), conditions)


def bench(models: str = "AB") -> Report:
    runtime = {"providers": ["CUDAExecutionProvider"], "elsewhere": ["Gather_7 (Gather) on CPU"]}
    return Report(
        command="bench",
        outcome=Answer.YES,
        summary="top-1: A pytorch 91.00 %",
        inputs=(Input("A", "a.pth", "torchvision/resnet18", {"weights": 11}),),
        measurements=tuple(bench_measurements(models)),
        environment={"python": "3.11.7", "unix_time": 0, "A onnxruntime": runtime},
        details=decode(BenchSection, {
            "conditions": {"device": "a GPU"},
            "predictions": [
                {"of": "A", "task": "image-classification", "labels": [], "samples": {}}
            ],
            "previews": {"ab12": {"png": PNG, "text": "a four, badly written"}},
            "classes": [
                {
                    "of": "A pytorch",
                    "labels": ["four", "nine"],
                    "confusion": [[31, 1], [2, 30]],
                    "classes": [{"label": "four", "recall": 0.96875, "support": 32}],
                }
            ],
        }),
    )  # fmt: skip


def check() -> Report:
    return Report(
        command="check",
        outcome=Answer.NO,
        summary="reload: no",
        verdicts=(
            Verdict(Intent.RELOAD, Answer.NO, "a shape"),
            Verdict(Intent.TRANSFER, Answer.NA, "no head"),
        ),
        findings=(
            Finding("key-missing", Level.ERROR, (Intent.RELOAD,), Answer.NO, "3 are not in B",
                    place="fc.weight", hint="train it", facts={"tensors": ["fc.weight"]}),
        ),
        skipped=(Skipped("tensor-not-finite", "needs --values"),),
        details=CheckSection(intent=Intent.RELOAD),
    )  # fmt: skip


# ---------------------------------------------------------------- the page as markup


class Page(HTMLParser):
    """The page's tags, attributes and text; complains of a tag that is not closed in its place."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def page(report: Report) -> Page:
    return Page(render(report, "html"))


@pytest.mark.parametrize("report", [bench(), bench("A"), check()], ids=["two", "one", "check"])
def test_the_page_is_whole_and_needs_nothing_else(report: Report) -> None:
    source = render(report, "html")
    made = Page(source)
    assert source.startswith("<!doctype html>") and source.endswith("</html>\n")
    assert "script" not in made.tags
    assert not re.search(r"https?://|url\(|@import|javascript:", source)
    ids = [v for k, v in made.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    for key, value in made.attributes:
        assert not key.startswith("on")
        if key in ("src", "href", "xlink:href", "action", "data"):
            assert re.fullmatch(r"data:(,|image/png;base64,[A-Za-z0-9+/=]+)", value)
        if key == "aria-labelledby":
            assert set(value.split()) <= set(ids)


def test_drawings_are_xml_with_a_title_and_a_description() -> None:
    drawings = re.findall(r"<svg.*?</svg>", render(bench(), "html"), re.DOTALL)
    titles = [ElementTree.fromstring(d)[0].text for d in drawings]
    assert titles == [
        "Accuracy", "Confusion, A pytorch", "Latency, batch 1", "Latency, batch 8",
        "Throughput", "Ratios of latency", "Cold start", "Peak memory",
    ]  # fmt: skip
    assert all("viewBox" in d and "nan" not in d and "inf" not in d for d in drawings)
    described = ElementTree.fromstring(drawings[0])[1].text or ""
    assert "A pytorch: 91.00 % (88.00 to 94.50 %)" in described


def test_every_figure_of_the_report_stands_on_the_page() -> None:
    report = bench()
    words = page(report).words
    for m in report.measurements:
        assert m.value is not None
        assert quantity(m.value, m.unit) in words, m
        for end in m.interval or ():
            assert quantity(end, m.unit).split(" ")[0] in words, m
        for key in ("p90", "p99"):
            if key in m.conditions:
                assert quantity(m.conditions[key], m.unit) in words


def test_bench_answers_first() -> None:
    words = page(bench()).words
    answers = words[: words.index("Plots")]
    assert (
        "No difference is shown (McNemar p = 0.219); a loss of 3.10 points is not ruled out."
        in answers
    )
    assert "A onnxruntime against A pytorch: faster at batch 1, slower at batch 8" not in answers
    assert "faster at batch 1, no difference shown at batch 8" in answers
    assert "No: not one answer flips." in answers
    assert "Gather_7 (Gather) on CPU" in words and "heldout/four/0746.png" in words
    assert "The first 1 of 6" in words and "1970-01-01 00:00 UTC" in words


def test_many_lanes_are_rows_and_what_is_alike_is_said_once() -> None:
    from interop.report.html.bench import Measured, cards

    lanes = [f"A onnxruntime{way}" for way in ("", " io-binding", " int8", " float16")]
    found = []
    for batch in (1, 8):
        for n, name in enumerate(lanes):
            low = 0.3 if batch == 8 or n < 2 else 0.9
            found.append(
                Measurement(
                    "latency ratio", "ratio", low + 0.1, (low, low + 0.2),
                    conditions={**RATIO, "of": f"{name} / A pytorch", "batch": batch},
                )
            )  # fmt: skip
        at = {"group": "latency ratio", "of": "A pytorch / itself", "batch": batch}
        found.append(Measurement("latency noise", "ratio", 1.0, (0.98, 1.03), conditions=at))
    report = replace(bench(), measurements=tuple(found), findings=())
    (card,) = (c for c in cards(Measured(report)) if c.question == "Which runtime is faster?")
    assert card.answer == (
        "A onnxruntime and A onnxruntime io-binding against A pytorch: faster at batch 1 and 8. "
        "A onnxruntime int8 and A onnxruntime float16 against A pytorch: no difference shown at "
        "batch 1, faster at batch 8."
    )
    assert card.table is not None
    assert card.table.head == ("against A pytorch", "batch 1", "batch 8")
    assert [row[0] for row in card.table.rows] == [*lanes, "noise"]
    assert card.table.rows[-1][1:] == ("0.980 to 1.030", "0.980 to 1.030")
    assert "against A pytorch" in page(report).words


def test_what_flipped_is_shown_with_its_picture_and_its_words() -> None:
    found = page(bench())
    assert ("src", f"data:image/png;base64,{PNG}") in found.attributes
    assert "a four, badly written" in found.words
    assert "A alone is right on 1, B alone on 0" in found.words
    none = replace(bench(), details=BenchSection())
    assert "img" not in page(none).tags and "heldout/four/0746.png" in page(none).words


@pytest.mark.parametrize("png", ['x" onerror="alert(1)', "javascript:alert(1)", "a b", ""])
def test_a_stored_picture_that_is_none_is_left_out(png: str) -> None:
    previews = {"ab12": SamplePreview(png, HOSTILE)}
    found = page(replace(bench(), details=BenchSection(previews=previews)))
    assert "img" not in found.tags and "script" not in found.tags
    assert HOSTILE in found.text


def test_classes_are_shown_one_by_one_and_against_each_other() -> None:
    found = page(bench())
    assert "nine answered four: 2" in found.words
    assert "nine as four: 2" in found.words
    assert "Class by class, A pytorch" in found.words and "0.9688" in found.words
    labels = tuple(f"c{i}" for i in range(25))
    wide = ClassTables(of="A pytorch", labels=labels, confusion=((0,) * 25,) * 25)
    assert "Confusion" not in page(replace(bench(), details=BenchSection(classes=(wide,)))).words


def test_a_flip_between_runtimes_names_the_runtimes() -> None:
    conditions = {"group": "change of runtime", "between": "runtimes", "of": "A: x against y",
                  "sides": ["pytorch", "onnxruntime int8"],
                  "flipped": [{"path": "p", "truth": "t", "a": "u", "b": "t"}]}  # fmt: skip
    flipped = Measurement("flips", "count", 1.0, None, (), conditions)
    words = page(replace(bench(), measurements=(flipped,))).words
    assert "onnxruntime int8 says" in words and "onnxruntime int8 alone on 1" in words


def test_a_figure_that_is_no_accuracy_is_not_called_one() -> None:
    conditions = {"group": "accuracy", "of": "A pytorch", "samples": 9, "better": -1}
    found = page(
        replace(bench(), measurements=(Measurement("WER", "share", 0.1, None, (), conditions),))
    )
    assert "How good is each?" in found.words and "less is better" in found.words


def test_a_flip_is_right_where_the_task_says_so() -> None:
    conditions = {"group": "change of model", "between": "models", "of": "B against A"}
    # The words of an answer say how sure it is, and are never those of the truth.
    flip = {"path": "p", "truth": "cat", "a": "cat (52 %)", "b": "dog (51 %)"}

    def words(*right: list[bool | None]) -> str:
        flipped = [{**flip, "right": r} for r in right]
        more = {**conditions, "flipped": flipped}
        m = Measurement("flips", "count", float(len(right)), None, (), more)
        return page(replace(bench(), measurements=(m,))).words

    assert "A alone is right on 1, B alone on 2, neither on 1." in words(
        [True, False], [False, True], [False, True], [False, False]
    )
    assert "both on 1, neither on 0" in words([True, True])
    assert "knows no right or wrong" in words([None, None])


def test_first_runs_copies_and_throughput_are_shown() -> None:
    where = lane("A", "pytorch")
    process = {"group": "own process", **where}
    found = (
        Measurement("throughput", "per second", 1239.1, (1098.4, 1357.6), (1.0,),
                    {"group": "throughput", "batch": 8, **where}),
        Measurement("copies", "share", 0.25, (0.2, 0.3), (7.125,),
                    {"group": "copies", "batch": 8, "bound_ms": 7.125, **where}),
        Measurement("first run", "ms", 11.93, None, (),
                    {**process, "batch": 8, "shape": {}, "steady_ms": 4.05}),
        Measurement("first run", "ms", 6.25, None, (),
                    {**process, "batch": 1, "shape": {"sequence": 24}, "steady_ms": 0.99}),
        Measurement("latency", "ms", 8.5, (8.25, 8.75), (8.5,),
                    {"group": "latency", "batch": 8, "p90": 9.0, "p99": 9.5, "per_second": 941.0,
                     "cpu_samples": [31.4159], "device_samples": [27.1828], **where}),
    )  # fmt: skip
    report = replace(bench(), measurements=found)
    source = render(report, "html")
    words = " ".join(re.sub(r"<[^>]+>", " ", source).split())
    assert "1239 per second" in words and "1098 to 1358 per second" in words
    assert "copies A pytorch batch 8 25.00 % 20.00 to 30.00 %" in words
    assert "first run A pytorch batch 8 11.93 ms 4.05 ms" in words
    assert "first run A pytorch sequence 24 6.25 ms 0.99 ms" in words
    drawing = next(d for d in re.findall(r"<svg.*?</svg>", source, re.DOTALL) if "First run" in d)
    for said in ("batch 8", "sequence 24", "A pytorch, first", "A pytorch, later", "4.05 ms"):
        assert said in drawing
    for samples in ("31.4", "27.18", "_samples", "7.125"):
        assert samples not in words and samples not in drawing


@pytest.mark.parametrize(
    ("better", "interval", "said"),
    [
        (-1, (0.5, 1.5), "B is worse than A by 1.00; the 95 % interval (0.50 to 1.50) does not"),
        (1, (0.5, 1.5), "B is better than A by 1.00; the 95 % interval (0.50 to 1.50) does not"),
        (-1, (-0.5, 2.5), "No difference is shown; a loss of 2.50 is not ruled out."),
        (1, (-0.5, 2.5), "No difference is shown; a loss of 0.50 is not ruled out."),
    ],
)
def test_a_change_without_right_and_wrong_is_read_by_what_is_better(
    better: int, interval: tuple[float, float], said: str
) -> None:
    conditions = {"group": "change of model", "between": "models", "of": "B against A"}
    change = Measurement("MAE change", "abs", 1.0, interval, (), {**conditions, "better": better})
    assert said in page(replace(bench(), measurements=(change,))).words


def test_the_test_of_the_runtimes_is_not_taken_for_that_of_the_models() -> None:
    of = {"group": "change of runtime", "between": "runtimes", "of": "A: x against y"}
    other = Measurement("McNemar's exact test", "p", 0.001, None, (), of)
    report = bench()
    words = page(replace(report, measurements=(other, *report.measurements))).words
    assert "No difference is shown (McNemar p = 0.219)" in words


def test_a_significant_loss_is_called_one() -> None:
    report = bench()
    changed = [replace(m, value=0.004) if m.unit == "p" else m for m in report.measurements]
    words = page(replace(report, measurements=tuple(changed))).words
    assert (
        "B is worse than A by 1.25 points, more than chance explains (McNemar p = 0.004)." in words
    )


def test_check_shows_verdicts_findings_and_what_was_not_checked() -> None:
    words = page(check()).words
    for part in (
        "✗ no", "reload (asked for)", "3 are not in B", "at fc.weight", "Fix: train it",
        "interop explain key-missing", "needs --values", "– n/a", "Exit code 1",
    ):  # fmt: skip
        assert part in words


def test_noise_and_a_failed_proof_stand_above_the_figures() -> None:
    noise = Finding(
        "host-too-noisy", Level.WARN, (Intent.REPLACE,), Answer.UNKNOWN,
        "batch 1: against itself 0.97 to 2.02", facts={"batch": 1, "interval": [0.97, 2.02]},
    )  # fmt: skip
    proof = Proof("parity", False, "outputs part at node 7")
    report = replace(bench(), outcome=Answer.UNKNOWN, findings=(noise,), proofs=(proof,))
    words = page(report).words
    first = words[: words.index("How often is each right?")]
    assert "too noisy to tell: batch 1: against itself 0.97 to 2.02" in first
    assert "The proof “parity” failed: outputs part at node 7" in first
    assert "host too noisy to tell at batch 1, no difference shown at batch 8" in words


def test_hostile_text_stays_text() -> None:
    m = Measurement(HOSTILE, "ms", 1.0, (0.5, 2.0), (1.0,), {"of": HOSTILE, "group": HOSTILE})
    drawn = Measurement("latency", "ms", 1.0, None, (1.0, 2.0),
                        {"group": "latency", "batch": 1, "p90": 2, "p99": 2, "per_second": 3,
                         **lane(HOSTILE, HOSTILE)})  # fmt: skip
    flip = {"path": HOSTILE, "truth": HOSTILE, "a": HOSTILE, "b": HOSTILE}
    flips = Measurement("flips", "count", 1, None, (), {"of": HOSTILE, "flipped": [flip]})
    report = Report(
        command="bench",
        outcome=Answer.NO,
        summary=HOSTILE,
        inputs=(Input(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}),),
        verdicts=(Verdict(Intent.RELOAD, Answer.NO, HOSTILE),),
        findings=(
            Finding(HOSTILE, Level.ERROR, (), Answer.NO, HOSTILE, HOSTILE, HOSTILE, {"x": HOSTILE}),
        ),
        proofs=(Proof(HOSTILE, False, HOSTILE, {HOSTILE: HOSTILE}),),
        measurements=(m, drawn, flips),
        skipped=(Skipped(HOSTILE, HOSTILE),),
        environment={HOSTILE: {"providers": [HOSTILE], "elsewhere": [HOSTILE]}},
        details=BenchSection(device=HOSTILE, conditions={HOSTILE: HOSTILE}, notes=(HOSTILE,)),
    )
    source = render(report, "html")
    made = Page(source)
    assert "<script" not in source and "<img" not in source
    assert not {"script", "img"} & set(made.tags)
    assert not [k for k, _ in made.attributes if k.startswith("on")]
    assert made.text.count("alert(1)") > 20


def test_characters_that_have_no_place_in_html_are_escaped() -> None:
    name = "a\x00b\x1b[0m\udcffc\u202egnp.exe"
    source = render(Report("inspect", Answer.YES, name, inputs=(Input("file", name, ""),)), "html")
    source.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800-\udfff]", source)
    assert r"a\x00b\x1b[0m\udcffc\u202egnp.exe" in source


def spoiled(value: float | None) -> list[Measurement]:
    """Every measurement of a bench with its figures gone."""
    gone = {"p90": value, "p99": value, "per_second": value}
    interval = None if value is None else (value, value)
    return [
        replace(
            m,
            value=value,
            interval=interval,
            samples=() if value is None else (value, value),
            conditions={k: gone.get(k, v) for k, v in m.conditions.items()},
        )
        for m in bench_measurements()
    ]


@pytest.mark.parametrize("value", [None, nan, inf, -inf, 0.0, -1.0, 1e-300, 1e300])
def test_missing_and_odd_figures_render(value: float | None) -> None:
    made = page(replace(bench(), measurements=tuple(spoiled(value)), details=BenchSection()))
    assert not re.search(r"\b(nan|inf)\b", made.text)
    if value is None:
        assert "not measured" in made.words and "svg" not in made.tags


def test_a_report_read_back_from_json_gives_the_same_page(tmp_path: Path) -> None:
    from interop.report.json import read_report

    stored = tmp_path / "bench.json"
    stored.write_text(render(bench(), "json"), "utf-8")
    assert render(read_report(stored), "html") == render(bench(), "html")


def test_bare_measurements_and_reports_render() -> None:
    bare = Measurement("latency", "ms", 1.0)
    for command in ("check", "inspect", "export", "bench", "gate", "doctor", "verify"):
        for outcome in Answer:
            page(Report(command, outcome, "", measurements=(bare,)))


def test_a_page_of_many_samples_stays_small() -> None:
    assert len(render(bench(), "html")) < 100_000


# ---------------------------------------------------------------- scales


def test_thinning_keeps_the_ends() -> None:
    samples = [float(n * 7919 % 1000) for n in range(1000)]
    kept = thinned(samples)
    assert len(kept) == 200 and (min(kept), max(kept)) == (0.0, 999.0)
    assert thinned([3.0, 1.0]) == [3.0, 1.0]


@pytest.mark.parametrize("values", [[1.0], [0.0], [0.97, 1.0], [0.01, 500.0], [-3.0, 2.0], [5e8]])
def test_a_scale_holds_its_values_and_has_ticks(values: list[float]) -> None:
    scale = fitted(values)
    assert all(scale.start <= scale.at(v) <= scale.end for v in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 9 and all(scale.low <= t <= scale.high for t in ticks)


def test_a_log_scale_is_even_in_ratios() -> None:
    scale = Scale(1, 100, log=True, start=0, end=100)
    assert [round(scale.at(v)) for v in (1, 10, 100)] == [0, 50, 100]


# ---------------------------------------------------------------- in a browser


@pytest.mark.skipif(chromium() is None, reason="needs chromium and chromedriver on the PATH")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """No word on the console, no sideways scroll, readable contrast, on phone and desktop."""
    reports = {"bench": bench(), "check": check()}
    with browser() as window:
        for name, report in reports.items():
            file = tmp_path / f"{name}.html"
            file.write_text(render(report, "html"), "utf-8")
            for width in WIDTHS:
                for scheme in SCHEMES:
                    window.show(file, width, scheme)
                    assert window.console() == []
                    assert window.run(FITS), (name, width)
                    assert window.run("return document.body.innerText").count(report.summary)
                    low = [found for found in window.run(CONTRAST) if found[0] < 4.5]
                    assert low == [], (name, width, scheme)
                    dark = window.run("return matchMedia('(prefers-color-scheme: dark)').matches")
                    assert dark == (scheme == "dark")
        assert window.pdf().startswith(b"%PDF")


FITS = "return document.documentElement.scrollWidth <= window.innerWidth"
# The contrast (WCAG 2.2, 1.4.3) of each word's colour against the nearest background behind it.
CONTRAST = """
const rgb = c => c.match(/[\\d.]+/g).map(Number);
const light = c => { const [r, g, b] = rgb(c).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (rgb(c).length === 3) return c; } return 'rgb(255, 255, 255)'; };
return [...document.querySelectorAll('main *')]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
    && e.checkVisibility() && !['title', 'desc'].includes(e.tagName))
  .map(e => { const style = getComputedStyle(e);
    const [a, b] = [light(e.closest('svg') ? style.fill : style.color), light(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 40)]; });
"""
