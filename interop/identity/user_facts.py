"""What a person says of files that do not say it themselves."""

from __future__ import annotations

from dataclasses import dataclass

from interop.facts import AnyPreprocessing, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """`arch` decides between architectures that the weights allow alike; `labels` and
    `preprocessing` hold for the files that do not state their own."""

    arch: str | None = None
    labels: Labels | None = None
    preprocessing: AnyPreprocessing | None = None
