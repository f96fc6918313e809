"""The table of keys -> the JSON Schema of a policy, for editors.

    python -m interop.policy.schema     (writes policy.schema.json anew: after a new rule or key)

A date of TOML counts as a text such as "2030-12-31", as editors take it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interop.facts import Evidence, Intent, Json, Level, TaskName
from interop.policy.keys import GROUPS, KEYS, KINDS, Key
from interop.rules import all_rules

SCHEMA_FILE = Path(__file__).with_name("policy.schema.json")

_TEXT: dict[str, Json] = {"type": "string", "minLength": 1}
_TYPES: dict[str, dict[str, Json]] = {
    "intent": {"enum": [str(i) for i in Intent]},
    "device": {"enum": ["cpu", "cuda"]},
    "task": {"enum": [str(t) for t in TaskName]},
    "flag": {"type": "boolean"},
    "number": {"type": "number", "minimum": 0},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
    "text": _TEXT,
    "path": _TEXT,
    "name": _TEXT,
    "names": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "evidence": {"type": "array", "minItems": 1, "items": {"enum": [str(e) for e in Evidence]}},
    "words": {"type": "object", "additionalProperties": {"type": "string"}},
    "facts": {
        "type": "object",
        "properties": {
            "kind": {"enum": ["image", "text", "audio"]},
            "evidence": {"enum": [str(e) for e in Evidence]},
            "color": {"enum": ["RGB", "BGR", "L"]},
            "interpolation": {"enum": ["nearest", "bilinear", "bicubic"]},
            "scale": {"type": "number", "exclusiveMinimum": 0},
            "tokenizer": {"type": "string", "description": "a path from the policy, or a sha256"},
            "max_length": {"type": "integer", "minimum": 1},
            "padding": {"enum": ["left", "right"]},
            "sampling_rate": {"type": "integer", "minimum": 1},
            **{key: {"type": "boolean"} for key in ("antialias", "lowercase", "mono", "normalise")},
            **{key: {"type": "array"} for key in ("mean", "std", "window")},
            **{key: {"type": ["integer", "array"]} for key in ("resize", "crop")},
        },
        "additionalProperties": False,
    },
    "age": {"type": "string", "pattern": "^[1-9][0-9]{0,5} (minute|hour|day|week)s?$"},
    "level": {"enum": [str(level) for level in Level]},
}
_WAIVER: dict[str, Json] = {
    "rule": {"description": "the rule that is waived; evidence cannot be"},
    "place": {"type": "string", "description": "a glob of the finding's place; all by default"},
    "reason": {"type": "string", "pattern": "\\S", "description": "why it is put up with"},
    "expires": {
        "type": "string",
        "format": "date",
        "pattern": "^\\d{4}-\\d\\d-\\d\\d$",
        "description": "the last day on which it is",
    },
}


def schema() -> dict[str, Any]:
    """The schema of a whole interop.toml, and of a [tool.interop]."""
    settings = _settings()
    section = {"path": {**_TEXT, "description": "a glob of paths from the policy's folder"}}
    waivers = {"type": "array", "items": {"$ref": "#/$defs/waiver"}}
    models = _object({**section, **settings, "waivers": waivers}, required=["path"])
    models["description"] = "what holds for the models of these paths alone"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://interop.invalid/policy.schema.json",
        "title": "interop policy",
        "description": "What interop gate asks of a candidate: interop.toml, or [tool.interop].",
        **_object({**settings, "waivers": waivers, "models": {"type": "array", "items": models}}),
        "$defs": {
            "waiver": _object(
                {**_WAIVER, "rule": {**_WAIVER["rule"], "enum": _ids(evidence=False)}},
                required=["rule", "reason", "expires"],
            )
        },
    }


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = {k.name: _typed(k) for k in KEYS if "." not in k.name}
    for group in GROUPS:
        of = [k for k in KEYS if k.name.startswith(f"{group}.")]
        settings[group] = _object({k.name.partition(".")[2]: _typed(k) for k in of})
    settings["rules"] = _object(dict.fromkeys(_ids(), _TYPES["level"]))
    return settings


def _typed(key: Key) -> dict[str, Json]:
    default = {} if key.default is None else {"default": key.default}
    return {**_TYPES[key.kind], "description": key.what, **default}


def _ids(*, evidence: bool = True) -> list[str]:
    return sorted(
        name
        for rule, explained in all_rules().items()
        for name in (rule, *explained.rule.aliases)
        if evidence or not rule.startswith("evidence-")
    )


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema


def text() -> str:
    """The schema as it lies in the package."""
    assert KINDS.keys() == _TYPES.keys()
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(text(), "utf-8", newline="\n")
    print(f"{SCHEMA_FILE.name}: {len(KEYS)} keys")
