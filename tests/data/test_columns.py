"""A table's columns are found by their names, and its labels by the model's."""

import json
from hashlib import sha256

import numpy as np
import pytest

from fixtures.make import DIGITS
from fixtures.speech import SPEECH
from interop.data.columns import TableData
from interop.data.tables import open_rows
from interop.errors import ConfigError, DataError

A_CLIP = SPEECH / "heldout" / "seven" / "f3-en-us.flac"
A_PICTURE = DIGITS / "heldout" / "two"


def table(tmp_path, rows, task, labels=None, columns=None):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return TableData(open_rows(path), task, labels, columns)


def truths(data):
    return [r.truth for r in data.records()]


def test_a_class_is_the_labels_name_and_not_its_order(tmp_path):
    rows = [{"sentence": "a", "label": "b"}, {"sentence": "c", "label": "a"}]
    data = table(tmp_path, rows, "text-classification", ["z", "b", "a"])
    assert data.kind == "texts"
    assert data.about()["columns"] == {"text": "sentence", "label": "label"}
    first, second = data.records()
    assert (first.raw, first.truth, first.name) == ("a", 1, "row 1")
    assert second.truth == 2
    assert first.sha256 == sha256(b'{"label":"b","sentence":"a"}').hexdigest()
    assert next(data.records([1])) == second


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        ([0, 2, 1], ["x", "y", "z"], [0, 2, 1]),
        (["0", "2"], ["x", "y", "z"], [0, 2]),
        # The labels are numbers themselves: names before places.
        ([3, 1], ["1", "2", "3"], [2, 0]),
        # Where not all are names, all are places: "1" is not both.
        ([0, 1], ["1", "2", "3"], [0, 1]),
    ],
)
def test_integral_labels_are_names_where_all_are_and_else_places(
    tmp_path, values, labels, expected
):
    rows = [{"text": "t", "label": v} for v in values]
    assert truths(table(tmp_path, rows, "text-classification", labels)) == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["b", "dog"], "the values of 'label' do not match the labels: 'dog' is no label"),
        ([0, 3], "its class is number 3, and the model has 2 labels"),
        ([1.5], "'1.5' is no label"),
        ([None], "row 1: has nothing in the column 'label'"),
    ],
)
def test_a_label_that_the_model_has_not_is_named(tmp_path, values, said):
    rows = [{"text": "t", "label": v} for v in values]
    with pytest.raises(DataError, match=said):
        table(tmp_path, rows, "text-classification", ["a", "b"])


def test_columns_can_be_named_and_missing_ones_are_told_with_those_there_are(tmp_path):
    rows = [{"a": "said", "b": "x", "text": "other"}]
    named = {"text": "a", "label": "b"}
    (record,) = table(tmp_path, rows, "text-classification", ["x"], named).records()
    assert (record.raw, record.truth) == ("said", 0)
    with pytest.raises(DataError, match=r"needs a column of label .* are 'a', 'b', 'text'"):
        table(tmp_path, rows, "text-classification", ["x"])
    with pytest.raises(ConfigError, match="has no column 'c'"):
        table(tmp_path, rows, "text-classification", ["x"], {"label": "c"})
    with pytest.raises(ConfigError, match="'word' is no role"):
        table(tmp_path, rows, "text-classification", ["x"], {"word": "a"})


def test_words_have_their_tags_by_name_or_number(tmp_path):
    rows = [{"tokens": ["Ann", "ran"], "ner_tags": ["B-PER", "O"]}]
    data = table(tmp_path, rows, "token-classification", ["O", "B-PER"])
    (record,) = data.records()
    assert (record.raw, record.truth) == (("Ann", "ran"), ("B-PER", "O"))
    rows = [{"words": "Ann ran", "tags": [1, 0]}]
    assert truths(table(tmp_path, rows, "token-classification", ["O", "B-PER"])) == [("B-PER", "O")]
    rows = [{"words": "Ann ran off", "tags": "O O"}]
    with pytest.raises(DataError, match="row 1: has 3 words and 2 tags"):
        truths(table(tmp_path, rows, "token-classification", ["O"]))
    with pytest.raises(DataError, match="'B-LOC' is no label"):
        table(tmp_path, [{"words": "A", "tags": ["B-LOC"]}], "token-classification", ["O"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"text": ["x", "y"], "answer_start": [1, 2]}, ("x", "y")),
        ({"text": [], "answer_start": []}, ()),
        (["x"], ("x",)),
        ([{"text": "x"}], ("x",)),
        ('{"text": ["x"]}', ("x",)),
        ("[sic] x", ("[sic] x",)),
        ("", ()),
    ],
)
def test_answers_in_every_form_that_squad_is_kept_in(tmp_path, given, expected):
    rows = [{"id": 1, "question": "q", "context": "c", "answers": given}]
    (record,) = table(tmp_path, rows, "question-answering").records()
    assert (record.raw, record.truth) == (("q", "c"), expected)


def test_answers_of_another_form_are_an_error(tmp_path):
    rows = [{"question": "q", "context": "c", "answers": [1]}]
    with pytest.raises(DataError, match=r"row 1: its answers are '\[1\]'"):
        truths(table(tmp_path, rows, "question-answering"))


def test_a_manifest_of_sounds_names_files_beside_it(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.flac").write_bytes(A_CLIP.read_bytes())
    rows = [{"path": "clips/a.flac", "transcript": "seven"}]
    data = table(tmp_path, rows, "automatic-speech-recognition")
    (record,) = data.records()
    assert data.kind == "sounds"
    assert (record.name, record.truth, record.raw.rate) == ("clips/a.flac", "seven", 8000)
    assert record.sha256 == sha256(A_CLIP.read_bytes()).hexdigest()
    rows = [{"path": "clips/b.flac", "transcript": "x"}]
    with pytest.raises(DataError, match=r"b\.flac: cannot be read \(No such file"):
        truths(table(tmp_path, rows, "automatic-speech-recognition"))


def test_regression_takes_texts_pictures_and_several_numbers(tmp_path):
    picture = next(A_PICTURE.iterdir())
    (tmp_path / "a.png").write_bytes(picture.read_bytes())
    data = table(tmp_path, [{"image": "a.png", "score": 2}], "regression")
    (record,) = data.records()
    assert (data.kind, record.truth, record.raw.size) == ("pictures", 2.0, (8, 8))
    data = table(tmp_path, [{"text": "t", "value": [1, 2.5]}], "regression")
    assert data.kind == "texts"
    assert np.array_equal(truths(data)[0], [1, 2.5])
    for bad in ("much", True, [], float("nan"), [float("inf")]):
        with pytest.raises(DataError, match="row 1: its target"):
            truths(table(tmp_path, [{"text": "t", "value": bad}], "regression"))


def test_files_within_a_parquet_table_are_read_and_hashed(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = A_CLIP.read_bytes()
    rows = [{"audio": {"bytes": data, "path": "x.flac"}, "label": "seven"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    given = TableData(open_rows(tmp_path / "t.parquet"), "audio-classification", ["six", "seven"])
    (record,) = given.records()
    assert (record.name, record.truth) == ("x.flac", 1)
    assert record.sha256 == sha256(data).hexdigest()


def test_without_labels_a_class_is_not_known(tmp_path):
    assert truths(table(tmp_path, [{"text": "t", "label": 1}], "text-classification")) == [None]


def test_a_text_that_is_none_is_an_error(tmp_path):
    with pytest.raises(DataError, match="row 1: its text is a int, not a text"):
        truths(table(tmp_path, [{"text": 5}], "text-generation"))


def test_a_second_text_is_refused_where_a_task_takes_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "other": "b"}')
    with pytest.raises(ConfigError, match="text-generation takes no second text"):
        TableData(open_rows(path), "text-generation", None, {"text_pair": "other"})
    data = TableData(
        open_rows(path), "text-classification", None, {"text_pair": "other", "label": "other"}
    )
    assert next(data.records()).raw == ("a", "b")
