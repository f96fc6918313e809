"""What a large module does not need just now goes out of the process's memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from interop.runtimes import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells pages apart")
MEGABYTES = 64


def resident() -> float:
    """Megabytes of mapped files in this process's memory."""
    text = Path("/proc/self/status").read_text()
    return int(text[text.index("RssFile:") :].split(None, 2)[1]) / 1024


@pytest.fixture
def mapped(tmp_path: Path) -> torch.Tensor:
    path = tmp_path / "weights.bin"
    torch.ones(MEGABYTES << 18).numpy().tofile(path)
    storage = torch.UntypedStorage.from_file(str(path), False, MEGABYTES << 20)
    return torch.empty(0).set_(storage)


def test_read_pages_go_and_come_back(mapped: torch.Tensor) -> None:
    before = resident()
    assert mapped.sum() == mapped.numel()
    assert resident() - before > MEGABYTES * 0.9
    memory.let_go([mapped])
    assert resident() - before < MEGABYTES * 0.1
    assert mapped.sum() == mapped.numel()


def test_what_was_written_stays(mapped: torch.Tensor) -> None:
    mapped.sum()
    mapped[MEGABYTES << 10] = 7.0
    before = resident()
    memory.let_go([mapped])
    assert before - resident() < MEGABYTES * 0.1
    assert mapped[MEGABYTES << 10] == 7.0


def test_numbers_in_no_file_stay() -> None:
    tensor = torch.ones(1 << 20)
    memory.let_go([tensor])
    assert tensor.sum() == tensor.numel()


def test_parts_let_go_behind_their_run(
    mapped: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mapped.view(-1, 1024)
    layers = [nn.Linear(1024, len(rows) // 4, bias=False) for _ in range(4)]
    for layer, weight in zip(layers, rows.chunk(4), strict=True):
        layer.weight = nn.Parameter(weight, requires_grad=False)
    module = nn.ModuleList(layers)
    monkeypatch.setattr(memory, "_AT_ONCE", 1 << 20)
    monkeypatch.setattr(memory, "LARGE", 1 << 20)
    seen = []
    before = resident()
    with memory.sparing(module), torch.inference_mode():
        for layer in layers:
            layer(torch.ones(1, 1024))
            seen.append(resident() - before)
    assert max(seen) < MEGABYTES / 2
    with torch.inference_mode():  # and without
        for layer in layers:
            layer(torch.ones(1, 1024))
    assert resident() - before > MEGABYTES * 0.9
