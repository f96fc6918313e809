"""The light install: the package and what it depends on, and nothing else that is installed here.

`linked` shows a new interpreter the declared dependencies alone, out of this environment;
`installed` has pip build and install the package into an environment of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.helpers.commands import ROOT

NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Light:
    """How to start Python in it, and the environment variables that belong to it."""

    python: tuple[str, ...]
    environment: dict[str, str]
    folder: Path

    def run(self, *arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
        """`interop` with arguments, or a piece of Python."""
        command = ["-c", code] if code else ["-m", "interop", *map(str, arguments)]
        return subprocess.run(
            [*self.python, *command], capture_output=True, text=True, cwd=self.folder,
            env=self.environment, check=False,
        )  # fmt: skip


def linked(folder: Path) -> Light:
    """Links to the package and its dependencies, for a Python without site-packages."""
    site = folder / "site"
    site.mkdir()
    (site / "interop").symlink_to(ROOT / "interop")
    for found in _needed(_declared()):
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    # -S: no site-packages; -P: nor what lies in the working directory.
    return Light((sys.executable, "-S", "-P"), {"PYTHONPATH": str(site), "COLUMNS": "80"}, folder)


def installed(folder: Path) -> Light:
    """A new environment into which pip has installed the package."""
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "interop", source / "interop", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", source], check=True, cwd=folder)
    return Light((str(python),), {"COLUMNS": "80"}, folder)


def _declared() -> list[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return list(project["dependencies"])


def _needed(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that are required, and those that they require; no extras."""
    seen: set[str] = set()
    left = list(requirements)
    while left:
        requirement = left.pop()
        match = NAME.match(requirement)
        if match is None or "extra ==" in requirement or match[0].lower() in seen:
            continue
        seen.add(match[0].lower())
        if "platform_system" in requirement:  # for another system than those of the tests
            continue
        found = distribution(match[0])
        yield found
        left += found.requires or []
