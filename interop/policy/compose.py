"""The models that a policy is for -> a first policy, with every other key as a comment."""

from __future__ import annotations

import json
import math
from pathlib import Path

from interop.facts import Identity, Json
from interop.policy.keys import KEYS
from interop.report.sanitize import in_json, one_name

_ROOM = 1.2  # by which the next model's file may be larger than the larger of the two


def text(seen: list[Identity]) -> str:
    """The policy for models of these identities: the baseline and the candidate, one, or none."""
    lines = [
        "# What interop gate asks of a candidate. Every key is optional; what is commented out is",
        "# an example and not in force. interop gate --show-config prints each value and where it",
        "# came from.",
        *(f"# seen: {said(i)}" for i in seen),
        "",
        *_top(),
        "",
        "# A rule's level: error, warn, note or off. interop explain RULE says what it is.",
        "[rules]",
        *_rules(seen),
        "",
        *_group("budgets", _budgets(seen)),
        "",
        *_group("evidence", {}),
        "",
        *_group("facts", _facts(seen)),
        "",
        *_group("assess", {}),
        "",
        "# A finding that somebody answers for, until a day.",
        "# [[waivers]]",
        '# rule = "tensor-dtype-narrowed"',
        '# place = "fc.*"  # a glob; without it the rule is waived everywhere',
        '# reason = "served in half precision since May"',
        "# expires = 2030-12-31",
        "",
        "# What holds for some models alone, by a glob of their paths from this file's folder.",
        "# [[models]]",
        '# path = "detectors/**"',
        "# [models.budgets]",
        "# size-mb = 200",
    ]
    return "\n".join(map(one_name, lines)) + "\n"


def _top() -> list[str]:
    return [
        "# reload: the same code loads it; transfer: training can start from it; replace: it can",
        "# be served in the baseline's place, no caller changes.",
        'intent = "replace"',
        "# The weights are read too: NaN, infinity, what moved. False is faster.",
        "values = true",
    ]


def _rules(seen: list[Identity]) -> list[str]:
    lines = []
    if any(i.manifest.imports for i in seen):
        lines.append('# checkpoint-holds-code = "warn"  # a pickle that names classes of your own')
    if len({i.manifest.container for i in seen}) > 1:
        lines.append('# container-changed = "off"  # the two are of different containers')
    return lines or ['# labels-unknown = "error"']


def _budgets(seen: list[Identity]) -> dict[str, tuple[str, str]]:
    """Key -> its value as TOML, and why."""
    if not seen:
        return {}
    largest = max(i.manifest.size for i in seen) / 1e6
    allowed = math.ceil(largest * _ROOM * 10) / 10
    return {"size-mb": (f"{allowed:g}", f"the larger of the two takes {largest:.1f}")}


def _facts(seen: list[Identity]) -> dict[str, tuple[str, str]]:
    """Facts that a person named for good are set; what must be filled in stays a comment."""
    facts: dict[str, tuple[str, str]] = {}
    common = [{a.name for a in i.architectures} for i in seen if len(i.architectures) > 1]
    shared = sorted(set.intersection(*common)) if common else []
    if shared:
        names = " or ".join(shared[:3])
        facts["arch"] = ("", f"fill in: the weights allow {names}")
    labelled = [i for i in seen if i.labels.known]
    if seen and len(labelled) < len(seen):
        known = next((i.labels.names for i in labelled if i.labels.names), None)
        if known is not None:
            facts["labels"] = (_toml(list(known)), "from the one that names them; is it so?")
        else:
            facts["labels"] = ("", "fill in: no file names its labels, and replace needs them")
    if seen and any(i.preprocessing is None for i in seen):
        how = next((i.preprocessing for i in seen if i.preprocessing), None)
        facts["preprocess"] = ("", "fill in: not every file says how its inputs are prepared")
        if how is not None:
            from interop.identity.metadata import preprocessing_json

            parts = (f"{k} = {_toml(v)}" for k, v in preprocessing_json(how).items())
            table = f"{{ {', '.join(parts)} }}"
            facts["preprocess"] = (table, "from the one that says so; is it so?")
    return facts


def _group(name: str, known: dict[str, tuple[str, str]]) -> list[str]:
    lines = [f"[{name}]"]
    for key in KEYS:
        group, _, own = key.name.partition(".")
        if group != name:
            continue
        value, why = known.get(own, ("", ""))
        # A fact that only one of two files states is a guess about the other.
        sure = value and "is it so?" not in why
        line = f"{own} = {value or _EXAMPLES.get(key.name) or _SAMPLES[key.kind]}"
        front = "" if sure else "# "
        lines += [f"# {key.what}" + (f" ({why})" if why else ""), front + line]
    return lines


_EXAMPLES = {
    "budgets.agreement": "98.0",
    "budgets.throughput-ratio": "0.9",
    "budgets.size-mb": "200",
    "budgets.peak-memory-mb": "1024",
    "budgets.opset-min": "13",
    "budgets.opset-max": "18",
    "evidence.providers": '["CPUExecutionProvider"]',
}
_SAMPLES = {
    "number": "1.2",
    "percent": "1.0",
    "flag": "true",
    "age": '"14 days"',
    "path": '"data/heldout"',
    "task": '"image-classification"',
    "text": '"test"',
    "words": '{ text = "body" }',
    "device": '"cuda"',
    "names": '["cat", "dog"]',
    "evidence": '["stated", "measured", "assumed"]',
    "name": '"torchvision/resnet18"',
    "facts": "{ resize = [256], crop = [224, 224], mean = [0.485, 0.456, 0.406], "
    "std = [0.229, 0.224, 0.225] }",
}


def _toml(value: Json) -> str:
    return in_json(json.dumps(value, ensure_ascii=False))


def said(identity: Identity) -> str:
    """What was seen of a model, in a line."""
    from interop.identity.describe import summary

    names = identity.labels.names
    labels = f"{len(names)} labels" if names else "labels unknown"
    if not identity.labels.applicable:
        labels = "no labels by nature"
    how = "preprocessing known" if identity.preprocessing else "preprocessing unknown"
    size = f"{identity.manifest.size / 1e6:.1f} MB"
    return f"{Path(identity.manifest.path).name}: {summary(identity)}, {size}, {labels}, {how}"
