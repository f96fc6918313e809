"""An artefact that departs from its source -> the first node that does, and the part that shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from interop.facts.sections.export import GraphDeparture


@dataclass(frozen=True, slots=True)
class Explained:
    section: GraphDeparture | None


def explained(artefact, forward, batch, out):
    return None
