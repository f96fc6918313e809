"""The records of a report -> the JSON Schema of what is stored.

    python -m interop.report.schema     (writes report.schema.json: after a change of a record)

Each record is a definition of its own, by its class's name. A section is chosen by the command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING
from inspect import getdoc
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from interop.facts import Absent, Json, Report, Sparse
from interop.facts.sections import SECTIONS, sections_of
from interop.report.json import SCHEMA_FILE, json_fields

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number"}
# What no type says of a field, by class and key.
_MORE: Mapping[str, dict[str, Json]] = {
    "Report.schema": {"const": 1},
    "Report.command": {"enum": list(SECTIONS)},
    "Report.outcome": {"description": "yes: exit 0, no: 1, unknown: 3"},
    "Report.details": {"type": "object"},
    "Finding.rule": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)+$"},
    "Finding.level": {"enum": ["error", "warn", "note"]},
    "Measurement.interval": {"description": "95 %"},
}


def schema() -> dict[str, Json]:
    """The schema of a stored report."""
    definitions: dict[str, Json] = {}
    report = _record(Report, definitions)
    sections = [
        {
            "if": {"properties": {"command": {"const": command}}},
            "then": {"properties": {"details": {"anyOf": [
                _of(kind, definitions) for kind in sections_of(command)
            ]}}},
        }
        for command in SECTIONS
    ]  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://interop.invalid/report.schema.json",
        "title": "interop report",
        **report,
        "allOf": sections,
        "$defs": dict(sorted(definitions.items())),
    }


def _record(kind: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    """An object of the class's keys; what it may leave out is not required."""
    hints = get_type_hints(kind)
    properties, required = {}, []
    for key, f in json_fields(kind):
        more = _MORE.get(f"{kind.__name__}.{key}", {})
        known = more.keys() & {"type", "enum", "const"}
        properties[key] = more if known else {**_of(hints[f.name], definitions), **more}
        if not issubclass(kind, Sparse) or f.default is MISSING:
            required.append(key)
    return {
        "type": "object",
        "description": " ".join((getdoc(kind) or "").partition("\n\n")[0].split()),
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _of(kind: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    """The schema of one type. A number is null where it is not finite."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": ["number", "null"] if kind is float else _PLAIN[kind]}
    if kind is type(None):
        return {"type": "null"}
    if origin in (Union, UnionType):
        kinds = [_of(k, definitions) for k in args if k is not Absent]
        if all(k.keys() == {"type"} for k in kinds):  # "integer" and "null": one list of both
            types = [[k["type"]] if isinstance(k["type"], str) else k["type"] for k in kinds]
            return {"type": list(dict.fromkeys(name for names in types for name in names))}
        return {"anyOf": kinds}
    if origin is tuple and args[1:] == (...,):
        return {"type": "array", "items": _of(args[0], definitions)}
    if origin is tuple:
        parts = [_of(k, definitions) for k in args]
        return {"type": "array", "prefixItems": parts, "minItems": len(args), "items": False}
    if origin is not None:
        return {"type": "object", "additionalProperties": _of(args[1], definitions)}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # a record may hold its own kind
        definitions[kind.__name__] = (
            _record(kind, definitions)
            if hasattr(kind, "__dataclass_fields__")
            else {"enum": [e.value for e in kind]}
        )
    return {"$ref": f"#/$defs/{kind.__name__}"}


def text() -> str:
    """The schema as it is stored in the package."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(text(), "utf-8", newline="\n")
    print(f"{SCHEMA_FILE.name}: {len(schema()['$defs'])} definitions")
