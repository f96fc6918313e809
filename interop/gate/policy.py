"""interop.toml -> a Policy: what a candidate has to be, and what has to be shown of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from interop.errors import ConfigError
from interop.facts import Intent, Labels, Level, Preprocessing
from interop.identity.keys import parse_preprocessing
from interop.rules import all_rules, explain

# budget -> what it bounds, and its unit
BUDGETS = {
    "accuracy-drop": "points of top-1 that the candidate may lie below the baseline",
    "negative-flips": "percent of samples that were right and are wrong",
    "agreement": "percent of samples on which both must answer alike",
    "latency-ratio": "the candidate's median latency over the baseline's",
    "size-mb": "megabytes that the candidate's file may take",
}
# Budgets that only a bench report can be held against, and the measurement that each judges.
MEASURED = {
    "accuracy-drop": "accuracy change",
    "negative-flips": "negative flips",
    "agreement": "agreement",
    "latency-ratio": "latency ratio",
}

# What a budget cannot lie above.
MOST = {"accuracy-drop": 100, "negative-flips": 100, "agreement": 100}

TOP = ("intent", "values", "rules", "budgets", "evidence", "facts")
EVIDENCE = ("export", "bench", "data", "device")
FACTS = ("arch", "labels", "preprocess")


@dataclass(frozen=True, slots=True)
class Policy:
    """What `interop gate` asks for; the defaults are those of an empty file.

    `export` and `bench` say whether that evidence is required; `data` is the data set on which
    bench runs where no report is handed in, `data_sha256` its hash where evidence has to be of it,
    `device` where it runs. `arch`, `labels` and `preprocessing` are facts for files that do not
    state their own.
    """

    intent: Intent = Intent.REPLACE
    values: bool = True
    levels: Mapping[str, Level] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    export: bool = False
    bench: bool = False
    data: Path | None = None
    data_sha256: str | None = None
    device: str = "cpu"
    arch: str | None = None
    labels: Labels | None = None
    preprocessing: Preprocessing | None = None
    source: str = "(defaults)"

    def reason(self, command: str) -> str:
        """Why a command's report is needed."""
        judged = [b for b in MEASURED if b in self.budgets]
        if command == "bench" and judged:
            return f"budget {', '.join(judged)}"
        return f"evidence.{command}"


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises ConfigError for what it cannot mean."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), fix="give --policy FILE"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not TOML ({error})", where=str(path), fix="mend it") from None
    return parse_policy(document, path)


def parse_policy(document: Mapping[str, Any], path: Path) -> Policy:
    """A Policy from a parsed file; paths in it are relative to the file."""
    where = str(path)
    _known(document, TOP, where)
    rules = _table(document, "rules", where)
    budgets = _table(document, "budgets", where)
    evidence = _table(document, "evidence", where)
    facts = _table(document, "facts", where)
    _known(rules, tuple(all_rules()), where, "rules.", aliases=True)
    _known(budgets, tuple(BUDGETS), where, "budgets.")
    _known(evidence, EVIDENCE, where, "evidence.")
    _known(facts, FACTS, where, "facts.")
    for name, value in budgets.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # A NaN would compare as false with everything, and so allow everything.
        if not number or not isfinite(value) or not 0 <= value <= MOST.get(name, value):
            raise _wrong(f"budgets.{name}", value, f"a number: {BUDGETS[name]}", where)
    values, data = document.get("values", True), evidence.get("data")
    for key, given in (
        ("values", values),
        ("evidence.export", evidence.get("export", False)),
        ("evidence.bench", evidence.get("bench", False)),
    ):
        if not isinstance(given, bool):
            raise _wrong(key, given, "true or false", where)
    if data is not None and not isinstance(data, str):
        raise _wrong("evidence.data", data, "a path", where)
    labels = facts.get("labels")
    if labels is not None and not (
        isinstance(labels, list) and labels and all(isinstance(n, str) for n in labels)
    ):
        raise _wrong("facts.labels", labels, "a list of names", where)
    preprocess = facts.get("preprocess")
    arch = facts.get("arch")
    if arch is not None and not (isinstance(arch, str) and arch):
        raise _wrong("facts.arch", arch, "the name of an architecture", where)
    device = _choice(evidence, "device", ("cpu", "cuda"), "cpu", where, "evidence.")
    return Policy(
        intent=Intent(_choice(document, "intent", tuple(map(str, Intent)), "replace", where)),
        values=values,
        levels={
            _id(name): Level(_choice(rules, name, tuple(map(str, Level)), "", where, "rules."))
            for name in rules
        },
        budgets={name: float(value) for name, value in budgets.items()},
        export=evidence.get("export", False),
        # A budget on a measured quantity is a demand for the measurement.
        bench=evidence.get("bench", False) or any(b in budgets for b in MEASURED),
        data=None if data is None else path.parent / data,
        device=device,
        arch=arch,
        labels=None if labels is None else Labels(tuple(labels), where),
        preprocessing=None if preprocess is None else parse_preprocessing(preprocess, where),
        source=where,
    )


def _id(name: str) -> str:
    found = explain(name)
    return found.rule.id if found else name


def _known(
    given: Mapping[str, Any], known: tuple[str, ...], where: str, front: str = "", *,
    aliases: bool = False,
) -> None:  # fmt: skip
    for key in given:
        if key in known or (aliases and explain(key)):
            continue
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        fix = f"did you mean {front}{near[0]}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown key {front}{key}", where=where, fix=fix)


def _table(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, Mapping):
        raise _wrong(key, found, f"a table, [{key}]", where)
    return found


def _choice(
    given: Mapping[str, Any], key: str, known: tuple[str, ...], default: str, where: str,
    front: str = "",
) -> str:  # fmt: skip
    value = given.get(key, default)
    if value not in known:
        raise _wrong(front + key, value, f"one of {', '.join(known)}", where)
    return str(value)


def _wrong(key: str, value: Any, wanted: str, where: str) -> ConfigError:
    return ConfigError(f"{key} is {value!r}", where=where, fix=f"it takes {wanted}")
