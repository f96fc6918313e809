"""The bytes of a sound file -> one channel of samples."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from interop.data.base import Sound
from interop.errors import DataError, ExtraMissing

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})


def decode(data: bytes, *, where: str) -> Sound:
    """The sound in `data`, its channels averaged. Raises DataError, naming `where`, for what is
    none or empty, and ExtraMissing."""
    soundfile = _soundfile()
    try:
        samples, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        why = getattr(error, "error_string", "") or str(error)
        what = f"cannot be read as a sound ({why.strip('. ')})"
        fix = "replace the file or take it out of the data set"
        raise DataError(what, where=where, fix=fix) from None
    if not len(samples) or not np.isfinite(samples).all():
        raise DataError(
            "holds samples that are no numbers" if len(samples) else "holds no sample",
            where=where,
            fix="replace the file or take it out of the data set",
        )
    return Sound(np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32)), int(rate))


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there and its C library is not
        what = "reading sounds needs soundfile, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[audio]'") from None
    return soundfile
