"""What a person asks of a fine-tuning -> checked settings, and the record of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path

from interop.errors import ConfigError
from interop.facts import Json
from interop.identity.metadata import preprocessing_json
from interop.identity.user_facts import BuildFacts
from interop.options import COLUMN, DEVICES, SPLIT, ask, columns_of
from interop.records import dataclass

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
class FinetuneOptions(BuildFacts):
    """How a backbone is trained, and on what.

    `task` is the Hub's word. `rate` is that of all weights, `probe_rate` that of the head alone
    (None: by optimizer and library); `layer_decay` is a factor for each stage towards the input.
    `warmup` is a share of all steps. `validation` is the share that is held back (0 to 1), or the
    path of another data set. `pretrain` is a self-supervised training that comes first, on the
    pictures below `unlabelled`. `out` is finetuned.pth where none is given, or finetuned/ for a
    model of transformers.
    """

    out: Path | None = ask(
        None, "The checkpoint: .pth, .safetensors, or a folder for a model of transformers."
        "  [default: finetuned.pth, or finetuned/]", "-o", "--out", kind=Path, metavar="OUT",
    )  # fmt: skip
    force: bool = ask(False, "Replace the checkpoint that is there.")
    restart: bool = ask(False, "Begin anew where a killed run left its state.")
    weights: Path | None = ask(None, "The weights of LIBRARY/NAME.", kind=Path, metavar="FILE")
    task: str | None = ask(None, "What is to be learned, by the Hub's word.", metavar="NAME")
    mode: str = ask(
        "both", "Train the new head alone, all weights, or first the one and then the other.",
        choices=MODES,
    )  # fmt: skip
    epochs: int = ask(10, "Of each phase.", least=1)
    batch: int = ask(32, "Samples in one.", least=1)
    accumulate: int = ask(1, "Batches to a step of the optimizer.", least=1, metavar="N")
    optimizer: str = ask("adamw", choices=OPTIMIZERS)
    rate: float | None = ask(
        None, "Highest learning rate where all weights are trained.  [default: 5e-4; transformers "
        "5e-5; sgd ten times that]", kind=float, metavar="R",
    )  # fmt: skip
    probe_rate: float | None = ask(
        None, "That of the head alone.  [default: 5e-3; sgd 0.1; --rate with --mode probe]",
        kind=float, metavar="R",
    )  # fmt: skip
    head_rate_factor: float = ask(
        1.0, "The head's rate is F times that of the backbone.", metavar="F"
    )
    layer_decay: float = ask(1.0, "Each block's rate is F times that of the next.", metavar="F")
    schedule: str = ask("cosine", choices=SCHEDULES)
    warmup: float = ask(0.1, "Of a phase's steps, in which the rate rises.", metavar="SHARE")
    weight_decay: float = ask(0.01, "Not of biases and norms.")
    clip: float = ask(1.0, "The gradient's largest norm; 0 for any.", metavar="NORM")
    patience: int | None = ask(
        None, "End a phase after N epochs without a better figure.", kind=int, least=1, metavar="N"
    )
    validation: str = ask(
        "0.2", "What is held back of each class, or another data set.", metavar="SHARE|D"
    )
    precision: str = ask("float32", "Of the products; weights stay float32.", choices=PRECISIONS)
    device: str = ask("cpu", choices=DEVICES)
    seed: int = ask(0, least=0)
    pretrain: str | None = ask(
        None, "First train the backbone without labels, as an autoencoder's encoder.",
        choices=PRETRAINING,
    )  # fmt: skip
    unlabelled: Path | None = ask(
        None, "Pictures for that, in folders as they come.  [default: those of D]", kind=Path,
        metavar="DIR",
    )  # fmt: skip
    pretrain_epochs: int = ask(10, least=1)
    columns: Mapping[str, str] = ask(
        {}, COLUMN.format("text=sentence, label=class"), "--column", metavar="ROLE=NAME",
        parse=columns_of,
    )  # fmt: skip
    split: str | None = ask(None, SPLIT, metavar="NAME")
    factory: str | None = ask(
        None, "Your own function that makes the module for the new task. It is your code, and run.",
        "--model", metavar="MODULE:FACTORY",
    )  # fmt: skip

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
                what = f"{getattr(self, name)!r} is none of {', '.join(known)}"
                raise ConfigError(what, where=f"--{name}")
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
        settings = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_SETTINGS
        }
        for name, value in settings.items():
            if isinstance(value, Path):
                settings[name] = value.name
            elif isinstance(value, StrEnum):
                settings[name] = str(value)
        if self.share is None:
            settings["validation"] = Path(self.validation).name
        if self.factory:
            settings["factory"] = self.factory.replace("\\", "/").rpartition("/")[2]
        if self.columns:
            settings["columns"] = dict(self.columns)
        if self.stated is not None:
            settings["preprocess"] = preprocessing_json(self.stated)
        return settings
