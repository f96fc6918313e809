"""What two runtimes are fed: batches of 1, 2 and 3, and sizes that are asked for."""

import numpy as np
import pytest

from interop.models.signature import Argument, Signature, drawn, seeded
from interop.proof import Feed
from interop.proof import feed as feeds

TOKENS = Signature(
    (
        Argument("input_ids", ("batch", "sequence"), "int64", "whole", 5, 90),
        Argument("attention_mask", ("batch", "sequence"), "int64", "mask"),
    ),
    {"sequence": 16},
    {"sequence": 24},
)
OPEN = {"input_ids": ("batch", "sequence"), "attention_mask": ("batch", "sequence")}


def labels(found):
    return [label for label, _ in found]


def test_each_row_is_used_once_in_batches_of_1_2_and_3():
    whole = seeded((3, 4), 6)
    found = Feed.of(whole).batches()
    assert labels(found) == ["1", "2", "3"]
    np.testing.assert_array_equal(np.concatenate([b["input"] for _, b in found]), whole)


def test_fewer_samples_are_begun_anew():
    whole = seeded((4,), 3)
    found = Feed.of(whole, "real").batches()
    rows = np.concatenate([b["input"] for _, b in found])
    np.testing.assert_array_equal(rows, whole[[0, 1, 2, 0, 1, 2]])


@pytest.mark.parametrize("samples", [None, seeded((3, 4), 10)])
def test_a_graph_of_one_batch_size_gets_that_alone(samples):
    takes = Signature((Argument("input", ("batch", 3, 4)),))
    feed = Feed(takes, None if samples is None else {"input": samples})
    found = feed.batches({"x": (4, 3, 4)})  # whatever a graph calls its only input
    assert labels(found) == ["4"]
    assert found[0][1]["input"].shape == (4, 3, 4)
    assert feed.fixed_batch({"x": (4, 3, 4)}) == 4
    assert feed.fixed_batch({"x": ("batch", 3, 4)}) is None
    assert feed.fixed_batch(None) is None


def test_an_axis_that_the_graph_holds_is_not_tried():
    held = {"input_ids": ("batch", 16), "attention_mask": ("batch", 16)}
    assert labels(Feed(TOKENS).batches(held)) == ["1", "2", "3"]
    fixed = {"input_ids": (2, 16), "attention_mask": (2, 16)}
    assert labels(Feed(TOKENS).batches(fixed)) == ["2"]


def test_inputs_of_sizes_that_are_asked_for():
    found = Feed(TOKENS).at({"batch": 3, "sequence": 5})
    assert {a.shape for a in found.values()} == {(3, 5)}


def test_one_and_the_example_are_of_the_same_kind():
    feed = Feed(TOKENS)
    assert {a.shape for a in feed.one().values()} == {(1, 16)}
    assert {a.shape for a in feed.example().values()} == {(2, 16)}
    assert list(feed.example()) == ["input_ids", "attention_mask"]
    assert all(a.dtype == np.int64 for a in feed.example().values())


def test_masks_are_whole_in_the_first_row_and_end_early_in_others():
    mask = drawn(TOKENS, 7)["attention_mask"]
    assert mask[0].all()
    assert all((np.diff(row) <= 0).all() for row in mask)
    assert len({int(row.sum()) for row in mask}) == 7
    assert (mask.sum(1) >= 8).all()


def test_real_samples_of_several_inputs_go_by_name():
    real = {"input_ids": np.arange(64).reshape(4, 16), "attention_mask": np.ones((4, 16), np.int64)}
    found = Feed(TOKENS, real, "real").batches()
    np.testing.assert_array_equal(found[1][1]["input_ids"], real["input_ids"][1:3])


def test_the_same_every_time():
    one, other = (Feed(TOKENS).batches(OPEN) for _ in range(2))
    for (_, a), (_, b) in zip(one, other, strict=True):
        assert all(np.array_equal(a[n], b[n]) for n in a)


def test_a_large_module_is_fed_the_batches_that_its_trace_was_not():
    assert feeds.sizes_for(feeds.LARGE) == (1, 2, 3)
    sizes = feeds.sizes_for(feeds.LARGE + 1)
    assert labels(Feed(TOKENS, sizes=sizes).batches()) == ["1", "3"]
