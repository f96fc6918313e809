"""What `inspect` prints of heads, and of what lies beside a backbone."""

from __future__ import annotations

from interop.check import inspect
from interop.identity import identify
from interop.models.catalog import entry
from interop.report.text import render
from tests.identity.conftest import manifest


def test_what_lies_beside_a_backbone_has_a_row_of_its_own() -> None:
    shapes = {f"net.{n}": s for n, s in entry("torchvision/resnet34").shapes.items()}
    shapes |= {"loss.weight": (7,), "decoder.rnn.weight_hh_l0": (64, 16)}
    lines = render(inspect([identify(manifest(shapes))])).splitlines()
    rows = [line for line in lines if line.startswith(("head  ", "beside it"))]
    assert rows == [
        "head           net.fc (linear, of pooled features), 512 -> 1000 (the index)",
        "beside it      loss (several layers)",
    ]
    assert "               decoder (several layers)" in lines
    gone = {n: s for n, s in shapes.items() if not n.startswith("net.fc")}
    text = render(inspect([identify(manifest(gone))]))
    assert "net.fc is gone" in text
    assert "what lies beside it is not known to be one" in " ".join(text.split())
