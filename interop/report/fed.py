"""How a model was fed -> the sentences and tables that every format shows."""

from __future__ import annotations

from interop.facts import Fed, FedAnswer, Standing, TriedPreparation
from interop.report.values import Table

MOST, MOST_ANSWERS = 8, 3  # preparations shown, and answers that fit as well
_HUGE = 1000


def headline(fed: Fed) -> str:
    """What was measured on what, and what limits it."""
    head = f"how it was fed, by {fed.samples} images of {fed.data}"
    if fed.why:
        return f"{head}: no statement: {fed.why}"
    words = [head]
    if not fed.within:
        words.append(
            "these images are not of the kind that it was trained on: their divergence is "
            f"{fed.divergence:.3g} at best, and above {fed.floor:g} the scale alone is certain"
        )
    if fed.samples < fed.wanted and fed.open:
        words.append(f"{fed.wanted - fed.samples} more images may decide what is undecided")
    return "; ".join(words)


def answers(fed: Fed) -> Table:
    """An answer a question."""
    rows = tuple(_answer(a) for a in fed.answers)
    return Table("How it was fed", ("question", "", "answer"), rows)


def tried(fed: Fed) -> Table:
    """The best preparations, and what answers each question otherwise."""
    head = ("divergence", "ratio", "size", "filter", "colours", "scale, mean and std")
    rows = tuple(_row(t) for t in fed.tried[:MOST])
    note = (
        "The divergence is the median over the BatchNorms, in nats; 0 is just as in training. A "
        "question is judged by the layers that see it best, so its ratio is another than here."
    )
    return Table("Preparations that were tried", head, rows, (0, 1), note)


def _answer(answer: FedAnswer) -> tuple[str, str, str]:
    if answer.standing is Standing.FOREIGN:
        return answer.question, "no statement", "the images are not of that kind"
    if answer.standing is Standing.NOT_ASKED:
        return answer.question, "not asked", "nothing else was tried"
    if answer.standing is Standing.UNDECIDED:
        every = (answer.answer, *answer.others)
        more = f" or {len(every) - MOST_ANSWERS} more" if len(every) > MOST_ANSWERS else ""
        return answer.question, "undecided", " or ".join(every[:MOST_ANSWERS]) + more
    worse = "" if answer.ratio is None else f" (the next is {factor(answer.ratio)} times worse)"
    return answer.question, str(answer.standing), f"{answer.answer}{worse}"


def factor(ratio: float) -> str:
    """A ratio in a few characters."""
    return f"over {_HUGE}" if ratio > _HUGE else f"{ratio:.3g}"


def _row(one: TriedPreparation) -> tuple[str, ...]:
    size, kernel = _shape(one)
    where = one.architecture
    name = f"{one.numbers} {where if where.startswith('with ') else f'in {where}' * bool(where)}"
    return (
        f"{one.divergence:.4g}",
        factor(one.ratio),
        size,
        kernel,
        one.preprocess["color"],
        name.strip(),
    )


def _shape(one: TriedPreparation) -> tuple[str, str]:
    """The size and the filter in words."""
    how = one.preprocess
    size = "x".join(map(str, how.get("crop") or how["resize"]))
    size += " of " + "x".join(map(str, how["resize"])) if how.get("crop") else ""
    return size, how["interpolation"] + ("" if how.get("antialias", True) else ", plain")
