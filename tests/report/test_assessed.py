"""What every format says of an assessment: the ranking, the front, who may stand in for whom."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from interop.facts import Answer, Basis, Input, Json, Measurement, Report, Skipped
from interop.facts.sections.assess import AssessSection, ScoreOrder
from interop.report import FORMATS, render
from interop.report.assessed import (
    ABOUT_P,
    MOST_SENTENCES,
    Assessed,
    about_p,
    answers,
    costs,
    folds_in_words,
    front_in_words,
    interchange,
    predicted,
    ranking,
    sentences,
    trained,
)
from interop.report.html import charts
from interop.report.html.assess import cards, figures, unbeaten
from interop.report.html.charts import Point
from interop.report.json import decode, from_json, to_json
from interop.report.table import WIDTH, grid, shorten

from .browser import SCHEMES, WIDTHS, browser, chromium
from .golden import HOSTILE
from .test_html import CONTRAST, FITS, Page
from .test_markdown import OURS, Shown

NAMES = ("squeeze", "shuffle", "base", "random base", "vit", "swin", "convnext", "mixer")
OWN, PROBE = Basis.OWN, Basis.PROBE
LONG = tuple(f"experiments/2026-11/vit_base_patch16_{n}_augreg_in21k_ft_in1k" for n in range(8))


def sample(
    names: Sequence[str] = NAMES[:4],
    *,
    regression: bool = False,
    latency: bool = True,
    tuned: bool = False,
    speech: bool = False,
) -> Report:
    """A report as `assess` makes it, with figures by hand; the last of several is a control."""
    measured: list[Measurement] = []
    candidates: list[dict[str, Json]] = []
    for n, name in enumerate(names):
        control = n == len(names) - 1 > 0
        measured += _figures(n, name, regression, latency, tuned, speech)
        right = None if speech else 0.95 - 0.06 * n
        candidates.append({
            "name": name, "model": f"models/{name}.pth", "features": "what fc is handed",
            "prepared": {"by": "file", "resize": [64, 64]}, "random": control, "cached": n == 1,
            "training": {"optimizer": "SGD (training)", "epochs": "90 (args)"} if n == 0 else {},
            "front": n < 2, "score": None,
            "figures": {"accuracy": right, "latency": 2.0 + n if latency else None,
                        "weight bytes": 4e6 - 1e5 * n},
        })  # fmt: skip
    pairs = (
        []
        if regression
        else [
            _pair(names, a, b, OWN if speech else PROBE)
            for a, b in permutations(range(len(names)), 2)
        ]
    )
    labels = ["cat", "dog", "newt"]
    inputs = [Input(n, f"models/{n}.pth", "torchvision/resnet18  head fc 512 -> 3") for n in names]
    data = Input("data", "shelter/test", "320 pictures", {"sha256": "de85251b1871" + "0" * 52})
    skipped = Skipped("interchange", "answers that are numbers are never the same")
    return Report(
        command="assess",
        outcome=Answer.YES,
        summary=f"{len(names)} models, best {names[0]} (95.0 %); 1 of 12 replacements hold",
        inputs=(*inputs, data),
        measurements=tuple(measured),
        skipped=(skipped,) if regression else (),
        environment={"device": "cpu", "backend": "loky", "jobs": 1, "seed": 0},
        details=decode(AssessSection, {
            "task": "regression" if regression else "image-classification",
            "candidates": candidates,
            "folds": None if speech else {
                "folds": 5, "repeats": 2,
                "how": ("" if regression else "stratified by class, ") + "by group (subject)",
                "held_back": 64, "rows": 256, "grouped_by": "subject",
            },
            "labels": [] if regression else labels,
            "confusion": [] if regression or speech else [
                {"of": n, "labels": labels, "confusion": [[80, 5, 1], [2, 82, 0], [0, 0, 86]]}
                for n in names
            ],
            "curves": _curves(names) if tuned else [],
            "order": {"against": "fine-tuned accuracy" if tuned else "accuracy of the probes"},
            "interchange": pairs,
            "margin": 0.01,
            "weights": {},
            "notes": ["two pictures could not be read"],
        }),
    )  # fmt: skip


def _figures(
    n: int, name: str, regression: bool, latency: bool, tuned: bool, speech: bool
) -> list[Measurement]:
    def one(group: str, figure: str, unit: str, value: float | None, reach: float = 0, **more: Json
            ) -> Measurement:  # fmt: skip
        around = (value - reach, value + reach) if reach and value is not None else None
        return Measurement(figure, unit, value, around, (), {"group": group, "of": name, **more})

    right = 0.95 - 0.06 * n
    made = []
    if speech:
        made = [one("as it is", "exact match", "share", right, 0.02, samples=320)]
    elif regression:
        made = [one("reuse", "R2", "abs", right, 0.04, better=1),
                one("reuse", "mean absolute error", "abs", 1.5 + n, 0.1, better=-1),
                one("held-back test set", "R2", "abs", right - 0.01)]  # fmt: skip
    else:
        made = [one("reuse", f, "share", right - d, 0.04, better=1)
                for d, f in enumerate(("accuracy",))]  # fmt: skip
        made += [one("reuse", f, "share", right - 0.01, 0.04)
                 for f in ("macro F1", "macro precision", "macro recall")]  # fmt: skip
        made += [one("sample efficiency", f"accuracy at {c} a class", "share",
                     right - 0.2 + c / 1000, 0.05, samples=c) for c in (5, 20, 100)]  # fmt: skip
        made += [one("held-back test set", "accuracy", "share", right - 0.02, 0.05, samples=64)]
        if n < 2:
            made += [one("as it is", "accuracy", "share", 0.991, 0.004, samples=320)]
    if tuned:
        made += [one("fine-tuned", "accuracy", "share", right + 0.03, 0.015, better=1),
                 one("fine-tuned", "training, processor time", "ms", 61_000.0 + n),
                 one("fine-tuned", "time to 95 % of its best", "ms", 21_000.0)]  # fmt: skip
    for figure, unit, value in (
        ("weights", "count", 3.5e5), ("weight bytes", "bytes", 4e6 - 1e5 * n),
        ("FLOPs", "count", None if n == 1 else 6.4e9), ("activation bytes", "bytes", 9e5),
    ):  # fmt: skip
        made.append(one("cost", figure, unit, value))
    made += [one("cost", "features, processor time", "ms", 259.4, cached=n == 1),
             one("cost", "probes, processor time", "ms", 4442.0)]  # fmt: skip
    if latency:
        held = tuple(2.0 + n + (i % 7) / 10 for i in range(70))
        made.append(replace(one("cost", "latency", "ms", 2.0 + n, device="cpu"), samples=held))
    if not speech:
        made.append(one("transferability", "LogME", "abs", 1.15 - n / 7))
    if not speech and not regression:
        made.append(one("transferability", "LEEP", "abs", None if n == 2 else -0.1 - n))
    if n == 1 and not speech:
        taus = (("LogME", 0.52), *(() if regression else (("LEEP", 1.0),)))
        made += [
            Measurement("weighted Kendall's tau", "abs", tau, None, (),
                        {"group": "order", "against": "accuracy of the probes", "of": score})
            for score, tau in taus
        ]  # fmt: skip
    return made


def _pair(names: Sequence[str], a: int, b: int, basis: str) -> dict[str, Json]:
    """Worse models do not stand in for better ones; that of the next two places is open."""
    said = "yes" if b < a else "unknown" if b == a + 1 else "no"
    words = {"yes": "can stand in for", "no": "cannot stand in for"}
    text = f"{names[b]} {words[said]} {names[a]} on this task (p = 0.01)" if said in words else (
        f"whether {names[b]} can stand in for {names[a]} is open (p = 0.2)"
    )  # fmt: skip
    layers = [f"features.block{n}.norm" for n in range(6)]
    values = [[round(1 / (1 + abs(i - j)), 3) for j in range(6)] for i in range(6)]
    return {
        "a": names[a], "b": names[b], "basis": basis, "samples": 256, "agreement": 0.9 - b / 20,
        "kappa": 0.8, "negative_flips": 0.1, "positive_flips": 0.0, "change": -0.1,
        "interval": [-0.2, 0.0], "equivalence_p": 0.5, "not_worse_p": 0.5, "mcnemar_p": 0.5,
        "stands_in": said, "interface": {"answer": "yes", "why": "the same"},
        "latency_ratio": 0.9, "latency_interval": [0.8, 1.0],
        "cka": {"a": layers, "b": layers, "values": values}, "sentence": text,
    }  # fmt: skip


def _curves(names: Sequence[str]) -> list[Json]:
    return [
        {"of": name, "fold": fold, "epochs": [
            {"phase": "full", "epoch": e, "train_loss": 2.0 / e + 0.01 * fold,
             "validation_loss": 2.1 / e, "figure": 1 - 0.6 / e - n / 20, "rate": 1e-3,
             "seconds": 0.5, "cpu_seconds": 0.4}
            for e in range(1, 13)
        ]}
        for n, name in enumerate(names) for fold in range(3)
    ]  # fmt: skip


CASES = {
    "four": sample(),
    "eight": sample(NAMES),
    "eight, long names": sample(LONG, tuned=True),
    "two": sample(NAMES[:2]),
    "one": sample(NAMES[:1]),
    "regression": sample(regression=True),
    "speech": sample(speech=True),
    "no latency": sample(latency=False),
    "fine-tuned": sample(tuned=True),
}


def having(report: Report, **fields: Any) -> Report:
    """The report with these fields of its section."""
    return replace(report, details=replace(report.details, **fields))


def told(report: Report) -> str:
    return " ".join(render(report, "text").split())


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("case", CASES)
def test_no_line_is_wider_than_a_terminal(case: str) -> None:
    lines = render(CASES[case], "text").splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert all(n in "".join("".join(lines).split()) for n in map(_tight, _names(CASES[case])))


def _names(report: Report) -> list[str]:
    return Assessed(report).names


def _tight(name: str) -> str:
    return "".join(name.split())


def test_a_grid_is_cut_and_continued_where_it_must_be() -> None:
    head = ("model", *(f"figure {n}" for n in range(12)))
    rows = [("a name that is much too long for this", *(["99.6 (98.5)"] * 12))]
    blocks = grid(head, rows, tuple(range(1, 13)))
    assert len(blocks) > 1
    assert all(len(line) <= WIDTH for block in blocks for line in block)
    assert sum(line.count("99.6 (98.5)") for block in blocks for line in block) == 12
    # With room for all of it nothing is cut.
    assert "…" not in "".join(grid(head[:3], [rows[0][:3]], (1, 2))[0])


def test_the_ranking_has_each_figure_in_its_column() -> None:
    table = ranking(Assessed(CASES["four"]))
    assert table.head == (
        "model", "front", "accuracy, % (95 % interval)", "macro F1, %", "test set, %",
        "ms a sample", "size, MB", "params, M",
    )  # fmt: skip
    first = ("1 squeeze", "*", "95.0 (91.0 to 99.0)", "94.0", "93.0", "2.00", "4.00", "0.35")
    assert table.rows[0] == first
    assert [row[1] for row in table.rows] == ["*", "*", "", ""]


def test_what_was_fine_tuned_is_ranked_by_that() -> None:
    table = ranking(Assessed(CASES["fine-tuned"]))
    assert table.head[2] == "fine-tuned accuracy, % (95 % interval)"
    assert table.head[3] == "probe accuracy, %"
    assert table.rows[0][2:4] == ("98.0 (96.5 to 99.5)", "95.0")
    found = costs(Assessed(CASES["fine-tuned"]))
    assert found is not None and found.head[-2:] == ("fine-tuning", "to 95 %")
    assert found.rows[0][-2:] == ("61 s", "21 s")


def test_the_front_is_said_in_words() -> None:
    said = front_in_words(Assessed(CASES["four"]))
    assert "squeeze and shuffle are on it (*), base and random base not" in said
    assert "accuracy, latency and size" in said
    without = front_in_words(Assessed(CASES["no latency"]))
    assert "accuracy and size" in without
    assert "Latency was not measured and plays no part." in without
    assert front_in_words(Assessed(CASES["one"])) == "", "one model has no front"


def test_figures_that_are_missing_say_so() -> None:
    of_all = Assessed(CASES["no latency"])
    assert [row[5] for row in ranking(of_all).rows] == ["not measured"] * 4
    found = costs(of_all)
    assert found is not None
    assert [row[1] for row in found.rows] == ["6.4 G", "not measured", "6.4 G", "6.4 G"]
    assert found.rows[1][3] == "0.259 s"
    assert "nan" not in told(CASES["no latency"]) and "None" not in told(CASES["no latency"])
    held = Measurement("accuracy", "share", float("nan"), None, (), {"group": "reuse", "of": "x"})
    odd = replace(sample(("x",)), measurements=(held,))
    assert "not measured" in told(odd) and "nan" not in told(odd)


def test_a_score_is_shown_with_its_weights() -> None:
    report = CASES["four"]
    candidates = tuple(replace(c, score=0.5) for c in Assessed(report).candidates)
    weights = {"accuracy": 2.0, "weight bytes": 1.0}
    table = ranking(Assessed(having(report, candidates=candidates, weights=weights)))
    assert table.head[-1] == "score" and table.rows[0][-1] == "0.500"
    assert "the policy's weights (accuracy 2 and size 1)" in table.note
    assert "score" not in ranking(Assessed(report)).head


# ---------------------------------------------------------------- which for which


def test_a_row_of_the_matrix_stands_in_for_a_column() -> None:
    table = interchange(Assessed(CASES["four"]))
    assert table is not None
    assert table.head == ("model", "for 1", "for 2", "for 3", "for 4")
    assert table.rows == (
        ("1 squeeze", "", "yes", "yes", "yes"),
        ("2 shuffle", "?", "", "yes", "yes"),
        ("3 base", "no", "?", "", "yes"),
        ("4 random base", "no", "no", "?", ""),
    )
    assert interchange(Assessed(CASES["regression"])) is None
    assert interchange(Assessed(CASES["one"])) is None


@pytest.mark.parametrize("word", [Answer.UNKNOWN, Answer.NA, "", None, "YES", True])
def test_what_is_open_is_never_shown_as_yes(word: Any) -> None:
    report = CASES["four"]
    pairs = tuple(replace(p, stands_in=word, sentence="…") for p in Assessed(report).pairs)
    report = having(report, interchange=pairs)
    of_all = Assessed(report)
    table = interchange(of_all)
    assert table is not None
    assert {cell for row in table.rows for cell in row[1:]} == {"", "?"}
    assert {verdict for verdict, _ in sentences(of_all)} == {"?"}


def test_a_pair_that_was_not_compared_is_no_verdict() -> None:
    report = CASES["four"]
    of_all = Assessed(having(report, interchange=Assessed(report).pairs[1:]))
    table = interchange(of_all)
    assert table is not None and table.rows[1][1] == "–"
    assert "–: not compared" in table.note


def test_sentences_begin_with_those_that_hold_and_say_how_many_are_left_out() -> None:
    found = sentences(Assessed(CASES["four"]))
    assert [word for word, _ in found] == ["yes"] * 6 + ["?"] * 3 + ["no"] * 3
    assert "more (--report json:PATH has all)" not in told(CASES["four"])
    text = told(CASES["eight"])
    assert f"and {56 - MOST_SENTENCES} more (--report json:PATH has all)" in text
    assert ABOUT_P in text


def test_pairs_by_their_own_heads_are_marked_beside_pairs_by_probes() -> None:
    report = CASES["four"]
    first, *pairs = Assessed(report).pairs
    assert not any(s.endswith("(own heads)") for _, s in sentences(Assessed(report)))
    of_all = Assessed(having(report, interchange=(replace(first, basis=OWN), *pairs)))
    assert sum(s.endswith("(own heads)") for _, s in sentences(of_all)) == 1
    table = interchange(of_all)
    assert table is not None and "trained on these very samples" in table.note


# ---------------------------------------------------------------- answers


def test_the_first_sentence_says_which_to_take() -> None:
    said = " ".join(answers(Assessed(CASES["four"])))
    assert said.startswith("squeeze comes first: accuracy 95.0 % (91.0 to 99.0), with a probe")
    assert "The order among it and shuffle is not settled" in said
    assert "random base, whose weights were drawn at random as a control, comes last" in said
    assert "no other model to hold it against" in answers(Assessed(CASES["one"]))[0]
    assert "not ranked" in answers(Assessed(CASES["speech"]))[0]
    assert "R2 0.950 (0.910 to 0.990)" in answers(Assessed(CASES["regression"]))[0]


def test_a_control_that_does_better_is_told() -> None:
    report = CASES["four"]
    candidates = tuple(replace(c, random=n == 1) for n, c in enumerate(Assessed(report).candidates))
    of_all = Assessed(having(report, candidates=candidates))
    said = " ".join(answers(of_all))
    assert "shuffle has weights drawn at random and still comes before base and random" in said
    assert "comes last" not in said


def test_scores_say_of_how_many_models_their_order_is() -> None:
    table = predicted(Assessed(CASES["four"]))
    assert table is not None
    assert [row[:2] for row in table.rows] == [("LogME", "0.52"), ("LEEP", "1.00 (3 of 4 models)")]
    assert all(row[2] for row in table.rows), "each says what it asks"
    one = predicted(Assessed(CASES["one"]))
    assert one is not None and {row[1] for row in one.rows} == {"not measured"}
    assert "that takes two ranked models" in one.note


def test_training_is_told_where_it_is_known() -> None:
    table = trained(Assessed(CASES["four"]))
    assert table is not None
    assert [row[1] for row in table.rows] == [
        "optimizer SGD (training); epochs 90 (args)",
        "not known: its file does not tell",
        "not known: its file does not tell",
        "not at all: its weights were drawn at random, as a control",
    ]


def test_own_answers_come_with_a_warning() -> None:
    text = told(CASES["four"])
    assert "Mind: nothing shows that a model has not been trained on these very samples" in text
    report = replace(
        CASES["four"],
        measurements=tuple(
            m for m in CASES["four"].measurements if m.conditions["group"] != "as it is"
        ),
    )
    assert "Mind:" not in told(report)


def test_few_folds_are_said_to_make_rough_intervals() -> None:
    case = CASES["four"]

    def rough(folds: int, repeats: int) -> list[str]:
        plan = Assessed(case).folds
        assert plan is not None
        report = having(case, folds=replace(plan, folds=folds, repeats=repeats))
        return [s for s in folds_in_words(Assessed(report)) if "rough" in s]

    (said,) = rough(3, 1)
    assert said == (
        "Intervals from 3 folds are wide and rough: --folds 5 or more, or --repeats, narrows them."
    )
    assert len(rough(4, 1)) == 1 and rough(3, 2) == [] and rough(5, 1) == []


def test_the_two_variances_are_told_where_both_are_there() -> None:
    case = CASES["four"]
    mind = "of each model by itself, by its spread from fold to fold"
    for form in ("text", "markdown", "html"):
        assert mind in " ".join(render(case, form).split())
    pairs = tuple(replace(p, basis=OWN) for p in Assessed(case).pairs)
    heads = having(case, interchange=pairs)
    assert mind not in told(heads) and ABOUT_P in told(heads)
    assert mind not in told(CASES["speech"])  # nothing was trained
    bare = tuple(replace(m, interval=None) for m in case.measurements)
    assert about_p(Assessed(replace(case, measurements=bare))) == ABOUT_P


def test_folds_and_notes_are_told() -> None:
    text = told(CASES["four"])
    assert "256 samples were cut into 5 parts (folds)" in text
    assert "This was done 2 times" in text
    assert "samples of one subject are never on both sides" in text
    assert "64 further samples were held back" in text
    assert "two pictures could not be read" in text
    assert "content hash sha256 de85251b1871" in text
    assert "Interchange: not measured, because answers that are numbers" in told(
        CASES["regression"]
    )


# ---------------------------------------------------------------- the page


def drawing(report: Report, title: str) -> str:
    """The drawing of a title; "" where there is none."""
    found = (f.svg for f in figures(Assessed(report)) if f.title == title)
    return next(found, "")


def titles(case: str) -> list[str]:
    return [f.title for f in figures(Assessed(CASES[case]))]


@pytest.mark.parametrize("case", CASES)
def test_a_page_is_whole(case: str) -> None:
    source = render(CASES[case], "html")
    made = Page(source)
    assert "script" not in made.tags
    ids = [v for k, v in made.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        ElementTree.fromstring(svg)
        assert "nan" not in svg and "inf" not in svg
    # What tables, cards and drawings show is not shown again as raw facts.
    assert not {"candidates", "interchange", "confusion", "curves"} & set(made.text.split("\n"))
    assert "stands in: " not in made.text and "negative flips: " not in made.text


def test_drawings_are_of_what_was_measured() -> None:
    assert titles("fine-tuned") == [
        "Accuracy", "What accuracy costs", "Who can stand in for whom",
        "How many labelled samples it takes", "Fine-tuning, train loss",
        "Fine-tuning, validation loss", "Fine-tuning, figure", "Fine-tuning, cpu seconds",
        "Latency, one sample at a time",
        "Layers of 1 squeeze and 2 shuffle", "Layers of 1 squeeze and 3 base",
        "Layers of 1 squeeze and 4 random base",
        *(f"Confusion, {n}, by its probes" for n in NAMES[:4]),
    ]  # fmt: skip
    assert titles("regression") == ["R2", "What R2 costs", "Latency, one sample at a time"]
    assert "What accuracy costs" not in titles("one"), "one dot is no plot"
    assert not any("Latency" in t for t in titles("no latency"))
    assert "size of the weights" in drawing(CASES["no latency"], "What accuracy costs")
    assert titles("speech")[0] == "Answers"


def test_the_drawn_matrix_is_that_of_the_table() -> None:
    found = _looks(drawing(CASES["four"], "Who can stand in for whom"))
    assert found == [
        "self", "yes", "yes", "yes",
        "unknown", "self", "yes", "yes",
        "no", "unknown", "self", "yes",
        "no", "no", "unknown", "self",
    ]  # fmt: skip
    report = CASES["four"]
    pairs = tuple(replace(p, stands_in=Answer.UNKNOWN) for p in Assessed(report).pairs)
    report = having(report, interchange=pairs)
    svg = drawing(report, "Who can stand in for whom")
    assert set(_looks(svg)) == {"self", "unknown"} and ">yes<" not in svg and ": yes" not in svg


def _looks(svg: str) -> list[str]:
    return re.findall(r'class="cell (\w+)"', svg)


def test_the_front_is_filled_and_what_is_beaten_hollow() -> None:
    svg = drawing(CASES["four"], "What accuracy costs")
    assert re.findall(r'<g class="r(\d) m(\d)"', svg) == [
        ("0", "0"), ("1", "0"), ("2", "1"), ("3", "1"),
    ]  # fmt: skip
    assert 'class="front"' not in svg, "the first beats all others: there is no line to draw"
    points = [Point(n, "", x, y) for n, x, y in (("a", 1, 0.5), ("b", 2, 0.4), ("c", 3, 0.9))]
    assert unbeaten(points) == [(1, 0.5), (3, 0.9)]
    path = unbeaten(points)
    drawn = charts.scatter("p", "t", points, "x", "y", ("ms", "share"), path)
    assert drawn.count('class="front"') == 1
    # Points in one place are drawn, and their labels stand apart.
    same = charts.scatter("p", "t", [points[0]] * 3, "x", "y", ("ms", "share"))
    places = [float(y) for y in re.findall(r'<text x="276.0" y="([\d.]+)">a', same)]
    assert len(places) == 3 and all(b - a >= 16.9 for a, b in pairwise(places))


def test_a_curve_is_the_mean_of_the_folds() -> None:
    svg = drawing(CASES["fine-tuned"], "Fine-tuning, train loss")
    # Folds add 0.00, 0.01 and 0.02 to a loss of 2 / epoch.
    assert "1 squeeze: 2.01 at 1, 1.01 at 2, 0.677 at 3" in svg
    assert "Fine-tuning, train loss" not in titles("four")


def test_cards_answer_first() -> None:
    found = {c.question: c for c in cards(Assessed(CASES["four"]))}
    assert list(found) == [
        "Which should I reuse?", "Which can stand in for which?",
        "Could I have known without training?", "Do they work as they are?",
        "What does this rest on?",
    ]  # fmt: skip
    said = found["Which can stand in for which?"].answer
    assert said == "Of 12 replacements 6 are shown to hold, 3 are shown not to, and 3 are open."
    # LEEP is 1.00, but of three models alone: it is not the answer.
    said = found["Could I have known without training?"].answer
    assert said == "In part: LogME comes to 0.52, where 1 is the same order."
    assert "Which can stand in for which?" not in {
        c.question for c in cards(Assessed(CASES["regression"]))
    }


@pytest.mark.skipif(chromium() is None, reason="needs chromium and chromedriver on the PATH")
def test_pages_in_a_browser(tmp_path: Path) -> None:
    """No word on the console, no sideways scroll, no words over words, readable contrast."""
    with browser() as window:
        for case in ("eight, long names", "regression", "one"):
            file = tmp_path / "page.html"
            file.write_text(render(CASES[case], "html"), "utf-8")
            for width in WIDTHS:
                for scheme in SCHEMES:
                    window.show(file, width, scheme)
                    assert window.console() == []
                    assert window.run(FITS), (case, width)
                    assert [f for f in window.run(CONTRAST) if f[0] < 4.5] == [], (case, scheme)
                assert window.run(_OVER) == [], (case, width)
        # The check can fail: two words in one place, and one beyond the edge.
        words = '<text x="10" y="20">one</text><text x="12" y="22">two</text>'
        svg = f'<svg viewBox="0 0 400 40">{words}<text x="395" y="20">three</text></svg>'
        file.write_text(f"<!doctype html><body>{svg}", "utf-8")
        window.show(file, 1280, "light")
        assert window.run(_OVER) == [["one", "two"], ["three", "beyond the edge"]]


# Words of a drawing that lie over others (rotated ones aside), or beyond its edge.
_OVER = """
const found = [];
for (const svg of document.querySelectorAll('svg')) {
  const edge = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')];
  const boxes = texts.map(t => t.getBoundingClientRect());
  texts.forEach((t, i) => {
    const a = boxes[i];
    if (!t.getAttribute('transform'))
      texts.slice(i + 1).forEach((u, n) => {
        const b = boxes[i + 1 + n];
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > Math.min(a.height, b.height) * 0.4 && !u.getAttribute('transform'))
          found.push([t.textContent, u.textContent]);
      });
    if (a.right > edge.right + 1 || a.left < edge.left - 1 || a.bottom > edge.bottom + 1)
      found.push([t.textContent, 'beyond the edge']);
  });
}
return found;
"""


# ---------------------------------------------------------------- all formats


def test_markdown_is_a_section_of_a_card() -> None:
    source = render(CASES["four"], "markdown")
    heads = [line for line in source.splitlines() if line.startswith("#")]
    assert heads[0] == "## Reuse and interchange on a task"
    assert all(line.startswith(("## ", "### ")) for line in heads)
    assert "### Limits of this evidence" in heads
    shown = " ".join(Shown(source).text.split())
    for words in (
        "content hash sha256 de85251b1871", "256 samples were cut into 5 parts",
        "95.0 (91.0 to 99.0)", "fine-tuning can change the order",
        "Whether a model has seen these samples in its own training is not known",
        "whether shuffle can stand in for squeeze is open",
    ):  # fmt: skip
        assert words in shown
    assert "| 2 shuffle | ? |  | yes | yes |" in source


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_names_stay_names(form: str) -> None:
    h = HOSTILE
    report = sample((h, f"{h} 2", "base"), tuned=True)
    candidates = tuple(replace(c, training={h: h}) for c in Assessed(report).candidates)
    report = having(report, notes=(h,), order=ScoreOrder(h), candidates=candidates)
    made = render(report, form)
    if form == "text":
        assert max(map(len, made.splitlines())) <= WIDTH + 3  # a "::" that begins a line is escaped
        assert "\x1b" not in made and "\u202e" not in made
    if form == "html":
        assert "script" not in Page(made).tags
    if form == "markdown":
        shown = Shown(made)
        assert shown.tags <= OURS | {"h2", "h3"} and shown.attributes == []
        assert "@octocat" not in shown.text
    if form == "junit":
        ElementTree.fromstring(made)
    if form in ("json", "sarif"):
        json.loads(made)


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_that_lacks_everything_is_still_rendered(form: str) -> None:
    bare = Report("assess", Answer.YES, "nothing was measured")
    assert "nothing was measured" in render(bare, form) or form == "text"
    models = Assessed(CASES["four"]).candidates
    assert render(replace(bare, details=AssessSection(candidates=models)), form)


def test_what_is_stored_renders_as_it_did() -> None:
    report = CASES["eight"]
    stored = from_json(json.loads(json.dumps(to_json(report))))
    for form in ("text", "markdown", "html"):
        assert render(stored, form) == render(report, form)


def test_a_name_is_cut_in_its_middle() -> None:
    assert shorten("a-very-long-name", 9) == "a-ve…name"
    assert shorten("short", 9) == "short"
