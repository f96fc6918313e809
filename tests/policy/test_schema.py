"""The published schema of a policy says what the parser says: of every key, and of bad files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interop.errors import ConfigError
from interop.facts import TaskName
from interop.policy.keys import KEYS
from interop.policy.policy import parse_policy
from interop.policy.schema import SCHEMA_FILE, schema, text

GOOD: dict[str, tuple[Any, ...]] = {
    "intent": ("reload", "transfer", "replace"),
    "device": ("cpu", "cuda"),
    "task": tuple(TaskName),
    "flag": (True, False),
    "number": (0, 1.5, 1000),
    "percent": (0, 1.5, 100),
    "text": ("image-classification",),
    "path": ("data",),
    "name": ("torchvision/resnet18",),
    "names": (["a"], ["a", "b"]),
    "evidence": (["stated"], ["measured", "assumed"]),
    "words": ({}, {"text": "body"}),
    "facts": ({"resize": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1]},),
    "age": ("14 days", "1 hour", "2 weeks", "30 minutes"),
}
BAD: dict[str, tuple[Any, ...]] = {
    "intent": ("reuse", 1),
    "device": ("tpu", 3),
    "task": ("image-clasification", "", 3, ["regression"]),
    "flag": ("yes", 1),
    "number": (-1, True, "1", [1]),
    "percent": (-1, 101, True, "1"),
    "text": ("", 3),
    "path": ("", 3),
    "name": ("", 3),
    "names": ([], "a", [1]),
    "evidence": ([], "stated", ["guessed"], [1]),
    "words": ({"text": 1}, "a"),
    "facts": (3, [1], "{}"),
    "age": ("14", "days", 14, "0 days", "14 fortnights", "14  days"),
}


def document(name: str, value: Any) -> dict[str, Any]:
    group, _, own = name.rpartition(".")
    return {group: {own: value}} if group else {own: value}


def parsed(given: dict[str, Any]) -> bool:
    try:
        parse_policy(given, Path("interop.toml"))
    except ConfigError:
        return False
    return True


def valid(given: dict[str, Any]) -> bool:
    checker = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))
    return not list(checker.iter_errors(json.loads(json.dumps(given, default=str))))


@pytest.mark.needs_torch
def test_a_policy_takes_the_tasks_that_bench_has() -> None:
    from interop.tasks import TASKS as MEASURED

    assert set(TaskName) == set(MEASURED)


def test_the_stored_schema_is_the_one_that_the_keys_give() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == text(), "python -m interop.policy.schema"
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_both_take_and_refuse_the_same_values(key: Any) -> None:
    for value in GOOD[key.kind]:
        given = document(key.name, value)
        assert parsed(given) and valid(given), given
    for value in BAD[key.kind]:
        given = document(key.name, value)
        assert not parsed(given) and not valid(given), given


WAIVER = '[[waivers]]\nrule = "key-missing"\nreason = "known"\nexpires = 2030-01-01\n'


@pytest.mark.parametrize(
    ("policy", "good"),
    [
        ("", True),
        (WAIVER, True),
        (WAIVER + 'place = "fc.*"\n', True),
        (WAIVER.replace("2030-01-01", '"2030-01-01"'), True),
        (WAIVER.replace("2030-01-01", '"soon"'), False),
        (WAIVER.replace("2030-01-01", "2030"), False),
        (WAIVER.replace("2030-01-01", "2030-01-01T10:00:00"), False),
        (WAIVER.replace('reason = "known"\n', ""), False),
        (WAIVER.replace("known", " "), False),
        (WAIVER.replace("expires = 2030-01-01\n", ""), False),
        (WAIVER.replace("key-missing", "no-such-rule"), False),
        (WAIVER.replace("key-missing", "evidence-missing"), False),
        (WAIVER + "until = 3\n", False),
        ('[[models]]\npath = "det/*"\nintent = "reload"\n', True),
        ('[[models]]\npath = "det/*"\n[models.budgets]\nsize-mb = 3\n', True),
        ('[[models]]\npath = "det/*"\n[[models.waivers]]\n' + WAIVER.partition("\n")[2], True),
        ('[[models]]\nintent = "reload"\n', False),
        ('[[models]]\npath = "det/*"\n[[models.models]]\npath = "x"\n', False),
        ('[[models]]\npath = "det/*"\nintents = "x"\n', False),
        ("[models]\npath = 'x'\n", False),
        ('[rules]\nkey-missing = "off"\n', True),
        ('[rules]\nkey-missing = "fatal"\n', False),
        ('[rules]\nkey-mising = "off"\n', False),
        ("budget = 1\n", False),
        ("[budgets]\nsize = 1\n", False),
        ("[evidence]\nage = 1\n", False),
        ("[facts]\nlabel = 1\n", False),
    ],
)
def test_both_take_and_refuse_the_same_files(policy: str, good: bool) -> None:
    given = tomllib.loads(policy)
    assert parsed(given) is good
    assert valid(given) is good
