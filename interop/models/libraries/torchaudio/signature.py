"""torchaudio's models -> what they take: waveforms, or the frames of a spectrogram."""

from __future__ import annotations

from typing import Any

from interop.models.signature.types import BATCH, Argument, Signature


def signature(name: str, module: Any) -> Signature:
    """DeepSpeech takes frames of features, all others the samples of a sound."""
    if name.lower() == "deepspeech":
        features = int(module.fc1.fc.in_features)
        axes = (BATCH, 1, "frames", features)
        return Signature((Argument("input", axes),), {"frames": 20}, {"frames": 32})
    return Signature(
        (Argument("input", (BATCH, "samples")),), {"samples": 8000}, {"samples": 12000}
    )
