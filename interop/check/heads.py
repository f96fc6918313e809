"""Two identities -> what there is to say of their heads, whatever their backbones.

Does B's head fit on A's backbone; do the two predict the same labels; and, where no file names
labels, do the rows of the two heads look as if the classes had changed places?
"""

from __future__ import annotations

from typing import Any

from interop.facts import Answer, Head, HeadInput, Identity, Pairing, RowMatch, TensorSpec
from interop.facts.sections.check import HeadComparison
from interop.identity.head import ONE_LAYER
from interop.reading import values_module

_MOST_ROWS = 4096  # a matrix of cosines has as many elements as rows by rows
_ALIKE = 0.5  # cosine of two rows from which on they may be of one class
_CLEARER = 0.2  # by which a row must be more alike another than its own to be suspected


def compared(a: Identity, b: Identity, pairing: Pairing) -> HeadComparison:
    """What a report shows: whether B's head fits A's backbone, the label space, the rows."""
    fits, why = _fits(a.head, b.head)
    labels, labels_why = _labels(a, b)
    # By name: how an architecture was learned makes no other head of it.
    one, two = (
        ([x.name for x in i.architectures], h and (h.in_width, h.outputs, h.kind))
        for i, h in ((a, a.head), (b, b.head))
    )
    alike = one == two
    return HeadComparison(
        alike=alike, fits=fits, why=why, labels=labels, labels_why=labels_why, rows=pairing.rows
    )


def _fits(a: Head | None, b: Head | None) -> tuple[Answer, str]:
    """Whether B's head takes what A's backbone gives, and why."""
    for side, head in (("A", a), ("B", b)):
        if head is None:
            return Answer.UNKNOWN, f"{side}'s head is not known"
        if not head.in_width:
            return Answer.UNKNOWN, f"{side} has no head, or one without a matrix"
    assert a is not None and b is not None
    if a.in_width != b.in_width:
        return Answer.NO, f"A's backbone gives {a.in_width} features, B's head takes {b.in_width}"
    if a.takes and b.takes and a.takes != b.takes:
        return Answer.NO, f"A's head is given {WORDS[a.takes]}, B's {WORDS[b.takes]}"
    if not a.takes or not b.takes:
        why = f"{a.in_width} features on both sides, but not known how they are pooled"
        return Answer.UNKNOWN, why
    return Answer.YES, f"both take {a.in_width} features, {WORDS[a.takes]}"


WORDS = {
    HeadInput.AVERAGE: "pooled",
    HeadInput.TOKEN: "of the class token",
    HeadInput.FLAT: "of a flattened map",
    HeadInput.MAP: "of a feature map",
    HeadInput.SEQUENCE: "one vector a token",
}


def _labels(a: Identity, b: Identity) -> tuple[Answer, str]:
    old, new = a.labels.names, b.labels.names
    if old is None or new is None:
        counts = {h.outputs for h in (a.head, b.head) if h is not None and h.outputs}
        if len(counts) == 2:
            return Answer.NO, "the numbers of outputs differ"
        return Answer.UNKNOWN, "the labels are not named on both sides"
    if old == new:
        return Answer.YES, f"{len(old)} labels in the same order"
    if sorted(old) == sorted(new):
        return Answer.NO, "the same labels in another order"
    if (common := len(set(old) & set(new))) == len(set(old)):
        return Answer.NO, f"A's {len(old)} labels are among B's {len(new)}"
    return Answer.NO, f"{common} of A's {len(old)} labels are among B's {len(new)}"


def match_rows(a: Identity, b: Identity, pairing: Pairing) -> RowMatch | None:
    """Which row of B's head is most alike each row of A's; None where that cannot be told.

    Rows are compared by the cosine of their deviations from the mean row, which all classes share.
    Only heads of one layer on backbones of one architecture: rows on other features are of another
    space. Raises ReadError where the values cannot be had.
    """
    one, two = _matrix(a), _matrix(b)
    if one is None or two is None or one.shape[:2] != two.shape[:2] or one.shape[0] < 3:
        return None
    mine, theirs = ({x.name for x in i.architectures} for i in (a, b))
    same = bool(mine & theirs) or not (mine or theirs or pairing.missing or pairing.extra)
    if not same or one.shape[0] > _MOST_ROWS:
        return None
    import numpy as np

    def directions(spec: TensorSpec) -> Any:
        rows = np.asarray(values_module().array(spec), dtype=np.float64).reshape(spec.shape[0], -1)
        rows = rows - rows.mean(axis=0)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    cosines = directions(one) @ directions(two).T
    if not np.isfinite(cosines).all():
        return None
    order = cosines.argmax(axis=1)
    every = np.arange(len(order))
    # Each row of A has a row of its own in B, and is what that row is most alike in turn.
    if (cosines.argmax(axis=0)[order] != every).any():
        return None
    moved = order != every
    best, own = cosines[every, order], cosines[every, every]
    if (best[moved] < _ALIKE).any() or (best[moved] - own[moved] < _CLEARER).any():
        return None
    return RowMatch(tuple(map(int, order)), float(own.mean()), float(best.mean()))


def _matrix(identity: Identity) -> TensorSpec | None:
    head = identity.head
    if head is None or head.kind not in ONE_LAYER:
        return None
    matrices = [t for t in identity.tensors if t.name == f"{head.path}.weight"]
    return matrices[0] if matrices and matrices[0].storage is not None else None
