"""Rows -> one file of them: Parquet or JSON lines, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from interop.errors import ConfigError, ExtraMissing
from interop.facts import Json
from interop.files import placed
from interop.report.sanitize import in_json

PARQUET, LINES = ".parquet", ".jsonl"
_GROUP = 4096  # rows that are in memory at a time


def check_target(path: Path) -> None:
    """Refuse a table that could not be written, before the work. Raises InteropError."""
    if path.suffix not in (PARQUET, LINES):
        what, fix = "is neither .parquet nor .jsonl", f"call it {path.stem or 'results'}{LINES}"
        raise ConfigError(what, where=str(path), fix=fix)
    if path.is_dir():
        raise ConfigError("is a folder", where=str(path), fix="name a file in it")
    if not path.parent.is_dir():
        raise ConfigError("no such folder", where=str(path.parent), fix="make it first")
    if path.suffix == PARQUET:
        _arrow(path)


def write(path: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Json]]) -> None:
    """Write rows of these columns, of which each is a "text", "number", "flag", "texts" or
    "findings". Raises ConfigError."""
    with placed(path) as part:
        if path.suffix == LINES:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(in_json(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
        else:
            _write_parquet(part, columns, iter(rows))


def _write_parquet(
    part: Path, columns: Mapping[str, str], rows: Iterator[Mapping[str, Json]]
) -> None:
    pyarrow, parquet = _arrow(part)
    schema = _schema(pyarrow, columns)
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        while group := [_in_utf8(row) for row in islice(rows, _GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _schema(pyarrow: Any, columns: Mapping[str, str]) -> Any:
    text = pyarrow.string()
    finding = pyarrow.struct([("level", text), ("rule", text), ("what", text)])
    kinds = {
        "text": text, "number": pyarrow.int64(), "flag": pyarrow.bool_(),
        "texts": pyarrow.list_(text), "findings": pyarrow.list_(finding),
    }  # fmt: skip
    return pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])


def _in_utf8(value: Any) -> Any:
    """A row in which names that are no UTF-8 have escapes: Parquet takes no others."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _in_utf8(one) for key, one in value.items()}
    return [_in_utf8(one) for one in value] if isinstance(value, list) else value


def _arrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        what = "writing Parquet needs pyarrow, which is not installed"
        fix = f"pip install 'model-interop[tables]', or call it {path.stem}{LINES}"
        raise ExtraMissing(what, where=str(path), fix=fix) from None
    return pyarrow, parquet
