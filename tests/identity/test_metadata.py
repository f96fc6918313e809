"""What a file's metadata say of its labels."""

from __future__ import annotations

import pytest

from interop.identity.metadata import labels


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", None])
def test_a_config_that_says_regression_has_no_labels(problem: str | None) -> None:
    config = {"problem_type": problem, "id2label": {"0": "LABEL_0"}}
    found = labels({"config.json": config})
    assert found.names is None and found.applicable == (problem != "regression")
    assert found.known == (problem == "regression")
