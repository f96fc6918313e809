"""A Report -> canonical JSON, and back: what is stored, compared and handed to the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from interop.errors import ConfigError
from interop.facts import (
    Answer,
    Finding,
    Input,
    Intent,
    Json,
    Level,
    Measurement,
    Proof,
    Report,
    Skipped,
    Verdict,
)

# The published schema of a stored report (JSON Schema 2020-12).
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


def render(report: Report) -> str:
    """Canonical JSON: the fields of `facts.Report` in their order."""
    return dump(to_json(report))


def dump(document: Json) -> str:
    """JSON text that can be written as UTF-8, ending in a newline."""
    written = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair (a byte of a file's name that is no UTF-8) has an escape in JSON alone.
    return written.encode("utf-8", "backslashreplace").decode("utf-8")


def to_json(value: Any) -> Json:
    """Records, enums, mappings and tuples as JSON values; a float that is no number as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


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
        return from_json(document)
    except KeyError as error:
        why = f"it lacks {error}"
    except (TypeError, ValueError, OverflowError) as error:
        why = str(error)
    raise ConfigError(f"a damaged report ({why})", where=str(path), fix=fix)


def from_json(document: dict[str, Json]) -> Report:
    """The Report that `to_json` made the document of. Raises KeyError, TypeError or ValueError
    where it is none."""
    return Report(
        command=_text(document, "command"),
        outcome=Answer(document["outcome"]),
        summary=_text(document, "summary"),
        inputs=tuple(Input(**_typed(i)) for i in _listed(document, "inputs")),
        verdicts=tuple(
            Verdict(Intent(v["intent"]), Answer(v["answer"]), _text(v, "why"))
            for v in _listed(document, "verdicts")
        ),
        findings=tuple(_finding(f) for f in _listed(document, "findings")),
        proofs=tuple(_proof(p) for p in _listed(document, "proofs")),
        measurements=tuple(_measurement(m) for m in _listed(document, "measurements")),
        skipped=tuple(Skipped(**_typed(s)) for s in _listed(document, "skipped")),
        environment=_table(document, "environment"),
        details=_table(document, "details"),
        schema=document["schema"],
    )


# ---------------------------------------------------------------- the parts of a stored report

# Fields by what they must hold, in whatever record they stand.
_TEXTS = ("role", "path", "summary", "rule", "what", "place", "hint", "name", "unit", "why")
_TABLES = ("facts", "conditions")
# Conditions by which figures are told apart or judged; others are only shown.
_SCALARS = ("between", "model", "runtime", "batch", "of", "figure")
_NUMBERS = ("mcnemar_p", "p50", "p90", "p99")


def _finding(given: dict[str, Json]) -> Finding:
    breaks = given["breaks"]
    if not isinstance(breaks, list):
        raise TypeError(f"breaks is {breaks!r}, no list")
    typed = {
        **_typed(given),
        "level": Level(given["level"]),
        "answer": Answer(given["answer"]),
        "breaks": tuple(Intent(i) for i in breaks),
    }
    return Finding(**typed)


def _proof(given: dict[str, Json]) -> Proof:
    if not isinstance(given["holds"], bool):  # a text, even "false", would count as true
        raise TypeError(f"holds is {given['holds']!r}, neither true nor false")
    return Proof(**{**_typed(given), "seconds": _number(given.get("seconds", 0.0), "seconds")})


def _measurement(given: dict[str, Json]) -> Measurement:
    typed, value, ends = _typed(given), given["value"], given["interval"]
    told = typed["conditions"]
    for name in _SCALARS:
        if isinstance(told.get(name), (list, dict)):
            raise TypeError(f"conditions.{name} is {told[name]!r}, no plain value")
    for name in _NUMBERS:
        _number(told.get(name), name)
    if ends is not None and (not isinstance(ends, list) or len(ends) != 2):
        raise ValueError(f"interval is {ends!r}, no two numbers")
    if not isinstance(given["samples"], list):
        raise TypeError(f"samples is {given['samples']!r}, no list")
    typed["value"] = None if value is None else _number(value, "value")
    typed["interval"] = ends and (_number(ends[0], "interval"), _number(ends[1], "interval"))
    typed["samples"] = tuple(_number(x, "samples") for x in given["samples"])
    return Measurement(**typed)


def _number(value: Json, name: str) -> float:
    """A number as it stands; null, as which one is stored that JSON has no word for, as NaN."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}, no number")
    float(value)  # a whole number may be too large for one
    return value


def _listed(document: dict[str, Json], key: str) -> list[dict[str, Json]]:
    found = document[key]
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise TypeError(f"{key} is no list of objects")
    return found


def _typed(given: dict[str, Json]) -> dict[str, Json]:
    """The same record, with its texts and tables checked."""
    for key in given:
        if key in _TEXTS:
            _text(given, key)
        elif key in _TABLES:
            _table(given, key)
    return dict(given)


def _text(given: dict[str, Json], key: str) -> str:
    found = given[key]
    if not isinstance(found, str):
        raise TypeError(f"{key} is {found!r}, no text")
    return found


def _table(given: dict[str, Json], key: str) -> dict[str, Json]:
    found = given[key]
    if not isinstance(found, dict):
        raise TypeError(f"{key} is {found!r}, no object")
    return found
