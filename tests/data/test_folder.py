"""Class folders are matched to labels by name, and every file is accounted for."""

from hashlib import sha256

import numpy as np
import pytest

from fixtures.make import DIGITS, HOW, LABELS
from interop.data import Folder
from interop.errors import DataError

HELD = DIGITS / "heldout"


def a_set(root, names, picture=None):
    picture = picture or next((HELD / "zero").iterdir())
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "1.png").write_bytes(picture.read_bytes())
    return root


def test_the_class_is_the_folders_name_and_not_its_place_in_the_alphabet():
    data = Folder(HELD, LABELS)
    assert len(data) == 320
    for sample in data.samples:
        assert LABELS[sample.label] == sample.path.parent.name
    # Taken in alphabetical order, "eight" would have been class 0.
    assert data.samples[0].path.parent.name == "eight"
    assert data.samples[0].label == 8


def test_batches_stream_all_samples_once_with_the_hash_of_their_file():
    data = Folder(HELD, LABELS)
    batches = list(data.batches(HOW, 64))
    assert [b.pictures.shape for b in batches] == [(64, 3, 64, 64)] * 5
    assert batches[0].pictures.dtype == np.float32
    assert batches[0].labels.dtype == np.int64
    hashes = [h for b in batches for h in b.hashes]
    assert hashes == [sha256(s.path.read_bytes()).hexdigest() for s in data.samples]
    labels = np.concatenate([b.labels for b in batches])
    assert np.bincount(labels).tolist() == [32] * 10


def test_a_spread_shows_every_class():
    data = Folder(HELD, LABELS)
    assert data.spread(HOW, 7).shape == (7, 3, 64, 64)
    assert data.spread(HOW, 10**6).shape[0] == 320


def test_without_labels_pictures_are_taken_from_anywhere_below(tmp_path):
    a_set(tmp_path, ["x/y", "z"])
    assert [s.label for s in Folder(tmp_path).samples] == [-1, -1]


@pytest.mark.parametrize(
    ("folders", "labels", "said"),
    [
        (["cat", "dog"], ["cat", "wolf"], "'dog' is no label of the model, and 'wolf' is a label"),
        (["0", "1"], ["zero", "one"], "'0', '1' are each no label"),
        (["cat"], ["cat", "dog"], "'dog' is a label without a folder"),
    ],
)
def test_a_mismatch_of_names_is_named(tmp_path, folders, labels, said):
    with pytest.raises(DataError, match=said) as error:
        Folder(a_set(tmp_path, folders), labels)
    assert "--labels" in error.value.fix


def test_an_empty_class_folder_says_that_there_are_none(tmp_path):
    a_set(tmp_path, ["cat"])
    (tmp_path / "dog").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("")
    (tmp_path / "cat" / ".hidden.png").write_text("")
    (tmp_path / "of-no-class.png").write_text("")
    data = Folder(tmp_path, ["dog", "cat"])
    assert [s.label for s in data.samples] == [1]
    assert data.ignored == 2


@pytest.mark.parametrize("labels", [None, ["a"]])
def test_a_missing_or_empty_folder_is_an_error(tmp_path, labels):
    with pytest.raises(DataError, match="no such folder"):
        Folder(tmp_path / "absent", labels)
    with pytest.raises(DataError, match="is a file"):
        Folder(__file__, labels)
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no PNG or JPEG"):
        Folder(tmp_path, labels)


def test_a_broken_picture_is_named(tmp_path):
    a_set(tmp_path, ["a"])
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"2\.png: cannot be read"):
        list(Folder(tmp_path, ["a"]).batches(HOW, 8))
