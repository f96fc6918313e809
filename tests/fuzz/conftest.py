"""How long the suite runs: few examples and always the same ones in CI, many with INTEROP_FUZZ."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "short", max_examples=40, deadline=None, derandomize=True, suppress_health_check=_UNCHECKED
)
settings.register_profile(
    "long",
    max_examples=int(os.environ.get("INTEROP_FUZZ_EXAMPLES", "20000")),
    deadline=None,
    database=None,
    suppress_health_check=_UNCHECKED,
)
FUZZ = settings.get_profile("long" if os.environ.get("INTEROP_FUZZ") == "long" else "short")
# For readers that start a process for each file, as HDF5's does.
FEW = settings(FUZZ, max_examples=max(3, FUZZ.max_examples // 20))
