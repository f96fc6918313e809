"""How far a training has come -> a folder beside its checkpoint, from which a killed run goes on.

The state is written after each epoch to a temporary file that is renamed: it is of one epoch or of
the next, never of half of each. Random numbers are drawn anew for each epoch from the seed, so that
there is none to be kept.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interop.errors import ConfigError
from interop.facts import Json, Proof
from interop.facts.sections.finetune import Epoch
from interop.files import placed

_NAME = "state.pth"


class Kept:
    """The state of a training for `out`: what has been done, and the best weights so far.

    Raises ConfigError where a state is there that was made with other `settings`, or is damaged;
    with `restart` it is taken away.
    """

    def __init__(self, out: Path, settings: Mapping[str, Json], *, restart: bool = False) -> None:
        self.folder = out.with_name(f"{out.name}.training")
        self.settings = dict(settings)
        self.phase, self.epoch = "", 0
        self.history: list[Epoch] = []
        self.best: dict[str, Any] = {}
        self.proofs: list[Proof] = []
        self.notes: list[str] = []
        self.latest: dict[str, Any] = {}
        self.resumed = False
        if restart:
            self.remove()
        elif (self.folder / _NAME).is_file():
            self._read()

    def of(self, phase: str) -> list[Epoch]:
        return [row for row in self.history if row.phase == phase]

    def add(
        self,
        row: Epoch,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: Any,
        better: int,
    ) -> None:
        """Takes down an epoch that is done, and the weights that it left."""
        if self.best and (self.best["phase"] == "pretrain") != (row.phase == "pretrain"):
            self.best = {}  # figures of another kind
        weights = {n: t.detach().cpu().clone() for n, t in module.state_dict().items()}
        mark = better * row.figure, -row.validation_loss
        if not self.best or mark > tuple(self.best["mark"]):
            self.best = {"phase": row.phase, "epoch": row.epoch, "figure": row.figure,
                         "mark": list(mark), "module": weights}  # fmt: skip
        self.phase, self.epoch = row.phase, row.epoch
        self.history.append(row)
        self.latest = {"module": weights, "optimizer": optimizer.state_dict(),
                       "scaler": scaler.state_dict()}  # fmt: skip
        self._write()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        # Plain texts: what is read back by weights_only has no class of ours in it.
        value = {
            "settings": self.settings, "phase": self.phase, "epoch": self.epoch,
            "history": [asdict(row) for row in self.history], "best": self.best,
            "latest": self.latest, "notes": self.notes,
            "proofs": [
                {"name": str(p.name), "holds": p.holds, "what": p.what, "facts": dict(p.facts),
                 "seconds": p.seconds}
                for p in self.proofs
            ],
        }  # fmt: skip
        try:
            with placed(self.folder / _NAME) as part:
                torch.save(value, part)
        except (ConfigError, RuntimeError) as error:  # torch has a RuntimeError for a full disk
            what = f"the training's state cannot be written ({getattr(error, 'what', error)})"
            fix = "make room, or give another place with -o"
            raise ConfigError(what, where=str(self.folder), fix=fix) from None

    def _read(self) -> None:
        again = "begin anew with --restart"
        try:
            state = torch.load(self.folder / _NAME, weights_only=True, map_location="cpu")
            other = {
                name: (state["settings"].get(name), self.settings.get(name))
                for name in {**state["settings"], **self.settings}
                if state["settings"].get(name) != self.settings.get(name)
            }
            if not other:
                self.phase, self.epoch = state["phase"], state["epoch"]
                self.history = [Epoch(**row) for row in state["history"]]
                self.best, self.latest = state["best"], state["latest"]
                self.notes = list(state["notes"])
                self.proofs = [Proof(**p) for p in state["proofs"]]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError,
                AttributeError, pickle.UnpicklingError) as error:  # fmt: skip
            what = f"the training's state cannot be read ({type(error).__name__})"
            raise ConfigError(what, where=str(self.folder / _NAME), fix=again) from None
        if other:
            changes = ", ".join(
                f"{k} was {_short(v)} and is {_short(w)}" for k, (v, w) in sorted(other.items())
            )
            what = f"a training with other settings is there: {changes}"
            fix = f"give what it was given, give another -o, or {again}"
            raise ConfigError(what, where=str(self.folder), fix=fix)
        self.resumed = True


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 32 else f"{text[:31]}…"
