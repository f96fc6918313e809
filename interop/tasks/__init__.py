"""A task's name -> what outputs mean, which answers are right, and the figures of them.

One module a task. It is imported when it is asked for, and the libraries when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from interop.errors import ConfigError
from interop.facts import TaskName
from interop.tasks.base import Score, Task

__all__ = ["TASKS", "Score", "Task", "task"]

_CLASSES: Mapping[str, tuple[str, str]] = {
    TaskName.IMAGE_CLASSIFICATION: ("classification", "ImageClassification"),
    TaskName.TEXT_CLASSIFICATION: ("classification", "TextClassification"),
    TaskName.AUDIO_CLASSIFICATION: ("classification", "AudioClassification"),
    TaskName.IMAGE_SEGMENTATION: ("segmentation", "Segmentation"),
    TaskName.OBJECT_DETECTION: ("detection", "Detection"),
    TaskName.TOKEN_CLASSIFICATION: ("tokens", "TokenClassification"),
    TaskName.QUESTION_ANSWERING: ("answering", "QuestionAnswering"),
    TaskName.TEXT_GENERATION: ("language", "TextGeneration"),
    TaskName.SPEECH_RECOGNITION: ("speech", "SpeechRecognition"),
    TaskName.REGRESSION: ("regression", "Regression"),
}


class _Tasks(Mapping[str, type[Task]]):
    """Importing a task's module when it is looked up."""

    def __getitem__(self, name: str) -> type[Task]:
        module, kind = _CLASSES[name]
        getitem: type[Task] = getattr(import_module(f"{__name__}.{module}"), kind)
        return getitem

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


TASKS: Mapping[str, type[Task]] = _Tasks()


def task(name: str, labels: Sequence[str] = ()) -> Task:
    """The task of that name for a model of these labels; ConfigError where there is none."""
    if name not in _CLASSES:
        what = f"{name!r} is no task"
        raise ConfigError(what, where="task", fix=f"give one of {', '.join(TASKS)}")
    return TASKS[name](labels)
