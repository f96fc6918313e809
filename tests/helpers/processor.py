"""What the processor of this machine can do."""

from __future__ import annotations

from pathlib import Path

import pytest

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = set(_CPUINFO.read_text("utf-8").split()) if _CPUINFO.exists() else {"avx_vnni"}

# Without these instructions ONNX Runtime adds products of 8 bits in 16, which saturates.
exact_int8 = pytest.mark.skipif(
    not _FLAGS & {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"},
    reason="this processor has no VNNI: ONNX Runtime's sums of 8-bit products saturate on it",
)
