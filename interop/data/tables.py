"""A CSV, JSONL, text or Parquet file, or a saved Hugging Face data set -> rows, one by one.

Nothing is held in memory but where each row begins: a table larger than memory streams.
"""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from interop.errors import DataError, ExtraMissing
from interop.facts import Json

Row = Mapping[str, Json]
_BATCH = 256


class Rows(ABC):
    """The rows of a table: `columns` by name, values as JSON has them (a CSV's are all str).

    A cell that holds a file (a picture, a sound) is a mapping of "bytes" and "path".
    """

    path: Path
    columns: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def rows(
        self, picks: Sequence[int] | None = None, only: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Each row (or those of the given places, ascending) and its place, from 0; `only` names
        the columns that are asked for, others may be left out. Raises DataError."""

    def where(self, place: int) -> str:
        """A row, for people."""
        return f"{self.path}, row {place + 1}"


def open_rows(path: Path) -> Rows:
    """The rows of a file, by its ending. Raises DataError."""
    return _FORMS[path.suffix.lower()](path)


class _Lines(Rows):
    """A table whose rows are runs of lines: where each begins is found in one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._starts = array("q", self._begin(file))
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise DataError(what, where=str(path), fix="check the path") from None
        if not self._starts:
            raise DataError("holds no row", where=str(path), fix="give a table with rows")

    def __len__(self) -> int:
        return len(self._starts)

    def rows(
        self, picks: Sequence[int] | None = None, only: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        with self.path.open("rb") as file:
            for place in range(len(self)) if picks is None else picks:
                file.seek(self._starts[place])
                yield place, self._row(file, place)

    def _begin(self, file: BinaryIO) -> Iterator[int]:
        """Where each row begins, in bytes: at each line that is not empty."""
        start = 0
        while line := file.readline():
            if line.strip():
                yield start
            start += len(line)

    @abstractmethod
    def _row(self, file: BinaryIO, place: int) -> Row:
        """The row that begins where the file stands."""

    def _decoded(self, line: bytes, place: int) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            what = f"is not UTF-8 (byte 0x{line[error.start]:02x})"
            raise DataError(what, where=self.where(place), fix="save the file as UTF-8") from None


class JsonLines(_Lines):
    """A JSON object a line; the columns are the first one's keys."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.columns = tuple(next(iter(self.rows()))[1])

    def _row(self, file: BinaryIO, place: int) -> Row:
        try:
            row = json.loads(self._decoded(file.readline(), place))
        except (ValueError, RecursionError) as error:
            what = f"is no JSON ({error})"
            raise DataError(what, where=self.where(place), fix="write an object a line") from None
        if not isinstance(row, dict):
            what = f"is a {type(row).__name__}, not an object"
            raise DataError(what, where=self.where(place), fix="write an object a line")
        return row


class TextLines(_Lines):
    """A text a line, under the name "text"; empty lines are none."""

    columns = ("text",)

    def _row(self, file: BinaryIO, place: int) -> Row:
        return {"text": self._decoded(file.readline(), place).strip()}


class Csv(_Lines):
    """Comma-separated values with a header (semicolons or tabs where the header has those)."""

    def _begin(self, file: BinaryIO) -> Iterator[int]:
        # The usual limit of 131,072 characters a field is less than a long document.
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        text = self._decoded(file.readline().removeprefix(b"\xef\xbb\xbf"), -1)
        self._separator = max("\t;,", key=text.count)
        self.columns = tuple(c.strip() for c in next(self._reader([text]), []))
        reader = self._reader(self._lines_of(file))
        start, place = file.tell(), 0
        while (fields := self._next(reader, place)) is not None:
            if fields:
                yield start
                place += 1
            start = file.tell()

    def _row(self, file: BinaryIO, place: int) -> Row:
        fields = self._next(self._reader(self._lines_of(file, place)), place) or []
        if len(fields) != len(self.columns):
            what = f"has {len(fields)} fields where the header has {len(self.columns)}"
            fix = "quote the fields that hold the separator"
            raise DataError(what, where=self.where(place), fix=fix)
        return dict(zip(self.columns, fields, strict=True))

    def _next(self, reader: Iterator[list[str]], place: int) -> list[str] | None:
        try:
            return next(reader, None)
        except csv.Error as error:
            what = f"is no CSV ({error})"
            raise DataError(what, where=self.where(place), fix="correct its quotes") from None

    def _reader(self, lines: Any) -> Any:
        return csv.reader(lines, delimiter=self._separator, strict=True)

    def _lines_of(self, file: BinaryIO, place: int = 0) -> Iterator[str]:
        # By readline, never by iteration: tell() must stand right after the row that was read.
        while line := file.readline():
            yield self._decoded(line, place)
            place += 1


class Parquet(Rows):
    """A Parquet file, read batch by batch. Raises DataError and ExtraMissing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow = _library("pyarrow", "tables")
        parquet = _library("pyarrow.parquet", "tables")
        try:
            self._file = parquet.ParquetFile(path)
        except (self._arrow.ArrowException, OSError) as error:
            raise self._fault(error) from None
        self.columns = tuple(self._file.schema_arrow.names)
        groups = range(self._file.num_row_groups)
        self._starts = [0, *accumulate([self._file.metadata.row_group(g).num_rows for g in groups])]
        if not len(self):
            raise DataError("holds no row", where=str(path), fix="give a table with rows")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(
        self, picks: Sequence[int] | None = None, only: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        wanted = None if picks is None else set(picks)
        for group, (start, end) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            if wanted is None or not wanted.isdisjoint(range(start, end)):
                yield from self._group(group, start, wanted, only)

    def _group(
        self, group: int, place: int, wanted: set[int] | None, only: Sequence[str] | None
    ) -> Iterator[tuple[int, Row]]:
        columns = None if only is None else list(only)
        try:
            for batch in self._file.iter_batches(_BATCH, row_groups=[group], columns=columns):
                chosen = [i for i in range(batch.num_rows) if wanted is None or place + i in wanted]
                taken = batch.take(chosen).to_pylist() if chosen else []
                for i, row in zip(chosen, taken, strict=True):
                    yield place + i, row
                place += batch.num_rows
        except (self._arrow.ArrowException, OSError) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> DataError:
        return DataError(
            f"cannot be read as a Parquet file ({str(error).partition(chr(10))[0]})",
            where=str(self.path),
            fix="write the file again",
        )


class Saved(Rows):
    """A folder that Hugging Face datasets' save_to_disk wrote; it is mapped, not loaded.

    Of several splits it is the one named, else the only one, else "test". Class numbers become
    their names; pictures and sounds stay files. Raises DataError and ExtraMissing.
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        self.path = path
        datasets = _library("datasets", "datasets")
        try:
            table = datasets.load_from_disk(str(path))
        except Exception as error:  # whatever Arrow, the JSON beside it or the library object to
            what = f"cannot be read as a saved data set ({str(error).partition(chr(10))[0]})"
            raise DataError(what, where=str(path), fix="write it again with save_to_disk") from None
        if isinstance(table, datasets.DatasetDict):
            table = table[_split(table, split, path)]
        elif split is not None and str(table.split) != split:
            what = f"is one split ({table.split or 'without a name'}), not {split!r}"
            raise DataError(what, where=str(path), fix="leave the split out")
        for name, kind in table.features.items():
            if isinstance(kind, datasets.Image | datasets.Audio):
                table = table.cast_column(name, type(kind)(decode=False))
        self.columns = tuple(table.column_names)
        self._names = {n: k for n, f in table.features.items() if (k := _class_names(f))}
        self._found = table
        if not len(table):
            raise DataError("holds no row", where=str(path), fix="give a split with rows")

    def __len__(self) -> int:
        return len(self._found)

    def rows(
        self, picks: Sequence[int] | None = None, only: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        table = self._found if only is None else self._found.select_columns(list(only))
        for place in range(len(self)) if picks is None else picks:
            yield place, {n: _named(v, self._names.get(n)) for n, v in table[place].items()}


def _split(splits: Mapping[str, Any], split: str | None, path: Path) -> str:
    chosen = split or (next(iter(splits)) if len(splits) == 1 else "test")
    if chosen not in splits:
        what = f"has the splits {', '.join(splits)}, and {chosen!r} is none of them"
        raise DataError(what, where=str(path), fix="say which one: --split NAME")
    return chosen


def _class_names(feature: Any) -> Sequence[str] | None:
    """The names behind a column of class numbers, or of lists of them."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _named(value: Json, names: Sequence[str] | None) -> Json:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(v, names) for v in value]
    # -1 is how the library says that a row of a test split has no label.
    return names[value] if 0 <= value < len(names) else None


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        what = f"reading this needs {name.partition('.')[0]}, which is not installed"
        raise ExtraMissing(what, fix=f"pip install 'model-interop[{extra}]'") from None


_FORMS: dict[str, Callable[[Path], Rows]] = {
    ".csv": Csv, ".tsv": Csv, ".jsonl": JsonLines, ".ndjson": JsonLines, ".parquet": Parquet,
    ".txt": TextLines,
}  # fmt: skip
SUFFIXES = frozenset(_FORMS)
