"""What was measured of each network -> right, undecided or wrong by question, and the thresholds.

Thresholds are chosen on the first half of the kinds of networks, and every count is given of both
halves. A statement counts as wrong whatever it is about: there is no partly right.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.imprint_networks import CLASSES, KINDS, TILE, Spec, network, specs
from interop.facts import Preprocessing
from interop.identity import identify_file
from interop.identity.imprint import STANDARD, remembered
from interop.imprint import answers
from interop.imprint.answers import FLOOR, Answer, Question
from interop.imprint.candidates import OWN, RESIZED, affine
from interop.imprint.pipeline import silent
from interop.imprint.search import Trial

HALF = {kind: ("chosen", "reported")[n % 2] for n, kind in enumerate(KINDS)}
GRID = (1.02, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
# Nearly the same to a network: it has the accuracy of one, within what a sample can show.
NEAR = 0.15
COLORED = ("photos", "science")


def group(variant: str) -> str:
    """ReLU, ReLU6 and LeakyReLU(0.01) hardly differ where BatchNorm goes before them."""
    act = variant.partition(", ")[0]
    return "relu" if act in ("relu", "relu6", "leaky .01") else act


def _mark(variant: str) -> str:
    return variant.partition(", ")[2]


# In the study the weights are known to fit networks that differ in one of three ways.
ACTIVATION = Question("activation", lambda t: group(t.variant), answers.later,
                      answers.VARIANT.ratio, lambda t: t.how, across=True)  # fmt: skip
BLURRED = Question("anti-aliasing", lambda t: _mark(t.variant) == "blur", answers.later,
                   answers.BLURRED, lambda t: t.how, across=True)  # fmt: skip
PADDED = Question("padding", lambda t: _mark(t.variant) == "same", answers.later,
                  answers.VARIANT.ratio, lambda t: t.how, across=True)  # fmt: skip
QUESTIONS = (
    answers.SCALE, answers.NUMBERS, answers.INVERTED, answers.COLOR, answers.SIZE, answers.FILTER,
    answers.CROP, ACTIVATION, BLURRED, PADDED,
)  # fmt: skip


def right(answer: Answer, spec: Spec, truth: str) -> bool:
    """Whether an answer is that of the network's own training."""
    question, how = answer.question, spec.how
    if question is answers.NUMBERS:
        if spec.family == "own" and answer.value in (OWN, RESIZED):
            return True  # those of these images, which are a sample
        (a, b), (c, d) = affine(answer.trial.how), affine(how)
        # Planes of gray images are alike: only the order of the numbers counts.
        if answer.trial.how.color != how.color and spec.domain in COLORED:
            a, b = a[::-1], b[::-1]
        scales = (np.abs(a / c - 1) < NEAR).all()
        return bool(scales and (np.abs(b - d) < NEAR * 0.26 * np.abs(c)).all())
    own: Mapping[Question, Hashable] = {
        answers.SCALE: spec.family.startswith("byte"),
        answers.INVERTED: spec.family == "inverted",
        answers.COLOR: how.color,
        answers.SIZE: how.size,
        answers.FILTER: _filter(how, spec.domain),
        answers.CROP: False,
        ACTIVATION: group(truth),
        BLURRED: _mark(truth) == "blur",
        PADDED: _mark(truth) == "same",
    }
    value = answer.value
    if question is answers.FILTER:
        value = _filter(answer.trial.how, spec.domain)
    return value == own[question]


def _filter(how: Preprocessing, domain: str) -> Hashable:
    """The filter; whether it smooths is no question where an image grows."""
    grows = how.resize[0] >= (8 if domain == "digits" else TILE)
    smooth = None if grows or how.interpolation == "nearest" else how.antialias
    return how.interpolation, smooth


def read(work: Path) -> Iterator[tuple[Spec, dict[str, Any]]]:
    """The networks that were measured."""
    for spec in specs():
        path = work / f"{spec.name}.json"
        if path.exists():
            found = json.loads(path.read_bytes())
            for name, trials in found["trials"].items():
                found["trials"][name] = [_trial(t) for t in trials]
            yield spec, found


def _trial(given: Mapping[str, Any]) -> Trial:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in given["how"].items()}
    how = Preprocessing(**{k: v for k, v in fields.items() if k != "evidence"})
    layers = tuple(given["layers"])
    return Trial(how, given["numbers"], given["variant"], layers, given["complete"])


def of_network(spec: Spec, found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What is said of one network in each condition: by question whether it is right, and how much
    worse the next answer is; nothing above the floor but the scale, and nothing of statistics that
    were not trained or have not settled."""
    conditions = {}
    module = network(spec.kind, CLASSES[spec.domain])
    module.load_state_dict(torch.load(path)["state_dict"])
    mute = silent(module)
    for name, trials in found["trials"].items():
        if mute or not trials or not trials[0].complete:
            conditions[name] = {"divergence": None, "answers": {}}
            continue
        best, said = trials[0], {}
        for question in QUESTIONS:
            answer = answers.asked(question, trials, best)
            if answer is None or answer.ratio is None:
                continue
            spoken = best.median <= FLOOR or answers.survives(question, answer, trials)
            said[question.name] = {
                "right": right(answer, spec, found["truth"]),
                "ratio": round(min(answer.ratio, 1e6), 3),
                "spoken": spoken,
            }
        conditions[name] = {"divergence": round(best.median, 5), "answers": said}
    return {
        "kind": spec.kind, "half": HALF[spec.kind], "family": spec.family, "domain": spec.domain,
        "regime": spec.regime, "augmented": spec.augmented,
        "accuracy": round(found["accuracy"], 3), "cpu_seconds": round(found["cpu_seconds"], 1),
        "conditions": conditions,
    }  # fmt: skip


def of_file(spec: Spec, path: Path) -> dict[str, Any]:
    """What the file alone says: the range, and the family if the data look like photos."""
    seen = remembered(identify_file(path))
    assert seen is not None
    truth = {
        "unit": "0 to 1", "inverted": "0 to 1", "imagenet": STANDARD, "own": STANDARD,
        "half": "-1 to 1", "byte": "0 to 255", "byte less mean": "0 to 255 less a mean",
    }.get(spec.family, "")  # fmt: skip
    wide = spec.family.startswith("byte")
    return {
        "range": "silent" if seen.wide is None else _word(seen.wide is wide),
        "family": "silent" if not seen.family else _word(seen.family == truth),
        "scale": round(seen.scale, 4),
        "why": seen.why,
    }


def _word(is_right: bool) -> str:
    return "right" if is_right else "wrong"


def counts(rows: Sequence[Mapping[str, Any]], question: Question, condition: str) -> Counter[str]:
    """right, undecided, silent and wrong over some networks, at the question's ratio."""
    found: Counter[str] = Counter()
    for row in rows:
        if condition not in row["conditions"]:
            continue
        answer = row["conditions"][condition]["answers"].get(question.name)
        if answer is None:
            # Nothing to tell apart (gray images have no order of colours), or nothing at all.
            if question is answers.SCALE or row["conditions"][condition]["divergence"] is None:
                found["silent"] += 1
            continue
        if not answer["spoken"]:
            found["silent"] += 1
        elif answer["ratio"] < question.ratio:
            found["undecided"] += 1
        else:
            found[_word(answer["right"])] += 1
    return found


def least_ratio(rows: Sequence[Mapping[str, Any]], question: Question) -> float:
    """The least ratio of the grid by which no statement of these networks is wrong."""
    worst = 1.0
    for row in rows:
        for condition in ("own", "same fields", "16", "32"):
            answer = row["conditions"].get(condition, {}).get("answers", {}).get(question.name)
            if answer is not None and answer["spoken"] and not answer["right"]:
                worst = max(worst, answer["ratio"])
    return next((r for r in GRID if r > worst), GRID[-1])


def result(work: Path) -> dict[str, Any]:
    """All that the study found."""
    networks, files = {}, {}
    for spec, found in read(work):
        networks[spec.name] = of_network(spec, found, work / f"{spec.name}.pth")
    for spec in specs():
        if (path := work / f"{spec.name}.pth").exists():
            files[spec.name] = of_file(spec, path)
    settled = [r for r in networks.values() if r["regime"] == "settled"]
    halves = {h: [r for r in settled if r["half"] == h] for h in ("chosen", "reported")}
    by_question: dict[str, Any] = {}
    for question in QUESTIONS:
        by_question[question.name] = {
            "ratio": question.ratio,
            "least": least_ratio(halves["chosen"], question),
            **{
                f"{half}, {condition}": dict(counts(rows, question, condition))
                for half, rows in halves.items()
                for condition in ("own", "same fields", "32", "16", "foreign")
            },
        }
    return {
        "floor": FLOOR,
        "questions": by_question,
        "controls": controls(networks),
        "file": _of_files(files),
        "networks": networks,
        "files": files,
    }


def controls(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """What ought to be silent: how often something was said by way of inputs, and was wrong."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    ratios = {q.name: q.ratio for q in QUESTIONS}
    for row in networks.values():
        for condition, seen in row["conditions"].items():
            name = condition if row["regime"] == "settled" else row["regime"]
            if name in ("own", "same fields", "16", "32"):
                continue
            said = [
                (q, a)
                for q, a in seen["answers"].items()
                if a["spoken"] and a["ratio"] >= ratios[q]
            ]
            found[name]["networks"] += 1
            found[name]["statements"] += len(said)
            found[name]["wrong"] += sum(not a["right"] for _, a in said)
            found[name]["speaking"] += any(q != answers.SCALE.name for q, _ in said)
    return {name: dict(count) for name, count in found.items()}


def _of_files(files: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Counts of what files alone say, of both halves and of the regimes that should be silent."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    by_name = {s.name: s for s in specs()}
    for name, row in files.items():
        spec = by_name[name]
        part = HALF[spec.kind] if spec.regime == "settled" else spec.regime
        found[f"range, {part}"][row["range"]] += 1
        look = "photos" if spec.domain == "photos" else "other images"
        if spec.regime == "settled":
            found[f"family, {look}, {part}"][row["family"]] += 1
    return {name: dict(count) for name, count in sorted(found.items())}


# ---------------------------------------------------------------- the page


def page(found: Mapping[str, Any]) -> list[str]:
    """The study's tables, from the stored result."""
    return [*_file_table(found), "", *_question_table(found), "", *_control_table(found)]


def _file_table(found: Mapping[str, Any]) -> list[str]:
    rows = ["| from the file alone | networks | right | no statement | wrong |", "| --- " * 5 + "|"]
    for name, count in found["file"].items():
        what, _, rest = name.partition(", ")
        kind = "0 to 255 or not" if what == "range" else "family, if photos"
        cells = [f"{kind}: {rest}", sum(count.values())]
        rows.append(_row([*cells, *(count.get(k, 0) for k in ("right", "silent", "wrong"))]))
    return rows


def _question_table(found: Mapping[str, Any]) -> list[str]:
    conditions = ("own", "same fields", "32", "16")
    heads = ("64 held back", "64 of the same fields", "32", "16")
    rows = [_row(["question", "ratio needed", *heads]), "| --- " * 6 + "|"]
    for name, one in found["questions"].items():
        cells = [_four(one[f"reported, {c}"]) for c in conditions]
        rows.append(_row([name, f"{one['ratio']:g}", *cells]))
    return rows


def _four(count: Mapping[str, int]) -> str:
    """right / undecided / silent / wrong."""
    four = [count.get(k, 0) for k in ("right", "undecided", "silent", "wrong")]
    return " / ".join(f"**{n}**" if i == 3 else str(n) for i, n in enumerate(four))


def _control_table(found: Mapping[str, Any]) -> list[str]:
    rows = ["| control | networks | that say more than the scale | statements | wrong |",
            "| --- " * 5 + "|"]  # fmt: skip
    for name, count in sorted(found["controls"].items()):
        rows.append(_row([name, *(count[k] for k in ("networks", "speaking", "statements",
                                                     "wrong"))]))  # fmt: skip
    return rows


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
