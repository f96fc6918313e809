"""One target in a process of its own, under atheris: `child TARGET WORKPLACE FINDINGS OPTIONS`.

Nothing of interop is imported before atheris can count what is reached.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[3]
# What each target of this beginning counts; all else of interop is left as it is.
_ROOMS = {
    "check": ("check", "identity", "report", "rules", "reading"),
    "policy": ("policy", "gate"),
    "evidence": ("policy", "gate", "report.json"),
    "receipt": ("gate",),
}


def _instrumented(target: str) -> None:
    """Import the rooms that the target counts, so that atheris sees what is reached in them."""
    rooms = tuple(f"interop.{room}" for room in _ROOMS.get(target, ("reading",)))
    # By their files: pkgutil would import the packages to look for more.
    paths = (p.relative_to(ROOT).with_suffix("") for p in sorted((ROOT / "interop").rglob("*.py")))
    every = [".".join(p.parts).removesuffix(".__init__") for p in paths]
    others = [n for n in every if not n.startswith(rooms)]
    with atheris.instrument_imports(include=["interop"], exclude=others):
        for name in every:
            if name.startswith(rooms):
                import_module(name)


def main() -> None:
    name, workplace, findings = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with Path(os.devnull).open("w") as nowhere:  # atheris names each module
        errors, sys.stderr = sys.stderr, nowhere
        try:
            _instrumented(name)
        finally:
            sys.stderr = errors
    from tests.fuzz.guided.findings import SEPARATOR, failure, keep, path_of, replay_line
    from tests.fuzz.guided.targets import TARGETS

    target = TARGETS[name]
    corpus = workplace / "corpus"
    fatal = {p.read_bytes() for p in findings.glob(f"{name}{SEPARATOR}*")}
    for seed in target.seeds():
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    for path in corpus.iterdir():  # one that ended the process before would do so again
        if path.read_bytes() in fatal:
            path.unlink()
    shutil.rmtree(workplace / "work", ignore_errors=True)
    (workplace / "work").mkdir()
    run = target.make(workplace / "work")
    limited = not target.memory
    checked: set[str] = set()

    def once(data: bytes) -> None:
        nonlocal limited
        if not limited:  # not before: atheris makes room for its counts
            _limit(target.memory)
            limited = True
        if (wrong := failure(run, data)) is None:
            return
        sign, text = wrong
        if sign in ("slow", "memory"):  # atheris's own counting costs time too: ask without it
            if len(checked) > 20 or path_of(findings, target, sign).exists():
                return
            checked.add(sha256(data).hexdigest())
            if not _is_so(name, data, workplace):
                return
        if keep(findings, target, sign, data):
            print(f"FINDING {name} {text}\n    {replay_line(path_of(findings, target, sign))}",
                  flush=True)  # fmt: skip

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        assert target.mutate is not None
        return target.mutate(bytes(data), random.Random(seed), atheris.Mutate, most)

    options = [sys.argv[0], *sys.argv[4:]]
    if target.mutate is None:
        atheris.Setup(options, once)
    else:
        atheris.Setup(options, once, custom_mutator=mutate)
    atheris.Fuzz()


def _is_so(name: str, data: bytes, workplace: Path) -> bool:
    """Whether the input fails too where nothing is counted."""
    path = workplace / f"{name}@again"
    path.write_bytes(data)
    command = [sys.executable, "-m", "tests.fuzz.guided", "--replay", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 1


def _limit(more: int) -> None:
    """Let the process have so many bytes of address space beside what it has."""
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + more, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
