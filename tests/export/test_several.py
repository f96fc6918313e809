"""Several checkpoints in one go: a bundle each, and one report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision

from interop import api
from interop.errors import ConfigError, ReadError
from interop.export import ExportOptions
from interop.facts import Answer
from interop.facts.sections.export import ExportsSection
from tests.helpers.commands import here

ARCH = "squeezenet1_1"
OPTIONS = ExportOptions(arch=ARCH)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        torch.save(torchvision.models.get_model(ARCH, num_classes=3).state_dict(), path)
    return paths


def test_each_has_its_bundle(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = api.export_all(files, out, OPTIONS)
    bundles = report.section(ExportsSection).bundles
    assert report.outcome is Answer.YES and [b.hold for b in bundles] == [5, 5]
    assert sorted(p.name for p in out.iterdir()) == ["a", "b"]
    stored = [json.loads((out / n / "interop.json").read_text())["source"] for n in "ab"]
    assert stored[0] != stored[1]
    assert api.verify(out / "b").outcome is Answer.YES


def test_one_that_fails_keeps_no_other_from_its_bundle(files: list[Path], tmp_path: Path) -> None:
    state = torch.load(files[0])
    del state["features.0.weight"]
    torch.save(state, files[0])
    out = tmp_path / "out"
    report = api.export_all(files, out, OPTIONS)
    first, second = report.section(ExportsSection).bundles
    assert (report.outcome, first.bundle, second.bundle) == (Answer.NO, None, str(out / "b"))
    assert str(files[0]) in report.summary and [p.name for p in out.iterdir()] == ["b"]


def test_nothing_is_written_where_one_cannot_be_read(files: list[Path], tmp_path: Path) -> None:
    files[1].write_bytes(b"no model")
    with pytest.raises(ReadError):
        api.export_all(files, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_two_of_one_name_are_refused(files: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "more" / "a.pth"
    other.parent.mkdir()
    other.write_bytes(files[0].read_bytes())
    with pytest.raises(ConfigError, match="the bundle of two checkpoints"):
        api.export_all([files[0], other], tmp_path / "out", OPTIONS)


def test_the_command_lists_them(files: list[Path], tmp_path: Path) -> None:
    given = ["export", *map(str, files), "--arch", ARCH]
    without = here(*given)
    assert without.returncode == 2 and "-o FOLDER" in without.stderr
    done = here(*given, "-o", str(tmp_path / "out"))
    assert done.returncode == 0 and "2 of 2 bundles hold all proofs" in done.stderr
    assert done.stdout.count("5 of 5") == 2
    assert max(map(len, done.stdout.splitlines())) <= 80
