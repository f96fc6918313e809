"""What every format says of an assessment: the ranking, the front, who may stand in for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from interop.facts import Answer, Input, Json, Measurement, Report, Skipped
from interop.report import render
from interop.report.assessed import (
    ABOUT_P,
    MOST_SENTENCES,
    Assessed,
    answers,
    costs,
    front_in_words,
    interchange,
    predicted,
    ranking,
    sentences,
    trained,
)
from interop.report.table import WIDTH, grid

NAMES = ("squeeze", "shuffle", "base", "random base", "vit", "swin", "convnext", "mixer")
OWN, PROBE = "as it is", "probe"
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
        details={
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
        },
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
            {"epoch": e, "loss": 2.0 / e + 0.01 * fold, "accuracy": 1 - 0.6 / e - n / 20}
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


def told(report: Report) -> str:
    return " ".join(render(report, "text").split())


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("case", CASES)
def test_no_line_is_wider_than_a_terminal(case: str) -> None:
    lines = render(CASES[case], "text").splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert all(n in "".join("".join(lines).split()) for n in map(_tight, _names(CASES[case])))


def _names(report: Report) -> list[str]:
    return [c["name"] for c in report.details["candidates"]]


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


@pytest.mark.parametrize("word", ["unknown", "n/a", "", None, "YES", True])
def test_what_is_open_is_never_shown_as_yes(word: Any) -> None:
    report = CASES["four"]
    pairs = [{**p, "stands_in": word, "sentence": "…"} for p in report.details["interchange"]]
    report = replace(report, details={**report.details, "interchange": pairs})
    of_all = Assessed(report)
    table = interchange(of_all)
    assert table is not None
    assert {cell for row in table.rows for cell in row[1:]} == {"", "?"}
    assert {verdict for verdict, _ in sentences(of_all)} == {"?"}


def test_a_pair_that_was_not_compared_is_no_verdict() -> None:
    report = CASES["four"]
    pairs = report.details["interchange"][1:]
    of_all = Assessed(replace(report, details={**report.details, "interchange": pairs}))
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
    pairs = [dict(p) for p in report.details["interchange"]]
    assert not any(s.endswith("(own heads)") for _, s in sentences(Assessed(report)))
    pairs[0]["basis"] = "as it is"
    of_all = Assessed(replace(report, details={**report.details, "interchange": pairs}))
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
    candidates = [dict(c) for c in report.details["candidates"]]
    candidates[1]["random"], candidates[3]["random"] = True, False
    of_all = Assessed(replace(report, details={**report.details, "candidates": candidates}))
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
