"""Sounds -> what a model hears, by the feature extractor that lies in its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.data.base import Preparation, Prepared, Record, Sound
from interop.data.tokens import loaded
from interop.errors import ConfigError, DataError, ExtraMissing

_MASK = "attention_mask"


class Waves(Preparation):
    """What the feature extractor makes of sounds, resampled to its rate: float32 by input name,
    (n, samples) or as the extractor shapes its features.

    Sounds of several lengths are padded to the longest of the batch where the extractor gives a
    mask and the model takes it; else one goes at a time, so that padding cannot change an answer.
    `about` has "samples", how many of each sound there are at that rate. `tokenizer` is the one in
    the same folder, for models that write down what they hear, and None where there is none;
    `blank` is its padding, which CTC has for "nothing". Raises ConfigError, ExtraMissing.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.names, self.folder = tuple(names), folder
        self.extractor = loaded("AutoFeatureExtractor", folder)
        self.rate = int(getattr(self.extractor, "sampling_rate", 0) or 0)
        if not self.rate:
            what = f"its {type(self.extractor).__name__} takes no sounds"
            fix = "put the model's preprocessor_config.json there"
            raise ConfigError(what, where=str(folder), fix=fix, rule="preprocessing-unknown")
        self.tokenizer = self._tokenizer()
        self._pads = self._learn()
        self.said = {
            "by": "the feature extractor in the model's folder",
            "class": type(self.extractor).__name__, "rate": self.rate, "inputs": list(self.names),
        }  # fmt: skip

    def __call__(self, records: Sequence[Record]) -> Prepared:
        sounds = [_sound(r) for r in records]
        heard = [resampled(s, self.rate) for s in sounds]
        try:
            features = self._extracted(heard, padding=self._pads)
        except (ValueError, RuntimeError, IndexError) as error:  # too short for one frame, say
            what = f"the feature extractor does not take it ({str(error).partition(chr(10))[0]})"
            fix = "take the sound out of the data set"
            raise DataError(what, where=", ".join(r.name for r in records[:3]), fix=fix) from None
        inputs = {name: _array(features[name]) for name in self.names}
        about = tuple({"samples": len(h)} for h in heard)
        return Prepared(inputs, tuple(records), tuple(range(len(records))), about)

    @property
    def blank(self) -> int | None:
        return None if self.tokenizer is None else self.tokenizer.pad_token_id

    @property
    def decode(self) -> Callable[[Sequence[int]], str] | None:
        """Classes without repeats and blanks -> the text; None without a tokenizer."""
        if self.tokenizer is None:
            return None
        delimited = hasattr(self.tokenizer, "word_delimiter_token")
        groups = {"group_tokens": False} if delimited else {}
        return lambda ids: str(self.tokenizer.decode(list(ids), **groups))

    def _extracted(self, heard: Sequence[NDArray[np.float32]], *, padding: bool) -> Any:
        how = {"padding": True} if padding else {}
        # No mask is asked for: to a Wav2Vec2 with group norm, trained without, it is a fault.
        return self.extractor(list(heard), sampling_rate=self.rate, return_tensors="np", **how)

    def _learn(self) -> bool:
        """Whether sounds are padded to one another, learned of two of different lengths; sets
        `most`. Raises ConfigError where the extractor lacks one of the model's inputs."""
        noise = np.random.default_rng(0).normal(0, 0.1, self.rate * 2).astype(np.float32)
        short, long = (self._extracted([n], padding=False) for n in (noise[: self.rate], noise))
        lacking = [n for n in self.names if n not in short]
        if lacking:
            raise ConfigError(
                f"the model takes {lacking[0]!r}, and its feature extractor gives "
                f"{', '.join(map(repr, short))}",
                where=str(self.folder),
                fix="give an .npz file with an array for each input",
            )
        if all(np.shape(short[n]) == np.shape(long[n]) for n in self.names):
            return False  # the extractor has one length for all
        if _MASK not in self.names:
            self.most = 1
            return False
        return True

    def _tokenizer(self) -> Any:
        if not any((self.folder / n).is_file() for n in ("tokenizer_config.json", "vocab.json")):
            return None
        return loaded("AutoTokenizer", self.folder)


def resampled(sound: Sound, rate: int) -> NDArray[np.float32]:
    """The samples at another rate, float32 (ceil(n * rate / sound.rate),), by scipy's polyphase
    filter."""
    if sound.rate == rate:
        return sound.samples
    try:
        from scipy.signal import resample_poly
    except ImportError:
        what = "resampling needs scipy, which is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[run]'") from None
    common = gcd(sound.rate, rate)
    samples = resample_poly(sound.samples, rate // common, sound.rate // common)
    return np.ascontiguousarray(samples, dtype=np.float32)


def _sound(record: Record) -> Sound:
    if not isinstance(record.raw, Sound):
        what = f"is a {type(record.raw).__name__}, and the model takes sounds"
        raise DataError(what, where=record.name, fix="give a data set of sounds")
    return record.raw


def _array(values: Any) -> NDArray[Any]:
    """As models take it: whole numbers are int64, whatever the extractor made of them."""
    array = np.asarray(values)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array.astype(np.float32)
