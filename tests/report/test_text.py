"""What `inspect` prints of heads, and what `bench` prints of what it measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interop.check import inspect
from interop.facts import Answer, Graph, Json, Labels, Measurement, Port, Report, Skipped
from interop.facts.sections.bench import BenchSection
from interop.identity import identify
from interop.models.catalog import entry
from interop.report.json import to_json
from interop.report.text import render
from interop.report.text.shared import MOST_LISTED, listing
from interop.report.units import quantity, spanned
from tests.helpers.manifests import manifest


def test_what_lies_beside_a_backbone_has_a_row_of_its_own() -> None:
    shapes = {f"net.{n}": s for n, s in entry("torchvision/resnet34").shapes.items()}
    shapes |= {"loss.weight": (7,), "decoder.rnn.weight_hh_l0": (64, 16)}
    lines = render(inspect([identify(manifest(shapes))])).splitlines()
    rows = [line for line in lines if line.startswith(("head  ", "beside it"))]
    assert rows == [
        "head           net.fc (linear, of pooled features), 512 -> 1000 (the index)",
        "beside it      loss (several layers)",
    ]
    assert "               decoder (several layers)" in lines
    gone = {n: s for n, s in shapes.items() if not n.startswith("net.fc")}
    text = render(inspect([identify(manifest(gone))]))
    assert "net.fc is gone" in text
    assert "what lies beside it is not known to be one" in " ".join(text.split())


def test_a_long_list_is_cut_before_it_is_wrapped() -> None:
    asked = []

    def show(n: int) -> str:
        asked.append(n)
        return f"<{n}>"

    assert listing(range(3), show, "; ") == "<0>; <1>; <2>"
    words = listing(range(250_000), show)
    assert len(asked) == 3 + MOST_LISTED
    assert words.endswith(f"<{MOST_LISTED - 1}> and 249,964 more (--format json has all)")
    assert listing(range(MOST_LISTED)).endswith(f", {MOST_LISTED - 1}")


def test_what_a_file_has_very_many_of_is_told_by_the_first() -> None:
    names = tuple(f"class {n}" for n in range(1000))
    port = Port("x", "float32", tuple(range(100)))
    seen = manifest({"fc.weight": (1000, 4)}, metadata={f"key {n}": n for n in range(5000)})
    seen = replace(
        seen,
        held_aside=tuple(f"state.{n}" for n in range(900)),
        graph=Graph(inputs=(port,) * 50, outputs=(port,), opsets={"": 17}),
    )
    identity = replace(identify(seen), labels=Labels(names, "key 'labels'"))
    text = " ".join(render(inspect([identity])).split())
    for more in ("964", "4,964", "864", "14", "64"):
        assert f"and {more} more (--format json has all)" in text
    assert "class 35" in text and "class 36" not in text
    assert "key 4999" in str(to_json(inspect([identity])))


# ---------------------------------------------------------------- bench


def of(model: str, runtime: str, group: str, **more: Json) -> dict[str, Json]:
    lane = {"of": f"{model} {runtime}", "model": model, "runtime": runtime}
    return {"group": group, **lane, **more}


def benched(runtimes: tuple[str, ...] = ("pytorch", "onnxruntime"), models: str = "A") -> Report:
    found = []
    for r, model in ((r, m) for m in models for r in runtimes):
        found.append(
            Measurement(
                "top-1", "share", 0.8833, (0.8421, 0.9149), conditions=of(model, r, "accuracy")
            )
        )
        found.append(
            Measurement(
                "negative log likelihood",
                "abs",
                0.8,
                (0.59, 1.042),
                conditions=of(model, r, "accuracy"),
            )
        )
        found.append(
            Measurement("mean IoU", "share", None, None, conditions=of(model, r, "accuracy"))
        )
        found += [
            Measurement(
                "throughput",
                "per second",
                1239.11 * b,
                (1098.4, 1357.6),
                (1.0,),
                of(model, r, "throughput", batch=b),
            )
            for b in (1, 8)
        ]
        found.append(
            Measurement(
                "copies", "share", 0.25, (0.2, 0.3), (1.0,), of(model, r, "copies", batch=1)
            )
        )
        found.append(Measurement("cold start", "ms", 812.5, None, (), of(model, r, "own process")))
        found.append(
            Measurement(
                "first run",
                "ms",
                11.93,
                None,
                (),
                of(model, r, "own process", batch=8, shape={}, steady_ms=4.05),
            )
        )
        found.append(
            Measurement(
                "first run",
                "ms",
                6.25,
                None,
                (),
                of(model, r, "own process", batch=1, shape={"sequence": 24}, steady_ms=0.99),
            )
        )
    for model in models:
        pair = f"{model}: onnxruntime against pytorch"
        found.append(
            Measurement(
                "flips",
                "count",
                0.0,
                conditions={"group": "change of runtime", "between": "runtimes", "of": pair},
            )
        )
    return Report("bench", Answer.YES, "", measurements=tuple(found))  # fmt: skip


def test_runtimes_stand_side_by_side() -> None:
    text = render(benched())
    lines = text.splitlines()
    assert "accuracy                 A pytorch                 A onnxruntime" in lines
    row = "top-1                    88.33 % (84.21 to 91.49)  88.33 % (84.21 to 91.49)"
    assert lines.count(row) == 1
    assert "negative log likelihood  0.80 (0.59 to 1.04)       0.80 (0.59 to 1.04)" in lines
    assert "mean IoU                 -                         -" in lines
    row = "batch 1     1239 per second (1098 to 1358)  1239 per second (1098 to 1358)"
    assert row in lines, "the unit is said once"
    assert "batch 1  25.00 % (20.00 to 30.00)  25.00 % (20.00 to 30.00)" in lines
    assert "cold start              812.50 ms             812.50 ms" in lines
    assert "first run, batch 8      11.93 ms, later 4.05  11.93 ms, later 4.05" in lines
    assert "first run, sequence 24  6.25 ms, later 0.99   6.25 ms, later 0.99" in lines
    assert "A: onnxruntime against pytorch  value  95 % interval" in lines


@pytest.mark.parametrize("models", ["A", "AB"])
def test_no_line_is_wider_than_a_terminal(models: str) -> None:
    many = ("pytorch", "pytorch:compile", "onnxruntime", "onnxruntime:io-binding:float16")
    text = render(benched(many, models))
    assert max(map(len, text.splitlines())) <= 80
    # What does not fit goes into a table below, and nothing is lost.
    for model in models:
        for runtime in many:
            assert f"{model} {runtime}" in text
    assert text.count("88.33 % (84.21 to 91.49)") == len(models) * len(many)
    for name in [f"{m}: onnxruntime against pytorch" for m in models]:
        assert name in text


def test_lanes_that_were_not_had_and_notes_are_told() -> None:
    report = replace(
        benched(),
        skipped=(Skipped("onnxruntime:int8", "the quantiser gave up"),),
        details=BenchSection(notes=("A: the head was taken for linear",)),
    )
    text = render(report)
    assert "not measured: onnxruntime:int8: the quantiser gave up" in text
    assert "A: the head was taken for linear" in text
    assert "not measured" not in render(benched())


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1239.11, "per second", "1239 per second"),
        (0.532, "per second", "0.53 per second"),
        (4.2e-06, "abs", "4.2e-06"),
        (0.8, "abs", "0.80"),
        (3.456, "abs", "3.46"),
        (-1234.5, "abs", "-1234.5"),
        (0.0, "abs", "0.0"),
    ],
)
def test_figures_have_the_digits_that_people_compare(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


def test_an_interval_names_its_unit_once() -> None:
    assert spanned(-0.0065, 0.0065, "points") == "-0.65 to +0.65 points"
    assert spanned(0.1, 0.2, "share", bare=True) == "10.00 to 20.00"
    assert spanned(1.0, 2.0, "ratio") == "1.000 to 2.000"
    assert spanned(6.2e7, 1.2e9, "bytes") == "62.0 MB to 1.2 GB", "two units are both named"
