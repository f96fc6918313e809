"""A bundle's card, in whose names nothing is markup and nothing steers who reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from interop.api import identify_file
from interop.export.documents import card
from interop.export.pipeline import GraphInput
from interop.facts import Assumption, AxisDomain, AxisState, Proof
from tests.helpers.steering import HOSTILE, steering
from tests.report.test_hostile import safetensors
from tests.report.test_markdown import Shown


def made(folder: Path, h: str) -> str:
    """The card of a model in which all that can have a name has this one."""
    path = folder / "a.safetensors"
    path.write_bytes(safetensors({"fc.weight": 2, "fc.bias": 2}, {"labels": json.dumps([h, "b"])}))
    facts = {
        "dtype": "float32", "library": "onnx", "task": "", "opset": 20, "route": "dynamo",
        "inputs": (GraphInput(h, "float32", (h, 3)),), "outputs": (h, "b"),
        "weight_files": ["model.safetensors"], "notes": [h],
        "domain": (AxisDomain(h, 0, h, AxisState.RESTRICTED, 1, 2, why=h),),
    }  # fmt: skip
    assumed = Assumption("architecture", h, (h,), h, h)
    identity = replace(identify_file(str(path)), assumptions=(assumed,))
    text = card(identity, h, (Proof(h, True, h),), facts)
    return text.partition("\n---\n")[2].partition("```python")[0]


def test_no_name_of_a_card_is_markup_or_steers(tmp_path: Path) -> None:
    benign = Shown(made(tmp_path, "cat"))
    for h in HOSTILE:
        text = made(tmp_path, h)
        shown = Shown(text)
        assert shown.tags <= benign.tags and shown.attributes == benign.attributes, text
        assert not steering(text) and "@octocat" not in shown.text


def test_a_name_that_is_written_as_it_is_would_be_markup() -> None:
    assert Shown("- **Labels** [l](http://a.example)").attributes
