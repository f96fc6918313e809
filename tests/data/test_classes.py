"""Names are matched in any order and any spelling, and both sides are told where they differ."""

import pytest

from interop.data.classes import in_range, matched
from interop.errors import DataError

SAID = {"what": "the classes", "where": "here", "fix": "mend it"}


def test_each_name_finds_its_label_in_any_order_and_spelling():
    assert matched(["b", "a"], ["a", "x", "b"], **SAID) == {"b": 2, "a": 0}
    tench = ("tench, Tinca tinca", "tench", "Tinca tinca")
    assert matched([tench, "a"], ["a", "Tinca tinca"], **SAID) == {tench: 1, "a": 0}


def test_what_differs_is_told_of_both_sides():
    many = [f"x{i}" for i in range(7)]
    with pytest.raises(DataError) as error:
        matched([*many, "a"], ["a", "b"], **SAID)
    assert str(error.value) == (
        "here: the classes do not match the labels: 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more are "
        "each no label of the model, which has 'a', 'b'; mend it"
    )


def test_a_class_number_is_one_of_the_labels():
    assert in_range(1, ["a", "b"], where="here") == 1
    assert in_range(5, None, where="here") == 5
    for number, labels in ((2, ["a", "b"]), (-1, ["a"]), (-1, None)):
        with pytest.raises(DataError, match=f"here: its class is number {number}"):
            in_range(number, labels, where="here")
