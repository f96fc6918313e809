"""A Report -> canonical JSON, and back: what is stored, compared and handed to the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from interop.errors import ConfigError
from interop.facts import Absent, AxisDomain, Json, Measurement, Report, Sparse
from interop.facts.sections import sections_of
from interop.report.sanitize import in_json

T = TypeVar("T")

# The published schema of a stored report (JSON Schema 2020-12).
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


def render(report: Report) -> str:
    """Canonical JSON: the fields of `facts.Report` in their order."""
    return dump(to_json(report))


def dump(document: Json, indent: int | None = 2) -> str:
    """JSON text that can be written as UTF-8, ending in a newline."""
    return in_json(json.dumps(document, indent=indent, ensure_ascii=False)) + "\n"


def to_json(value: Any) -> Json:
    """Records, enums, mappings and tuples as JSON values; a float that is no number as null."""
    if is_dataclass(value) and not isinstance(value, type):
        sparse = isinstance(value, Sparse)
        return {
            key: to_json(content)
            for key, f in json_fields(type(value))
            if (content := getattr(value, f.name)) is not f.default or not sparse
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None  # JSON has no word for it
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def read_report(path: str | Path) -> Report:
    """A stored report. Raises ConfigError where the file is none, or its values are not of the
    types that `facts.Report` says."""
    fix = "give a file written with --report json:PATH"
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "not JSON"
        raise ConfigError(f"no report ({reason})", where=str(path), fix=fix) from None
    if not isinstance(document, dict) or document.get("schema") != 1 or "command" not in document:
        raise ConfigError("no report of schema 1", where=str(path), fix=fix)
    try:
        return replace(from_json(document), file=str(path))
    except KeyError as error:
        why = f"it lacks {error}"
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        why = str(error)
    raise ConfigError(f"a damaged report ({why})", where=str(path), fix=fix)


def from_json(document: dict[str, Json]) -> Report:
    """The Report that `to_json` made the document of. Raises KeyError, TypeError or ValueError
    where it is none."""
    report = decode(Report, document)
    given = document["details"]
    known: tuple[Any, ...] = sections_of(report.command)
    kinds = [k for k in known if given.keys() & {key for key, _ in json_fields(k)}]
    return replace(report, details=decode(kinds[0], given)) if kinds else report


def decode(kind: Callable[..., T], value: Json, name: str = "report") -> T:
    """The record of this kind that `to_json` made the value of; keys that it lacks are let be.

    A null number is NaN, as which `to_json` stores it. Raises KeyError, TypeError or ValueError
    where the value is none; `name` is what the error calls it.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} is {value!r}, no object")
    hints, given = _hints(kind), {}
    for key, f in json_fields(kind):
        if key in value:
            given[f.name] = _decoded(hints[f.name], value[key], key)
        elif kind in _WHOLE or (f.default is MISSING and f.default_factory is MISSING):
            raise KeyError(key)
    record = kind(**given)
    if isinstance(record, AxisDomain):
        record.check()
    if isinstance(record, Measurement):
        _check_conditions(record.conditions)
    return record


@cache
def json_fields(kind: Any) -> tuple[tuple[str, Field[Any]], ...]:
    """The fields of a record that JSON has, each with its key."""
    keyed = ((f.metadata.get("key", f.name), f) for f in fields(kind))
    return tuple((key, f) for key, f in keyed if key)


# ---------------------------------------------------------------- one value by its type

_WHOLE = (Report, Measurement)  # of these no key may be missing, whatever its default


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


_WORDS = {str: "text", bool: "neither true nor false", int: "whole number"}


def _decoded(kind: Any, value: Json, name: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(args, value, name)
    if origin is tuple:
        return _listed(args, value, name)
    if origin is not None:
        if not isinstance(value, dict):
            raise TypeError(f"{name} is {value!r}, no object")
        return {key: _decoded(args[1], content, key) for key, content in value.items()}
    if kind is Any:
        return value
    if hasattr(kind, "__dataclass_fields__"):
        return decode(kind, value, name)
    if issubclass(kind, Enum):
        return kind(value)
    if kind is float:
        return _number(value, name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}, {'' if kind is bool else 'no '}{_WORDS[kind]}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Json, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(k for k in kinds if k not in (type(None), Absent))
    for kind in kinds[:-1]:
        try:
            return _decoded(kind, value, name)
        except (TypeError, ValueError):
            continue
    return _decoded(kinds[-1], value, name)


def _listed(kinds: tuple[Any, ...], value: Json, name: str) -> tuple[Any, ...]:
    size = "list"
    if kinds[1:] != (...,):
        size = "two numbers" if kinds == (float, float) else f"list of {len(kinds)}"
    elif isinstance(value, list):
        kinds = kinds[:1] * len(value)
    if not isinstance(value, list) or len(value) != len(kinds):
        raise TypeError(f"{name} is {value!r}, no {size}")
    return tuple(_decoded(k, v, name) for k, v in zip(kinds, value, strict=True))


def _number(value: Json, name: str) -> float:
    """A number as it stands; null, as which one is stored that JSON has no word for, as NaN."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}, no number")
    float(value)  # a whole number may be too large for one
    return value


# Conditions by which figures are told apart or judged; others are only shown.
_SCALARS = ("between", "model", "runtime", "batch", "of", "figure")
_NUMBERS = ("mcnemar_p", "p50", "p90", "p99")


def _check_conditions(conditions: Mapping[str, Json]) -> None:
    for name in _SCALARS:
        if isinstance(conditions.get(name), (list, dict)):
            raise TypeError(f"conditions.{name} is {conditions[name]!r}, no plain value")
    for name in _NUMBERS:
        _number(conditions.get(name), name)
