"""A table's rows -> records: which columns a task is about, and what their values mean.

Columns are found by the names that people give them, or named by the caller.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from interop.data import audio_decode, pictures
from interop.data.base import Data, Record
from interop.data.classes import in_range, matched, some
from interop.data.tables import Row, Rows
from interop.errors import ConfigError, DataError
from interop.facts import Json, TaskName

TEXT = "text"
TEXT_PAIR = "text_pair"  # the second of two texts that are judged together
PATH = "path"
LABEL = "label"
QUESTION, CONTEXT, ANSWERS = "question", "context", "answers"
ROLES = (TEXT, TEXT_PAIR, PATH, LABEL, QUESTION, CONTEXT, ANSWERS)

_TEXTS = (TEXT, "sentence", "content", "document", "review", "message", "utterance", "body")
# Two columns that are a pair where both are there, by the names that data sets give them.
_PAIRS = (
    (TEXT, TEXT_PAIR), ("sentence1", "sentence2"), ("premise", "hypothesis"),
    ("question1", "question2"), ("text1", "text2"), ("text_a", "text_b"),
)  # fmt: skip
_OF_PAIRS = (TaskName.TEXT_CLASSIFICATION, TaskName.REGRESSION)
_PICTURES = ("image", "picture", "img")
_SOUNDS = ("audio", "sound", "wav")
_FILES = (PATH, "file_name", "filename", "file", "file_path")
_CLASSES = (LABEL, "labels", "class", "category", "target", "fine_label", "intent")
_NUMBERS = ("target", "value", "score", LABEL, "labels", "y")
_TAGS = ("tags", "ner_tags", "pos_tags", "labels", LABEL)
_SAID = ("transcript", "transcription", "normalized_text", "sentence", TEXT)
_ASKED = {
    QUESTION: (QUESTION,),
    CONTEXT: (CONTEXT, "passage", "paragraph"),
    ANSWERS: (ANSWERS, "answer"),
}

# By task: each role, and the names that a column for it goes by, the likeliest first.
_COLUMNS: Mapping[str, Mapping[str, Sequence[str]]] = {
    TaskName.TEXT_CLASSIFICATION: {TEXT: _TEXTS, LABEL: _CLASSES},
    TaskName.TOKEN_CLASSIFICATION: {TEXT: ("words", "tokens", *_TEXTS), LABEL: _TAGS},
    TaskName.QUESTION_ANSWERING: _ASKED,
    TaskName.TEXT_GENERATION: {TEXT: _TEXTS},
    TaskName.SPEECH_RECOGNITION: {PATH: (*_SOUNDS, *_FILES), LABEL: _SAID},
    TaskName.AUDIO_CLASSIFICATION: {PATH: (*_SOUNDS, *_FILES), LABEL: _CLASSES},
    TaskName.IMAGE_CLASSIFICATION: {PATH: (*_PICTURES, *_FILES), LABEL: _CLASSES},
}
_OF_FILES = {PATH: (*_PICTURES, *_SOUNDS, *_FILES), LABEL: _NUMBERS}
_OF_TEXTS = {TEXT: _TEXTS, LABEL: _NUMBERS}
TASKS = frozenset(_COLUMNS) | {TaskName.REGRESSION}


class TableData(Data):
    """The rows of a table as a task's records; pictures and sounds lie where a column says.

    A path is relative to the table's folder. `columns` names a column for a role (`ROLES`; the
    words, tags, transcript or number that a task asks for are "text" and "label" too). Labels are
    class names where every value is one of the model's; else class numbers where all are integral.
    The truth is None where a classification was given no labels. Raises DataError and ConfigError.
    """

    def __init__(
        self,
        rows: Rows,
        task: str,
        labels: Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.table, self.task, self.labels = rows, task, tuple(labels or ())
        self.path = rows.path
        self._base = self.path.parent if self.path.is_file() else self.path
        self.columns = _chosen(rows, task, columns or {})
        self.kind = self._kind()
        self._classes: Mapping[Any, int] | None = None
        if self.labels and task in (TaskName.TOKEN_CLASSIFICATION, *_CLASSIFIED):
            self._classes = self._meanings()

    def __len__(self) -> int:
        return len(self.table)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for place, row in self.table.rows(picks):
            where = self.table.where(place)
            if PATH in self.columns:
                raw, digest, name = self._file(self._cell(row, PATH, where), place, where)
            else:
                raw, digest, name = self._said(row, where), row_hash(row), f"row {place + 1}"
            yield Record(name, digest, raw, self._truth(row, raw, where))

    def about(self) -> dict[str, Json]:
        return {**super().about(), "columns": dict(self.columns)}

    # ------------------------------------------------------------ what a sample is

    def _kind(self) -> str:
        if PATH not in self.columns:
            return "texts"
        if self.task == TaskName.IMAGE_CLASSIFICATION:
            return "pictures"
        if self.task != TaskName.REGRESSION:
            return "sounds"
        _, row = next(self.table.rows([0]))
        cell = self._cell(row, PATH, self.table.where(0))
        name = Path(str(cell.get("path") or "") if isinstance(cell, Mapping) else str(cell))
        heard = name.suffix.lower() in audio_decode.SUFFIXES or self.columns[PATH] in _SOUNDS
        return "sounds" if heard else "pictures"

    def _cell(self, row: Row, role: str, where: str) -> Json:
        column = self.columns[role]
        if (value := row.get(column)) is None:
            what = f"has nothing in the column {column!r}"
            raise DataError(what, where=where, fix="take the row out")
        return value

    def _file(self, cell: Json, place: int, where: str) -> tuple[Any, str, str]:
        """What the cell's file holds, the hash of its bytes, and its name."""
        decode = audio_decode.decode if self.kind == "sounds" else pictures.decode
        if isinstance(cell, Mapping) and cell.get("bytes") is not None:
            name, data = str(cell.get("path") or f"row {place + 1}"), bytes(cell["bytes"])
        else:
            given = cell.get("path") if isinstance(cell, Mapping) else cell
            if not isinstance(given, str) or not given:
                raise DataError(f"names no file ({given!r})", where=where, fix="give a path")
            name, data = given, pictures.read(self._base / given)
            where = f"{where}, {name}"
        return decode(data, where=where), sha256(data).hexdigest(), name

    def _said(self, row: Row, where: str) -> Any:
        if self.task == TaskName.QUESTION_ANSWERING:
            return self._string(row, QUESTION, where), self._string(row, CONTEXT, where)
        if self.task == TaskName.TOKEN_CLASSIFICATION:
            return self._words(row, TEXT, where)
        text = self._string(row, TEXT, where)
        return (text, self._string(row, TEXT_PAIR, where)) if TEXT_PAIR in self.columns else text

    def _string(self, row: Row, role: str, where: str) -> str:
        value = self._cell(row, role, where)
        if not isinstance(value, str):
            what = f"its {self.columns[role]} is a {type(value).__name__}, not a text"
            raise DataError(what, where=where, fix="write it as a text, or name another column")
        return value

    def _words(self, row: Row, role: str, where: str) -> tuple[Any, ...]:
        """A list's values, or the words of a text between its spaces."""
        value = self._cell(row, role, where)
        if isinstance(value, str):
            value = value.split()
        if not isinstance(value, list) or not value:
            fix = "give a list of words, or words with spaces between them"
            raise DataError(f"its {self.columns[role]} holds no words", where=where, fix=fix)
        return tuple(value)

    # ------------------------------------------------------------ what is right

    def _truth(self, row: Row, raw: Any, where: str) -> Any:
        if self.task == TaskName.TEXT_GENERATION:
            return None
        if self.task == TaskName.QUESTION_ANSWERING:
            return _answers(self._cell(row, ANSWERS, where), where)
        if self.task == TaskName.SPEECH_RECOGNITION:
            return self._string(row, LABEL, where)
        if self.task == TaskName.REGRESSION:
            return _number(self._cell(row, LABEL, where), where)
        if self.task == TaskName.TOKEN_CLASSIFICATION:
            return self._tags(row, raw, where)
        return None if self._classes is None else self._class(self._cell(row, LABEL, where), where)

    def _class(self, value: Json, where: str) -> int:
        place = None if isinstance(value, list | dict) else (self._classes or {}).get(str(value))
        if place is None:
            what = f"its {self.columns[LABEL]} {value!r} is no label"
            raise DataError(what, where=where, fix="write the name of one of the model's labels")
        return place

    def _tags(self, row: Row, words: tuple[Any, ...], where: str) -> tuple[str, ...]:
        tags = self._words(row, LABEL, where)
        if len(tags) != len(words) or not all(isinstance(w, str) for w in words):
            fix = "give one tag a word, both as lists or with spaces between them"
            raise DataError(f"has {len(words)} words and {len(tags)} tags", where=where, fix=fix)
        if self._classes is None:
            return tuple(map(str, tags))
        return tuple(self.labels[self._class(t, where)] for t in tags)

    def _meanings(self) -> dict[Any, int]:
        """What each value of the label column stands for, by its text; one pass over the table."""
        column, texts = self.columns[LABEL], self.texts()
        if all(v.isdecimal() and v.isascii() for v in texts) and not texts <= set(self.labels):
            where = f"{self.path}, column {column!r}"
            return {v: in_range(int(v), self.labels, where=where) for v in texts}
        return {
            str(k): v
            for k, v in matched(
                sorted(texts), self.labels, what=f"the values of {column!r}", where=str(self.path),
                fix="write the model's labels there, name another column with --column label=NAME, "
                "or give the model's labels with --labels",
            ).items()
        }  # fmt: skip

    def texts(self) -> set[str]:
        """All values of the label column, as texts; one pass over the table."""
        texts: set[str] = set()
        for place, row in self.table.rows(only=[self.columns[LABEL]]):
            where = self.table.where(place)
            if self.task == TaskName.TOKEN_CLASSIFICATION:
                texts.update(map(str, self._words(row, LABEL, where)))
            else:
                texts.add(str(self._cell(row, LABEL, where)))
        return texts


_CLASSIFIED = (
    TaskName.TEXT_CLASSIFICATION,
    TaskName.AUDIO_CLASSIFICATION,
    TaskName.IMAGE_CLASSIFICATION,
)


def row_hash(row: Row) -> str:
    """sha256 of the row's canonical JSON: keys sorted, no spaces, UTF-8."""
    dense = (",", ":")
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=dense, default=_as_text)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _chosen(rows: Rows, task: str, given: Mapping[str, str]) -> dict[str, str]:
    """The column of each role. Raises ConfigError for a role or column that there is not."""
    if strange := [r for r in given if r not in ROLES]:
        what = f"{strange[0]!r} is no role of a column"
        raise ConfigError(what, where=str(rows.path), fix=f"the roles are {', '.join(ROLES)}")
    wanted = _COLUMNS.get(task) or (_OF_FILES if _is_of_files(rows, given) else _OF_TEXTS)
    given = {**_pair(rows, task, wanted, given), **given}
    if TEXT_PAIR in given:
        if task not in _OF_PAIRS or TEXT not in wanted:
            what = f"{task} takes no second text"
            raise ConfigError(what, where=str(rows.path), fix="leave text_pair out")
        firsts = tuple(first for first, _ in _PAIRS)
        wanted = {**wanted, TEXT: (*firsts, *_TEXTS), TEXT_PAIR: ()}
    taken = dict(given)
    for column in given.values():
        if column not in rows.columns:
            fix = f"its columns are {some(rows.columns)}"
            raise ConfigError(f"has no column {column!r}", where=str(rows.path), fix=fix)
    for role, names in wanted.items():
        free = {c.lower(): c for c in rows.columns if c not in taken.values()}
        header = taken.get(role) or next((free[n] for n in names if n in free), None)
        if header is None:
            raise DataError(
                f"{task} needs a column of {role} ({', '.join(names)}), and the columns are "
                f"{some(rows.columns)}",
                where=str(rows.path),
                fix=f"name the one that it is with --column {role}=NAME",
            )
        taken[role] = header
    return {role: taken[role] for role in wanted}


def _pair(
    rows: Rows, task: str, wanted: Mapping[str, Sequence[str]], given: Mapping[str, str]
) -> dict[str, str]:
    """The columns of two texts, where a table has both and nobody named another."""
    if task not in _OF_PAIRS or TEXT not in wanted or {TEXT, TEXT_PAIR} & set(given):
        return {}
    there = {c.lower(): c for c in rows.columns}
    for first, second in _PAIRS:
        if first in there and second in there:
            return {TEXT: there[first], TEXT_PAIR: there[second]}
    return {}


def _is_of_files(rows: Rows, given: Mapping[str, str]) -> bool:
    if PATH in given or TEXT in given:
        return PATH in given
    return any(c.lower() in _OF_FILES[PATH] for c in rows.columns)


def _answers(value: Json, where: str) -> tuple[str, ...]:
    """SQuAD's {"text": [...]}, a list of texts or of {"text": ...}, or one text; () where there is
    no answer."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return (value,)  # an answer may begin with a bracket
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, str):
        return (value,) if value else ()
    entries = value if isinstance(value, list) else [None]
    texts: list[Any] = [v.get("text") if isinstance(v, Mapping) else v for v in entries]
    if not all(isinstance(t, str) for t in texts):
        what = f"its answers are {str(value)[:60]!r}"
        raise DataError(what, where=where, fix='give {"text": [...]}, a list of texts or one text')
    return tuple(texts)


def _number(value: Json, where: str) -> Any:
    """A float, or an array of them."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = [float(v) for v in value] if isinstance(value, list) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number if isinstance(number, list) else not math.isfinite(number):
        what = f"its target {str(value)[:60]!r} is no number"
        raise DataError(what, where=where, fix="give a number, or a list of numbers, a row")
    if isinstance(number, float):
        return number
    if not np.isfinite(number).all():
        raise DataError("its target holds NaN or infinity", where=where, fix="take the row out")
    return np.array(number)
