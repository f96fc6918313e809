"""`interop --help` against a Python that only imports click.

    python -m benchmarks.start [--repeats N]

Whole processes, run in turns; the ratio of CPU seconds goes to benchmarks/results/start.json.
Exit 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.process import interleaved, machine, store

GOAL = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    found = interleaved(
        {
            "interop --help": [sys.executable, "-m", "interop", "--help"],
            "import click": [sys.executable, "-c", "import click"],
        },
        repeats,
    )
    ratio = found["interop --help"]["cpu_seconds"] / found["import click"]["cpu_seconds"]
    for name, one in found.items():
        print(f"{name:15} {1000 * one['cpu_seconds']:6.1f} CPU-ms")
    print(f"ratio {ratio:.2f} (goal {GOAL:g})")
    store("start", {"machine": machine("click"), "runs": found, "ratio": ratio})
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
