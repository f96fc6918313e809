"""The figures of the page on sweeps are those of the stored study."""

from __future__ import annotations

from pathlib import Path

from benchmarks import readme, sweep


def test_the_page_has_the_stored_figures() -> None:
    block = readme.SWEEP.search(readme.SWEEP_PAGE.read_text("utf-8"))
    assert block is not None
    assert block.group(0).splitlines()[2:-2] == readme.sweep()


def test_a_store_is_made_of_links_and_swept_by_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    root = sweep.make(tmp_path / "few" / "store", 6)
    assert len(list(root.rglob("*.pth"))) == 6
    found = sweep.swept(str(root), 6, 1, "--jobs", "1")
    assert found["models"] == 6 and len(found["samples"]) == 1 and found["peak_bytes"] > 1 << 24
