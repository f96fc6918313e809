"""Tables are read row by row, from wherever a row lies, and a broken row is named by its number."""

import json

import pytest

from interop.data.tables import Csv, JsonLines, Parquet, Saved, open_rows
from interop.errors import DataError, ExtraMissing

ROWS = [{"text": f'line {i}\nof, "it"', "label": f"c{i % 3}"} for i in range(700)]


def a_csv(path, rows=ROWS):
    import csv

    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def a_jsonl(path, rows=ROWS):
    path.write_text("\n\n".join(json.dumps(r) for r in rows) + "\n")
    return path


def a_parquet(path, rows=ROWS, group=300):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def a_saved(path, rows=ROWS):
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


FORMS = [(a_csv, "t.csv", Csv), (a_jsonl, "t.jsonl", JsonLines), (a_parquet, "t.parquet", Parquet)]


@pytest.mark.parametrize(("make", "name", "kind"), FORMS)
def test_all_rows_and_any_of_them_come_back_as_they_were_written(tmp_path, make, name, kind):
    table = open_rows(make(tmp_path / name))
    assert isinstance(table, kind)
    assert table.columns == ("text", "label")
    assert len(table) == 700
    assert list(table.rows()) == list(enumerate(ROWS))
    picks = [0, 1, 299, 300, 555, 699]
    assert list(table.rows(picks)) == [(i, ROWS[i]) for i in picks]


def test_a_saved_data_set_gives_names_for_its_class_numbers_and_the_right_split(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["dog", "cat"])}
    )
    parts = {
        n: datasets.Dataset.from_dict({"text": [n, "x"], "label": [1, -1]}, features=features)
        for n in ("train", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    assert list(Saved(tmp_path / "d").rows()) == [
        (0, {"text": "test", "label": "cat"}),
        (1, {"text": "x", "label": None}),
    ]
    assert next(Saved(tmp_path / "d", "train").rows([0]))[1]["text"] == "train"
    with pytest.raises(DataError, match=r"splits train, test, and 'dev' is none"):
        Saved(tmp_path / "d", "dev")
    (tmp_path / "d" / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as a saved data set"):
        Saved(tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", b"text,label\na,b\nc\n", r"row 2: has 1 fields where the header has 2"),
        ("a.csv", b'text,label\n"a,b\n', r"row 1: is no CSV"),
        ("a.csv", b"text,label\n\xff,b\n", r"row 1: is not UTF-8 \(byte 0xff\)"),
        ("a.csv", b"text,label\n", "holds no row"),
        ("a.csv", b"", "holds no row"),
        ("a.jsonl", b'{"text": 1}\n\n{"text":\n', r"row 2: is no JSON"),
        ("a.jsonl", b"[1]\n", r"row 1: is a list, not an object"),
        ("a.txt", b"\n \n", "holds no row"),
        ("a.parquet", b"PAR1 and nothing more", "cannot be read as a Parquet file"),
    ],
)
def test_a_broken_table_is_an_error_that_says_where(tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(DataError, match=said) as error:
        list(open_rows(tmp_path / name).rows())
    assert str(tmp_path / name) in error.value.where
    assert error.value.fix


def test_a_separator_is_the_headers_and_a_row_keeps_its_lines(tmp_path):
    (tmp_path / "a.csv").write_text('text;label\n"two\nlines, and a comma";x\n\nlast;y\n')
    assert [r for _, r in open_rows(tmp_path / "a.csv").rows()] == [
        {"text": "two\nlines, and a comma", "label": "x"},
        {"text": "last", "label": "y"},
    ]


def test_lines_of_text_are_rows(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\n\n two \n")
    assert list(open_rows(tmp_path / "a.txt").rows([1])) == [(1, {"text": "two"})]


def test_a_damaged_row_group_is_an_error_when_it_is_reached(tmp_path):
    path = a_parquet(tmp_path / "a.parquet", [{"text": f"{i} {i * 7919}"} for i in range(5000)])
    whole = bytearray(path.read_bytes())
    whole[50:4000] = b"\x00" * 3950
    path.write_bytes(whole)
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        list(open_rows(path).rows())


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    path = a_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ExtraMissing, match=r"model-interop\[tables\]"):
        open_rows(path)


def test_a_table_is_not_held_in_memory(tmp_path):
    import tracemalloc

    path = a_jsonl(tmp_path / "big.jsonl", [{"text": "x" * 20_000, "label": "a"}] * 600)
    tracemalloc.start()
    assert sum(len(r["text"]) for _, r in open_rows(path).rows()) == 12_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
