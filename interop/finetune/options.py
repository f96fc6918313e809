"""What a person asks of a fine-tuning -> checked settings, and the record of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from interop.errors import ConfigError
from interop.facts import Json
from interop.identity.metadata import preprocessing_json
from interop.identity.user_facts import UserFacts

MODES = ("probe", "full", "both")
OPTIMIZERS = ("sgd", "adam", "adamw")
PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "constant")
PRETRAINING = ("autoencoder",)
# The phases there are, in the order in which they come; random numbers depend on the place.
PHASES = ("pretrain", "probe", "full")
# What people start with: of heads alone, of whole networks, of whole transformers.
_RATES: Mapping[str, tuple[float, float, float]] = {
    "sgd": (0.1, 0.01, 0.005), "adam": (5e-3, 5e-4, 5e-5), "adamw": (5e-3, 5e-4, 5e-5),
}  # fmt: skip
# Neither changes a bit of what is trained.
_NO_SETTINGS = ("out", "restart", "force", "columns", "labels", "preprocessing", "weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions(UserFacts):
    """How a backbone is trained, and on what.

    `task` is the Hub's word, where data and model do not tell. `mode` is "probe" (the new head
    alone), "full" (all weights) or "both" in turn. `rate` is that of all weights, `probe_rate` that
    of the head alone (None: by optimizer and library); `head_rate_factor` multiplies the head's
    rate while all are trained, `layer_decay` that of each stage towards the input, once a stage.
    `warmup` is a share of all steps. An optimizer's step takes `batch` x `accumulate` samples.
    `patience` is how many epochs without a better figure end a phase (None: none do). `validation`
    is the share that is held back (0 to 1), or the path of another data set. `clip` is the largest
    norm of the gradient (0: any). `pretrain` names a self-supervised training that comes first, on
    the pictures below `unlabelled` (None: those of the data set). `restart` leaves the state of a
    killed run aside; `force` replaces what stands at `out` (None: finetuned.pth, or finetuned/ for
    a model of transformers).
    """

    out: Path | None = None
    task: str | None = None
    mode: str = "both"
    optimizer: str = "adamw"
    rate: float | None = None
    probe_rate: float | None = None
    head_rate_factor: float = 1.0
    layer_decay: float = 1.0
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    batch: int = 32
    accumulate: int = 1
    epochs: int = 10
    patience: int | None = None
    validation: str = "0.2"
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0
    pretrain: str | None = None
    unlabelled: Path | None = None
    pretrain_epochs: int = 10
    factory: str | None = None
    weights: Path | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    restart: bool = False
    force: bool = False

    @property
    def target(self) -> Path:
        """Where the checkpoint goes."""
        assert self.out is not None
        return self.out

    @property
    def phases(self) -> tuple[str, ...]:
        """The names of the phases that are asked for, in order."""
        wanted = {"pretrain": self.pretrain is not None, "probe": self.mode in ("probe", "both")}
        return tuple(p for p in PHASES if wanted.get(p, self.mode in ("full", "both")))

    @property
    def share(self) -> float | None:
        """The share that is held back; None where `validation` is a data set's path."""
        try:
            return float(self.validation)
        except ValueError:
            return None

    def rate_of(self, phase: str, library: str) -> float:
        """The highest learning rate of a phase."""
        head, whole, transformer = _RATES[self.optimizer]
        if phase == "pretrain":
            return head / 5
        if phase == "probe":
            given = self.probe_rate
            if given is None and self.mode == "probe":
                given = self.rate
            return head if given is None else given
        if self.rate is not None:
            return self.rate
        return transformer if library == "transformers" else whole

    def check(self) -> None:
        """Raises ConfigError for what no training can be made of."""
        for name, known in (
            ("mode", MODES), ("optimizer", OPTIMIZERS), ("precision", PRECISIONS),
            ("schedule", SCHEDULES),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{getattr(self, name)!r} is none of {', '.join(known)}", where=f"--{name}"
                )
        if self.pretrain not in (None, *PRETRAINING):
            raise ConfigError(f"{self.pretrain!r} is no pretraining", where="--pretrain",
                              fix=f"there is {', '.join(PRETRAINING)}")  # fmt: skip
        if self.unlabelled is not None and self.pretrain is None:
            raise ConfigError("is for a pretraining", where="--unlabelled",
                              fix="add --pretrain autoencoder")  # fmt: skip
        if self.precision == "float16" and self.device != "cuda":
            raise ConfigError("float16 is trained on CUDA alone", where="--precision",
                              fix="take bfloat16, or --device cuda")  # fmt: skip
        positive = ("batch", "accumulate", "epochs", "pretrain_epochs", "head_rate_factor")
        given = ("rate", "probe_rate", "patience")
        bad = [n for n in positive if not getattr(self, n) > 0]
        bad += [n for n in given if getattr(self, n) is not None and not getattr(self, n) > 0]
        bad += [n for n in ("weight_decay", "clip") if not getattr(self, n) >= 0]
        bad += [n for n in ("layer_decay",) if not 0 < getattr(self, n) <= 1]
        bad += [n for n in ("warmup",) if not 0 <= getattr(self, n) < 1]
        if self.share is not None and not 0 < self.share < 1:
            bad.append("validation")
        if bad:
            option = f"--{bad[0].replace('_', '-')}"
            raise ConfigError(f"cannot be {getattr(self, bad[0])}", where=option,
                              fix="interop finetune --help says what it may be")  # fmt: skip

    def settings(self) -> dict[str, Json]:
        """All that the trained weights depend on, as JSON; paths by their last part alone."""
        made = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_SETTINGS}
        for name, value in made.items():
            if isinstance(value, Path):
                made[name] = value.name
        if self.share is None:
            made["validation"] = Path(self.validation).name
        if self.factory:
            made["factory"] = self.factory.replace("\\", "/").rpartition("/")[2]
        if self.columns:
            made["columns"] = dict(self.columns)
        if self.preprocessing is not None:
            made["preprocess"] = preprocessing_json(self.preprocessing)
        return made
