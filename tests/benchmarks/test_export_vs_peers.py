"""What a study's runs say of its goals, and what the stored one says of this version."""

from __future__ import annotations

import json

from benchmarks.export_vs_peers import CASES, Case, goals, missed
from benchmarks.process import RESULTS

GB = 1_000_000_000


def process(**given: float) -> dict[str, float]:
    return {"cpu": 10.0, "peak_bytes": 3 * GB, "written_bytes": GB, **given}


def test_every_figure_is_put_to_its_goal() -> None:
    found = {
        "interop": process(conversion=6.0, proofs=3.0),
        "libraries": process(peak_bytes=0.7 * GB),
        "bare": process(),
        "verified": process(cpu=12.5),
    }
    table = goals(Case({"bare": None, "verified": 0.7, "optimum": 0.9}), GB, found)
    told = {what: (one["measured"], one["goal"]) for what, one in table.items()}
    assert told["own memory to weights"] == (2.0, 2.0)
    assert told["bytes written to weights"] == (1.0, 1.02)
    assert told["proofs to conversion"] == (0.5, None)
    assert told["whole to verified"] == (0.8, 0.7)
    assert told["whole to bare"] == (1.0, None)
    assert "whole to optimum" not in told  # it was not there to be measured
    assert missed({"m": {"goals": table}}) == ["m: whole to verified 0.8 (goal 0.7)"]


def test_the_stored_study_has_every_model_and_no_second_copy_of_the_weights() -> None:
    stored = json.loads((RESULTS / "export_vs_peers.json").read_text("utf-8"))["models"]
    assert list(stored) == [name for name in CASES if name in stored]
    assert {"resnet18", "vit_b_16", "swin_t", "timm/resnet50", "bert-base"} <= set(stored)
    for name, found in stored.items():
        assert set(found["processes"]) == {"interop", "libraries", *CASES[name].peers}
        bundle = found["goals"]["bytes written to weights"]
        assert bundle["measured"] <= bundle["goal"], name
