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
    """A stored report. Raises ConfigError where the file is none."""
    fix = "give a file written with --report json:PATH"
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not JSON"
        raise ConfigError(f"no report ({reason})", where=str(path), fix=fix) from None
    if not isinstance(document, dict) or document.get("schema") != 1 or "command" not in document:
        raise ConfigError("no report of schema 1", where=str(path), fix=fix)
    try:
        return from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"a damaged report ({error!r})", where=str(path), fix=fix) from None


def from_json(document: dict[str, Json]) -> Report:
    """The Report that `to_json` made the document of."""
    return Report(
        command=document["command"],
        outcome=Answer(document["outcome"]),
        summary=document["summary"],
        inputs=tuple(Input(**i) for i in document["inputs"]),
        verdicts=tuple(
            Verdict(Intent(v["intent"]), Answer(v["answer"]), v["why"])
            for v in document["verdicts"]
        ),
        findings=tuple(
            Finding(
                **{
                    **f,
                    "level": Level(f["level"]),
                    "answer": Answer(f["answer"]),
                    "breaks": tuple(Intent(i) for i in f["breaks"]),
                }
            )
            for f in document["findings"]
        ),
        proofs=tuple(Proof(**p) for p in document["proofs"]),
        measurements=tuple(
            Measurement(
                **{
                    **m,
                    "interval": None
                    if m["interval"] is None
                    else (m["interval"][0], m["interval"][1]),
                    "samples": tuple(m["samples"]),
                }
            )
            for m in document["measurements"]
        ),
        skipped=tuple(Skipped(**s) for s in document["skipped"]),
        environment=document["environment"],
        details=document["details"],
        schema=document["schema"],
    )
