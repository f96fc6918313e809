"""Sounds are read from the formats that people keep them in, their channels averaged."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from interop.data import audio_decode
from interop.errors import DataError, ExtraMissing


def written(samples, rate=8000, **how):
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "kind"), [("WAV", "FLOAT"), ("FLAC", "PCM_24")])
def test_channels_are_averaged(form, kind):
    left, right = np.linspace(-0.5, 0.5, 100), np.zeros(100)
    data = written(np.stack([left, right], 1), format=form, subtype=kind)
    sound = audio_decode.decode(data, where="a")
    assert sound.rate == 8000
    assert sound.samples.dtype == np.float32
    assert np.allclose(sound.samples, left / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be read as a sound"),
        (b"RIFF....WAVEfmt ", "cannot be read as a sound"),
        (written(np.zeros(0), format="WAV"), "holds no sample"),
        (written(np.full(9, np.nan), format="WAV", subtype="FLOAT"), "no numbers"),
    ],
)
def test_what_is_no_sound_is_named(data, said):
    with pytest.raises(DataError, match=f"a.wav: .*{said}"):
        audio_decode.decode(data, where="a.wav")


def test_without_soundfile_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(ExtraMissing, match=r"model-interop\[audio\]"):
        audio_decode.decode(b"", where="a")
