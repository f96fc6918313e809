"""What the weights of one model remember of the inputs that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping

from interop.records import dataclass, field

PHOTO_STD = 0.26  # of ordinary photos of 0 to 1
# Standard deviations that only inputs of 0 to 255 have, and those that only others have; what lies
# between could be either.
WIDE, NARROW = (20.0, 150.0), (0.02, 4.0)
# A stated mean and std may be those of a data set of little contrast, and divide by that little.
STATED_WIDE = 30.0
WIDE_FAMILIES = ("0 to 255", "0 to 255 less a mean")
RANGES = {True: "0 to 255", False: "not 0 to 255"}


def is_wide(scale: float) -> bool | None:
    """Return whether inputs of this standard deviation are of 0 to 255; None if unclear."""
    if WIDE[0] <= scale <= WIDE[1]:
        return True
    return False if NARROW[0] <= scale <= NARROW[1] else None


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

    @property
    def figure(self) -> str:
        """ "1.2 (not 0 to 255)": the scale and what follows from it."""
        return f"{self.scale:.2g} ({RANGES[bool(self.wide)]})"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What can be said with certainty, then what is so if the data look like photos."""
        if self.why:
            return (f"no statement: {self.why}",)
        mean = " ".join(f"{m:.2f}" if abs(m) < 10 else f"{m:.0f}" for m in self.mean)
        count = "" if self.batches is None else f"; {self.batches:,} batches"
        sure = (
            f"the first layer received mean {mean}, scale {self.scale:.2g} "
            f"({self.layer or 'weight'}, {self.norm or 'running_mean'}{count}): "
            f"{RANGES[bool(self.wide)]}"
        )
        possible = [f for f in self.scores if (f in WIDE_FAMILIES) is self.wide]
        if not self.family:
            return sure, f"undecided between {', '.join(possible)}"
        out = [f for f in possible if f in self.excluded]
        rest = f"; excluded: {', '.join(out)}" if out else ""
        return sure, f"if the data look like ordinary photos: {self.family}{rest}"
