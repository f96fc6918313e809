"""How a model was fed, for a terminal: an answer a question, and the preparations that were tried.

A `Fed` -> lines of at most 80 columns.
"""

from __future__ import annotations

from interop.facts import Fed, FedAnswer, Standing, TriedPreparation
from interop.report.table import WIDTH, table, wrap

MOST = 8  # preparations shown


def blocks(fed: Fed) -> list[list[str]]:
    head = f"how it was fed, by {fed.samples} images of {fed.data}"
    if fed.why:
        return [wrap(f"{head}: no statement: {fed.why}", WIDTH, subsequent_indent="  ")]
    lines = wrap(head, WIDTH, subsequent_indent="  ")
    if not fed.within:
        lines += wrap(
            f"these images are not of the kind that it was trained on: their divergence is "
            f"{fed.divergence:.3g} at best, and at most {fed.floor:g} is right",
            WIDTH, initial_indent="  ", subsequent_indent="  ",
        )  # fmt: skip
    if fed.samples < fed.wanted and fed.open:
        more = fed.wanted - fed.samples
        lines += wrap(f"{more} more images would decide more", WIDTH, initial_indent="  ")
    questions = table([["question", "", "answer"], *map(_answer, fed.answers)])
    return [lines, questions, _tried(fed)]


def _answer(answer: FedAnswer) -> list[str]:
    if answer.standing is Standing.FOREIGN:
        return [answer.question, "no statement", "the images are not of that kind"]
    if answer.standing is Standing.NOT_ASKED:
        return [answer.question, "not asked", f"{answer.answer or 'one'}: nothing else was tried"]
    if answer.standing is Standing.UNDECIDED:
        return [answer.question, "undecided", " or ".join((answer.answer, *answer.others))]
    worse = "" if answer.ratio is None else f" (the next is {factor(answer.ratio)} times worse)"
    return [answer.question, str(answer.standing), f"{answer.answer}{worse}"]


def factor(ratio: float) -> str:
    """A ratio in a few characters."""
    return "over 1000" if ratio > 1000 else f"{ratio:.3g}"


def _tried(fed: Fed) -> list[str]:
    rows = [["divergence", "ratio", "size", "filter", "colours", "scale, mean and std"]]
    rows += [_row(t) for t in fed.tried[:MOST]]
    return table(rows)


def _row(tried: TriedPreparation) -> list[str]:
    size, smooth = shape(tried)
    name = f"{tried.numbers} {tried.architecture and f'in {tried.architecture}'}".strip()
    figures = [f"{tried.divergence:.4f}", factor(tried.ratio)]
    return [*figures, size, smooth, tried.preprocess["color"], name]


def shape(tried: TriedPreparation) -> tuple[str, str]:
    """The size and the filter in words."""
    how = tried.preprocess
    size = "x".join(map(str, how.get("crop") or how["resize"]))
    size += " of " + "x".join(map(str, how["resize"])) if how.get("crop") else ""
    return size, how["interpolation"] + ("" if how.get("antialias", True) else ", plain")
