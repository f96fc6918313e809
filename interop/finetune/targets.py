"""A backbone and a data set -> the task, its labels, and what is made small for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from interop.data.base import Preparation, Record
from interop.data.class_names import CLASSIFIED, class_names
from interop.data.tokens import Tokens, loaded
from interop.errors import ConfigError, DataError
from interop.facts import TaskName
from interop.finetune import objectives
from interop.finetune.options import FinetuneOptions
from interop.finetune.samples import SplitPart, commonest
from interop.models.backbone import PretrainedSource
from interop.tasks import task as task_of
from interop.tasks.infer import task_of_class

TASKS = (*CLASSIFIED, TaskName.SPEECH_RECOGNITION, TaskName.REGRESSION)
SPEECH = TaskName.SPEECH_RECOGNITION
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
_EXTRACTOR = ("preprocessor_config.json", "processor_config.json")


def task_name(source: PretrainedSource, data: str | Path, how: FinetuneOptions) -> str:
    """The Hub's word for what is to be learned.

    What was given; else what the backbone's class is for; else a classification of what it takes,
    which is a regression where the data set's labels are numbers with a fraction. Raises
    ConfigError where nothing tells.
    """
    if how.task is not None:
        if how.task not in TASKS:
            raise ConfigError(f"{how.task!r} is not learned here", where="--task",
                              fix=f"give one of {', '.join(TASKS)}")  # fmt: skip
        return how.task
    if how.labels is not None and not how.labels.applicable:
        return TaskName.REGRESSION
    name = task_of_class(source.arch) if source.library == "transformers" else ""
    if name not in TASKS:
        kind = _kind(source)
        if not kind:
            raise ConfigError("what is to be learned stands in no file", where=source.name,
                              fix=f"give it with --task ({', '.join(TASKS)})")  # fmt: skip
        name = f"{kind}-classification"
    return TaskName.REGRESSION if _numbers(data, name, how) else name


def _kind(source: PretrainedSource) -> str:
    """ "image", "text" or "audio"; "" where nothing tells."""
    if source.library != "transformers":
        return "image"
    place = folder(source)
    for name in _EXTRACTOR:
        if (place / name).is_file():
            try:
                stated = json.loads((place / name).read_text("utf-8"))
            except ValueError:
                continue
            inner = [stated, *(v for v in stated.values() if isinstance(v, dict))]
            return "audio" if any("sampling_rate" in one for one in inner) else "image"
    return "text" if any((place / n).is_file() for n in _TOKENIZER) else ""


def _numbers(data: str | Path, name: str, how: FinetuneOptions) -> bool:
    """Whether the labels are numbers, and not all of them whole."""
    if name not in CLASSIFIED or name == TaskName.TOKEN_CLASSIFICATION or how.labels is not None:
        return False
    try:
        values = [float(v) for v in class_names(data, name, columns=how.columns, split=how.split)]
    except ValueError:
        return False
    return any(v != round(v) for v in values)


def folder(source: PretrainedSource) -> Path:
    """Where the backbone's tokenizer or feature extractor lies."""
    path = Path(source.identity.manifest.path)
    return path if path.is_dir() else path.parent


def labels_of(
    source: PretrainedSource, task: str, data: str | Path, how: FinetuneOptions
) -> tuple[str, ...]:
    """The names of the outputs: the data set's classes, or the vocabulary of the tokenizer."""
    if task == TaskName.REGRESSION:
        return ()
    if task == SPEECH:
        return _vocabulary(source)
    if how.labels is not None and how.labels.names is not None:
        return how.labels.names
    return class_names(data, task, columns=how.columns, split=how.split)


def _vocabulary(source: PretrainedSource) -> tuple[str, ...]:
    tokenizer = tokenizer_of(source)
    if tokenizer is None:
        fix = "put a tokenizer beside the model (vocab.json, tokenizer_config.json)"
        what = "no file says which characters are to be written"
        raise ConfigError(what, where=str(folder(source)), fix=fix)
    if tokenizer.pad_token_id is None:
        what = "its tokenizer has no padding, which CTC has for nothing"
        raise ConfigError(what, where=str(folder(source)), fix="name its pad_token")
    count = len(tokenizer)
    if source.arch.endswith("ForCTC"):  # the head stays, whatever was added to the tokenizer
        stated = source.identity.manifest.metadata.get("config.json") or {}
        count = int(stated.get("vocab_size") or count)
    return tuple(map(str, tokenizer.convert_ids_to_tokens(range(count))))


def tokenizer_of(source: PretrainedSource) -> Any:
    """The tokenizer beside the backbone; None where there is none."""
    place = folder(source)
    there = any((place / n).is_file() for n in _TOKENIZER)
    return loaded("AutoTokenizer", place) if there else None


def padding(source: PretrainedSource) -> int | None:
    """The number of the token that texts are padded with, the end of a text where there is none;
    None without a tokenizer."""
    tokenizer = tokenizer_of(source) if source.library == "transformers" else None
    if tokenizer is None:
        return None
    numbers = tokenizer.pad_token_id, tokenizer.eos_token_id
    return next((int(n) for n in numbers if n is not None), None)


def padded(prepare: Preparation) -> str:
    """Lets texts be padded with the end of a text where the tokenizer has no padding; the note."""
    if not isinstance(prepare, Tokens) or prepare.tokenizer.pad_token_id is not None:
        return ""
    if prepare.tokenizer.eos_token is None:
        return ""
    prepare.tokenizer.pad_token = prepare.tokenizer.eos_token
    return f"the tokenizer has no padding: {prepare.tokenizer.eos_token!r} pads, here and in OUT"


def unmasked(module: Any, prepare: Any, records: Sequence[Record]) -> str:
    """Turns off SpecAugment where sounds are shorter than what it masks; the note."""
    config: Any = getattr(module, "config", None)
    if not getattr(config, "apply_spec_augment", False) or not getattr(prepare, "rate", 0):
        return ""
    sounds = [r.raw for r in records if r.raw is not None]
    if not sounds:
        return ""
    least = min(ceil(len(s.samples) * prepare.rate / s.rate) for s in sounds)
    if int(module._get_feat_extract_output_lengths(least)) > config.mask_time_length:
        return ""
    config.apply_spec_augment = False
    return "no SpecAugment: the shortest sound has fewer frames than it masks at a time"


def goal_of(task: str, labels: Sequence[str], prepare: Preparation, training: SplitPart,
            module: Any) -> objectives.OfTask:  # fmt: skip
    """The loss and the figure for the task. Raises DataError where there is nothing to learn."""
    records = training.records
    if any(r.truth is None for r in records):
        raise DataError("has no labels", fix="name the column that holds them with --column")
    of_task = task_of(task, labels)
    if task == TaskName.REGRESSION:
        return objectives.Numbers(of_task, prepare, records)
    if task == TaskName.TOKEN_CLASSIFICATION:
        return objectives.Tags(of_task, prepare, records[0])
    if task == SPEECH:
        frames = getattr(module, "_get_feat_extract_output_lengths", None)
        goal = objectives.Speech(of_task, prepare, records[0], frames)
        for record in records:
            goal.written(record)
        return goal
    absent = [n for i, n in enumerate(labels) if all(r.truth != i for r in records)]
    if absent:
        fix = "give more of them, hold less back with --validation, or leave the label out"
        raise DataError(f"no sample of {', '.join(absent[:4])} is left to train on", fix=fix)
    return objectives.Classes(of_task, prepare, records[0])


def chance(
    goal: objectives.OfTask, training: SplitPart, validation: SplitPart
) -> tuple[str, float] | None:
    """What the same answer to every sample would reach, and what that answer is; None where that
    means nothing."""
    if isinstance(goal, objectives.Numbers):
        truth = np.stack([np.ravel(np.asarray(r.truth, float)) for r in validation.records])
        return "always the training set's mean", float(abs(truth - goal.truth.mean(0)).mean())
    if isinstance(goal, objectives.Classes):
        most, _ = commonest(training)
        share = sum(r.truth == most for r in validation.records) / len(validation)
        return f"always {goal.task.labels[int(str(most))]}", share
    if isinstance(goal, objectives.Tags) and goal.task.headline == "tag accuracy":
        words = [t for r in training.records for t in r.truth]
        best = max(sorted(set(words)), key=words.count)
        truths = [t for r in validation.records for t in r.truth]
        return f"always {best}", sum(t == best for t in truths) / len(truths)
    return None


def assumed(source: PretrainedSource) -> str:
    """The note on a preprocessing that no file states and that was taken from the library."""
    how = source.identity.image_preprocessing
    if how is None or "published weights" not in how.source:
        return ""
    return (
        f"no file says how inputs are prepared: {how.source} had them resized to "
        f"{'x'.join(map(str, how.resize))}" + (f", cropped to {how.crop[0]}" if how.crop else "")
        + ", and so are these; --preprocess says otherwise"
    )  # fmt: skip
