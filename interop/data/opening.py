"""The path of a data set, in whichever form it lies there -> Data for a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from interop.data import columns as table_columns
from interop.data import tables, vision
from interop.data.arrays import TARGETS, ArrayData, Inputs
from interop.data.base import Data
from interop.data.columns import TableData
from interop.data.detection import CocoBoxes, VocBoxes, is_voc
from interop.data.folder import ClassFolder, Folder, SoundFolder
from interop.data.masks import MaskFolder
from interop.errors import ConfigError, DataError
from interop.facts import TaskName

# What a data set of each task may be, for people; the keys are the tasks there are.
FORMS: Mapping[str, str] = {
    TaskName.IMAGE_CLASSIFICATION: "a folder of pictures a class, torchvision:NAME=FOLDER, or a "
    "table with a path and a label",
    TaskName.IMAGE_SEGMENTATION: "a folder with images/ and masks/, or torchvision:NAME=FOLDER",
    TaskName.OBJECT_DETECTION: "a JSON file in COCO's form, the folder that it lies in, or a "
    "folder with Annotations/ (VOC's XML) and JPEGImages/",
    TaskName.TEXT_CLASSIFICATION: "a CSV, JSONL or Parquet file with a text (or text and "
    "text_pair) and a label",
    TaskName.TOKEN_CLASSIFICATION: "a JSONL or Parquet file with words and tags",
    TaskName.QUESTION_ANSWERING: "a CSV, JSONL or Parquet file with question, context and answers",
    TaskName.TEXT_GENERATION: "a text file, or a CSV, JSONL or Parquet file with a text",
    TaskName.SPEECH_RECOGNITION: "a CSV or JSONL file with a path and a transcript",
    TaskName.AUDIO_CLASSIFICATION: "a folder of sounds a class, or a table with a path and a label",
    TaskName.REGRESSION: "a table with a text or a path, and a number",
}
_OF_ARRAYS = (
    TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_SEGMENTATION, TaskName.TEXT_CLASSIFICATION,
    TaskName.AUDIO_CLASSIFICATION, TaskName.SPEECH_RECOGNITION, TaskName.REGRESSION,
)  # fmt: skip


def open_data(
    path: str | Path,
    task: str,
    labels: Sequence[str] | None,
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> Data:
    """The labelled data set at `path`, for one of the tasks of `FORMS` (the Hub's words).

    `labels` are the model's, in its order; the data set's classes are found among them by name.
    `columns` names a table's columns by role (`columns.ROLES`), `split` a part of a torchvision or
    Hugging Face data set. Besides what `FORMS` says, most tasks take an .npz file with an array an
    input and "labels", and those of a table a folder that datasets' save_to_disk wrote, or one with
    a single table in it (its manifest). Raises DataError where the data set is missing, broken or
    not the task's, ConfigError for an option that does not fit, ExtraMissing.
    """
    if task not in FORMS:
        raise ConfigError(f"{task!r} is no task", fix=f"the tasks are {', '.join(FORMS)}")
    name, source = str(path), Path(path)
    spec = _torchvision(name, source)
    saved = spec is None and _is_saved(source)
    if split is not None and spec is None and not saved:
        what = f"is not divided into splits, so there is no {split!r}"
        raise ConfigError(what, where=name, fix="leave the split out")
    if spec is not None and task in vision.TASKS:
        data: Data = vision.Torchvision(spec, task, labels, split)
    elif spec is None and not source.exists():
        raise DataError("no such file or folder", where=name, fix=f"give {FORMS[task]}")
    elif saved and task in table_columns.TASKS:
        return TableData(tables.Saved(source, split), task, labels, columns)
    elif task in table_columns.TASKS and (table := _table(source, task)) is not None:
        return TableData(tables.open_rows(table), task, labels, columns)
    else:
        data = _other(source, task, labels)
    if columns:
        raise ConfigError("is no table and has no columns", where=name, fix="leave --column out")
    return data


def _torchvision(name: str, path: Path) -> str | None:
    if name.startswith(vision.PREFIX):
        return name.removeprefix(vision.PREFIX)
    return vision.recognised(path) if path.is_dir() else None


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file()


def _table(path: Path, task: str) -> Path | None:
    """The file itself where it is a table, or the only one of a folder that has no classes."""
    if path.is_file():
        return path if path.suffix.lower() in tables.SUFFIXES else None
    endings = tables.SUFFIXES - {".txt"}
    files = [p for p in sorted(path.glob("[!.]*")) if p.suffix.lower() in endings]
    # A folder of classes may have a note beside them; a transcript is in no folder's name.
    named = {"metadata", "manifest"} if task.endswith("-classification") else set()
    chosen = [p for p in files if not named or p.stem.lower() in named]
    return chosen[0] if len(chosen) == 1 else None


def _other(path: Path, task: str, labels: Sequence[str] | None) -> Data:
    if path.suffix.lower() == ".npz" and task in _OF_ARRAYS:
        return ArrayData(Inputs(path, TARGETS), task, labels)
    if task == TaskName.OBJECT_DETECTION and (path.is_dir() or path.suffix.lower() == ".json"):
        return VocBoxes(path, labels) if is_voc(path) else CocoBoxes(path, labels)
    if path.is_dir() and task == TaskName.IMAGE_SEGMENTATION:
        return MaskFolder(path, labels)
    if path.is_dir() and task == TaskName.IMAGE_CLASSIFICATION:
        return ClassFolder(Folder(path, labels or None))
    if path.is_dir() and task == TaskName.AUDIO_CLASSIFICATION:
        return ClassFolder(SoundFolder(path, labels or None))
    what = f"is {'a folder' if path.is_dir() else 'a file'} that {task} cannot use"
    raise DataError(what, where=str(path), fix=f"give {FORMS[task]}")
