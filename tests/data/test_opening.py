"""One function opens every form; a path that is none of the task's says what would be."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fixtures import speech, text
from fixtures.make import DIGITS, LABELS
from interop.data import open_data
from interop.data.arrays import ArrayData
from interop.data.columns import TableData
from interop.data.detection import CocoBoxes
from interop.data.folder import ClassFolder
from interop.data.masks import MaskFolder
from interop.errors import ConfigError, DataError


def test_folders_of_pictures_and_of_sounds_are_matched_by_name():
    pictures = open_data(DIGITS / "heldout", "image-classification", LABELS)
    sounds = open_data(speech.SPEECH / "heldout", "audio-classification", LABELS[::-1])
    assert (pictures.kind, len(pictures)) == ("pictures", 320)
    assert (sounds.kind, len(sounds)) == ("sounds", 100)
    for data, labels in ((pictures, LABELS), (sounds, LABELS[::-1])):
        assert isinstance(data, ClassFolder)
        for record in data.spread(20):
            assert labels[record.truth] == record.name.split("/")[0]
    with pytest.raises(DataError, match="'nine' is no label of the model"):
        open_data(speech.SPEECH / "heldout", "audio-classification", LABELS[:-1])


def test_pictures_in_every_format_and_without_labels(tmp_path):
    (tmp_path / "a").mkdir()
    for form in ("png", "jpg", "bmp", "webp"):
        Image.new("RGB", (4, 4)).save(tmp_path / "a" / f"1.{form}")
    (tmp_path / "a" / "1.gif").write_bytes(b"GIF89a")
    data = open_data(tmp_path, "image-classification", None)
    assert (len(data), data.ignored) == (4, 1)
    assert [r.truth for r in data.records([0, 3])] == [None, None]


def test_a_broken_sound_is_named(tmp_path):
    (tmp_path / "seven").mkdir()
    whole = (speech.SPEECH / "heldout" / "seven" / "m7-en-us.flac").read_bytes()
    (tmp_path / "seven" / "a.flac").write_bytes(whole[:30])
    with pytest.raises(DataError, match=r"a\.flac: cannot be read as a sound"):
        list(open_data(tmp_path, "audio-classification", ["seven"]).records())
    (tmp_path / "seven" / "a.flac").unlink()
    with pytest.raises(DataError, match="holds no WAV"):
        open_data(tmp_path, "audio-classification", ["seven"])


def test_each_other_form_becomes_its_own_data(tmp_path):
    rows = open_data(text.TEXT / "heldout.csv", "text-classification", text.LABELS)
    assert isinstance(rows, TableData) and len(rows) == 300
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3)), labels=[0, 1])
    found = open_data(tmp_path / "x.npz", "text-classification", ["a", "b"])
    assert isinstance(found, ArrayData)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / folder / "a.png")
    assert isinstance(open_data(tmp_path, "image-segmentation", ["a"]), MaskFolder)
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert isinstance(open_data(tmp_path, "object-detection", ["a"]), CocoBoxes)


def test_a_folder_with_a_manifest_is_its_table(tmp_path):
    clip = speech.SPEECH / "heldout" / "two" / "m7-en-us.flac"
    shutil.copy(clip, tmp_path / "1.flac")
    (tmp_path / "manifest.csv").write_text("path,transcript,label\n1.flac,two,two\n")
    spoken = open_data(tmp_path, "automatic-speech-recognition", None)
    assert next(spoken.records()).truth == "two"
    assert next(open_data(tmp_path, "audio-classification", LABELS).records()).truth == 2


def test_a_saved_data_set_is_read_for_text_and_sound(tmp_path):
    import datasets

    clip = speech.SPEECH / "heldout" / "two" / "m7-en-us.flac"
    given = {"audio": [{"bytes": clip.read_bytes(), "path": "a.flac"}], "label": [0]}
    made = datasets.Dataset.from_dict(given).cast_column("audio", datasets.Audio())
    made = made.cast_column("label", datasets.ClassLabel(names=["two", "one"]))
    made.save_to_disk(tmp_path / "d")
    data = open_data(tmp_path / "d", "audio-classification", LABELS)
    (record,) = data.records()
    # Class number 0 there is "two", which is the model's number 2.
    assert (record.truth, record.raw.rate) == (2, 8000)


@pytest.mark.parametrize(
    ("path", "task", "said"),
    [
        ("absent", "text-classification", "no such file or folder; give a CSV"),
        ("notes.md", "text-classification", "a file that text-classification cannot use"),
        (".", "text-generation", "a folder that text-generation cannot use"),
        ("notes.md", "object-detection", "a file that object-detection cannot use"),
    ],
)
def test_what_no_task_takes_says_what_would_be(tmp_path, path, task, said):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(DataError, match=said):
        open_data(tmp_path / path, task, None)


def test_an_option_that_does_not_fit_is_refused():
    held = DIGITS / "heldout"
    with pytest.raises(ConfigError, match="'guessing' is no task"):
        open_data(held, "guessing", LABELS)
    with pytest.raises(ConfigError, match="no 'dev'"):
        open_data(held, "image-classification", LABELS, split="dev")
    with pytest.raises(ConfigError, match="has no columns"):
        open_data(held, "image-classification", LABELS, columns={"text": "a"})


def test_opening_the_room_loads_no_heavy_library():
    heavy = "torch torchvision transformers scipy pyarrow datasets soundfile"
    code = f"import sys, interop.data; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
