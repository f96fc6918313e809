"""torchaudio's models -> what they take: waveforms, or the frames of a spectrogram."""

from __future__ import annotations

from typing import Any

from interop.models.signature.types import BATCH, Argument, Signature


def signature(name: str, module: Any) -> Signature:
    """DeepSpeech takes frames of features, all others the samples of a sound."""
    if name.lower() == "deepspeech":
        axes = (BATCH, 1, "frames", int(module.fc1.fc.in_features))
        return Signature((Argument("input", axes),), {"frames": 20}, {"frames": 32})
    arguments = (Argument("input", (BATCH, "samples")),)
    return Signature(arguments, {"samples": 8000}, {"samples": 12000})
