"""What is right of each record, and which records belong together."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interop.assess.dataset import DataSpec, labelled
from interop.errors import ConfigError, DataError


def pictures(folder: Path, names: list[str], *, same: bool = False) -> Path:
    for n, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 7 if same else n).save(path)
    return folder


def test_class_folders_give_their_names_and_numbers(tmp_path):
    data = pictures(tmp_path, ["cat/a.png", "cat/b.png", "dog/a.png"])
    found = labelled(DataSpec(str(data), "image-classification"))
    assert found.labels == ("cat", "dog") and found.truth.tolist() == [0, 0, 1]
    assert found.group.tolist() == [0, 1, 2] and found.grouped_by == ""


def test_folders_within_a_class_are_groups(tmp_path):
    names = ["cat/ann/a.png", "cat/bob/a.png", "dog/ann/a.png", "dog/bob/a.png"]
    found = labelled(DataSpec(str(pictures(tmp_path, names)), "image-classification"))
    assert found.group.tolist() == [0, 1, 0, 1]
    assert found.grouped_by == "the folder within each class"


def test_a_pattern_takes_groups_from_names(tmp_path):
    data = str(pictures(tmp_path, ["cat/ann-1.png", "cat/ann-2.png", "dog/bob-1.png"]))
    found = labelled(DataSpec(data, "image-classification", group=r"/([a-z]+)-"))
    assert found.group.tolist() == [0, 0, 1]
    with pytest.raises(ConfigError, match="has no group"):
        labelled(DataSpec(data, "image-classification", group=r"(bob)"))
    with pytest.raises(ConfigError, match="no pattern"):
        labelled(DataSpec(data, "image-classification", group="("))


def test_the_same_bytes_are_one_group(tmp_path):
    data = pictures(tmp_path, ["cat/a.png", "cat/b.png", "dog/a.png"], same=True)
    found = labelled(DataSpec(str(data), "image-classification"))
    assert len(set(found.group.tolist())) == 1 and "2 records" in found.grouped_by


def test_groups_that_share_bytes_are_one(tmp_path):
    names = ["cat/ann/a.png", "cat/bob/a.png", "dog/cid/a.png"]
    data = pictures(tmp_path, names)
    (data / "cat/bob/b.png").write_bytes((data / "cat/ann/a.png").read_bytes())
    found = labelled(DataSpec(str(data), "image-classification"))
    groups = dict(zip(found.names, found.group.tolist(), strict=True))
    assert groups["cat/ann/a.png"] == groups["cat/bob/a.png"] != groups["dog/cid/a.png"]


def table(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_a_tables_column_of_speakers_is_a_group(tmp_path):
    rows = [{"text": f"t{i}", "label": "ab"[i % 2], "speaker": str(i // 2)} for i in range(6)]
    data = table(tmp_path / "t.csv", rows)
    found = labelled(DataSpec(data, "text-classification"))
    assert found.group.tolist() == [0, 0, 1, 1, 2, 2] and found.grouped_by == "column speaker"
    with pytest.raises(ConfigError, match="no column"):
        labelled(DataSpec(data, "text-classification", group="nobody"))


def test_tagged_words_are_rows_of_their_text(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"words": ["Ann", "sees", "Bob"], "tags": ["P", "O", "P"]}\n'
        '{"words": ["She", "sleeps"], "tags": ["O", "O"]}\n'
    )
    found = labelled(DataSpec(str(path), "token-classification"))
    assert found.labels == ("O", "P") and found.truth.tolist() == [1, 0, 1, 0, 0]
    assert found.record.tolist() == [0, 0, 0, 1, 1]


def test_numbers_are_a_regressions_truth(tmp_path):
    rows = [{"text": f"t{i}", "label": f"{i / 2}"} for i in range(4)]
    found = labelled(DataSpec(table(tmp_path / "t.csv", rows), "regression"))
    assert found.truth.dtype == np.float64 and found.truth.tolist() == [0, 0.5, 1, 1.5]


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    data = pictures(tmp_path, ["train/cat/a.png", "val/cat/a.png"])
    with pytest.raises(DataError, match="parts of a data set"):
        labelled(DataSpec(str(data), "image-classification"))


def test_other_tasks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no task that models are assessed on"):
        labelled(DataSpec(str(tmp_path), "object-detection"))
