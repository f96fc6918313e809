"""The README's commands and the stored results -> the README's outputs and figures, as they are.

    python -m benchmarks.readme

Runs each `$ interop …` of the README in a scratch folder and puts in what it printed; makes the
table of figures from benchmarks/results/. A test runs the same commands and compares.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.process import RESULTS, ROOT

README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ interop (?P<command>[^\n]*)\n(?P<output>.*?)```\n", re.S)
FIGURES = re.compile(
    r"(<!-- figures: python -m benchmarks\.readme -->\n).*?(<!-- end of figures -->)", re.S
)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the README, and the output that stands below it."""
    for block in BLOCK.finditer(text):
        yield block["command"], block["output"]


def scratch(folder: Path, derived: Path) -> None:
    """A folder in which the README's commands find the fixtures under the README's paths."""
    fixtures = folder / "fixtures"
    fixtures.mkdir()
    (fixtures / "digits").symlink_to(ROOT / "fixtures" / "digits")
    (fixtures / "derived").symlink_to(derived)
    (fixtures / "interop.toml").write_text((ROOT / "fixtures" / "interop.toml").read_text())


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command of the README as a reader would, with stdout apart."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "interop", *command.split()],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )


def figures() -> list[str]:
    """The table of figures, from the stored results alone."""
    rows = ["| what | measured | goal |", "| --- | --- | --- |"]
    check, start = _result("check"), _result("start")
    rows += [
        f"| `interop check` of two resnet18 files against a torch script: CPU time "
        f"| 1/{1 / check['ratios']['cpu']:.1f} | 1/15 |",
        f"| the same: peak memory | 1/{1 / check['ratios']['peak_memory']:.1f} | 1/8 |",
        f"| `interop --help` against `import click`: CPU time | {start['ratio']:.2f} | 3 |",
    ]
    for name, found in _result("export")["models"].items():
        rows += [
            f"| export of {name} against a bare `torch.onnx.export`: CPU time of the conversion "
            f"| {found['conversion_to_bare']:.2f} | {found['conversion_goal']:g} |",
            f"| the same: the proofs against the conversion "
            f"| {found['proofs_to_conversion']:.2f} | {found['proofs_goal']:g} |",
        ]
    return rows


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def main() -> None:
    from fixtures.make import DERIVED, derive

    derive(DERIVED)
    text = README.read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scratch(folder, DERIVED)

        def filled(block: re.Match[str]) -> str:
            done = run(block["command"], folder)
            print(f"{done.returncode}  interop {block['command']}", flush=True)
            return f"```console\n$ interop {block['command']}\n{done.stdout}```\n"

        text = BLOCK.sub(filled, text)
    table = "\n" + "\n".join(figures()) + "\n\n"
    text = FIGURES.sub(lambda m: m.group(1) + table + m.group(2), text)
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
