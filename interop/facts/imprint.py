"""What the weights of one model remember of the inputs that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Imprint:
    """What a first convolution received, from the statistics of the BatchNorm behind it.

    `layer` is the convolution's name, `norm` the BatchNorm's, `batches` the number of training
    batches that it counted (None: the file does not say). `mean` holds a number per input channel
    and `scale` the standard deviation, both of the prepared input. `wide` says whether the input
    ranged over 0 to 255 (None: cannot be told). `family` is the preparation that fits if the data
    look like ordinary photos ("" if undecided), `excluded` those that do not, `scores` the score of
    each, lower is better. `residual` is the misfit of the means in standard deviations, `rms` that
    of the logarithms of the variances. `why` is the reason for no statement ("" if there is one).
    """

    layer: str = ""
    norm: str = ""
    batches: int | None = None
    mean: tuple[float, ...] = ()
    scale: float = 0.0
    wide: bool | None = None
    family: str = ""
    excluded: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    residual: float = 0.0
    rms: float = 0.0
    why: str = ""
