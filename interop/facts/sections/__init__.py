"""What each command reports of its own: a typed section a command, under `details` in the JSON.

The fields are the JSON's keys, in its order. A command loads its own module alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from interop.facts.section import Section

# command -> its sections; those of `bench --compare`, `inspect --all` and an export of several
# checkpoints are second ones
SECTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "inspect": (("check", "InspectSection"), ("sweep", "SweepSection")),
    "check": (("check", "CheckSection"),),
    "port": (("export", "PortSection"),),
    "export": (("export", "ExportSection"), ("export", "ExportsSection")),
    "verify": (("export", "VerifySection"),),
    "bench": (("bench", "BenchSection"), ("bench", "CompareSection")),
    "finetune": (("finetune", "FinetuneSection"),),
    "assess": (("assess", "AssessSection"),),
    "gate": (("gate", "GateSection"),),
    "doctor": (("doctor", "DoctorSection"),),
}


def sections_of(command: str) -> tuple[type[Section], ...]:
    """The kinds of section that a command's report may have; () of an unknown command."""
    return tuple(
        getattr(import_module(f"{__name__}.{module}"), name)
        for module, name in SECTIONS.get(command, ())
    )
